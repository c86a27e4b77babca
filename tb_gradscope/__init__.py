"""GradScope for TensorBoard: see what every gradient of a TensorFlow training is.

The shortest true program:

    import tensorflow as tf
    import tb_gradscope as gs

    w, unused = tf.Variable([1.0, 2.0]), tf.Variable(3.0)
    with gs.record("logs/run1"):
        for step in range(10):
            with gs.GradientTape() as tape:  # was tf.GradientTape
                loss = tf.reduce_sum(w**2)
            gradient, missing = tape.gradient(loss, [w, unused])
            w.assign_sub(0.1 * gradient)

and then `tensorboard --logdir logs`, tab GradScope.

Importing this package imports neither TensorFlow nor TensorBoard: each public
name fetches what it needs when it is first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tb_gradscope.checking import Report as Report
    from tb_gradscope.checking import check as check
    from tb_gradscope.diagnose.finding import Finding as Finding
    from tb_gradscope.format.errors import FormatError as FormatError
    from tb_gradscope.format.errors import GradscopeError as GradscopeError
    from tb_gradscope.format.history import Label as Label
    from tb_gradscope.format.statistics import Reason as Reason
    from tb_gradscope.format.statistics import State as State
    from tb_gradscope.format.statistics import Statistic as Statistic
    from tb_gradscope.recording.clipping.functions import clip_by_global_norm as clip_by_global_norm
    from tb_gradscope.recording.clipping.functions import clip_by_norm as clip_by_norm
    from tb_gradscope.recording.clipping.functions import clip_by_value as clip_by_value
    from tb_gradscope.recording.clipping.functions import record_clipping as record_clipping
    from tb_gradscope.recording.failure import GradscopeWarning as GradscopeWarning
    from tb_gradscope.recording.keras.callback import KerasCallback as KerasCallback
    from tb_gradscope.recording.optimizer.watched import watch_optimizer as watch_optimizer
    from tb_gradscope.recording.patch.everything import patch as patch
    from tb_gradscope.recording.store.destination import record as record
    from tb_gradscope.recording.store.recorder import Recorder as Recorder
    from tb_gradscope.recording.tape.tape import GradientTape as GradientTape
    from tb_gradscope.view.load import History as History
    from tb_gradscope.view.load import load as load

_RECORDING = {
    "GradientTape": "tb_gradscope.recording.tape.tape",
    "GradscopeWarning": "tb_gradscope.recording.failure",
    "KerasCallback": "tb_gradscope.recording.keras.callback",
    "Recorder": "tb_gradscope.recording.store.recorder",
    "check": "tb_gradscope.checking",
    "clip_by_global_norm": "tb_gradscope.recording.clipping.functions",
    "clip_by_norm": "tb_gradscope.recording.clipping.functions",
    "clip_by_value": "tb_gradscope.recording.clipping.functions",
    "patch": "tb_gradscope.recording.patch.everything",
    "record": "tb_gradscope.recording.store.destination",
    "record_clipping": "tb_gradscope.recording.clipping.functions",
    "watch_optimizer": "tb_gradscope.recording.optimizer.watched",
}
_READING = {
    "Finding": "tb_gradscope.diagnose.finding",
    "FormatError": "tb_gradscope.format.errors",
    "GradscopeError": "tb_gradscope.format.errors",
    "History": "tb_gradscope.view.load",
    "Label": "tb_gradscope.format.history",
    "Reason": "tb_gradscope.format.statistics",
    "Report": "tb_gradscope.checking",
    "State": "tb_gradscope.format.statistics",
    "Statistic": "tb_gradscope.format.statistics",
    "load": "tb_gradscope.view.load",
}

__all__ = ["__version__", *sorted([*_RECORDING, *_READING])]


def __getattr__(name: str) -> Any:
    if name in _READING:
        value = getattr(importlib.import_module(_READING[name]), name)
    elif name in _RECORDING:
        value = getattr(_recording_module(_RECORDING[name], name), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


def _recording_module(module: str, name: str) -> Any:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"tb_gradscope.{name} records gradients and needs TensorFlow, which cannot be "
            f"imported ({error}); install it with: pip install 'tb-gradscope[tensorflow]' "
            "(or your own build of TensorFlow 2.16 to 2.21)"
        ) from error
    return importlib.import_module(module)
