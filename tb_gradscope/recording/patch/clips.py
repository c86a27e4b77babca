"""Makes TensorFlow's clip functions record, wherever a module holds them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.clipping import functions as clipping
from tb_gradscope.recording.patch.caller import calling_frame
from tb_gradscope.recording.tape import place
from tb_gradscope.recording.tape.origins import ORIGINS

_NAMES = ("clip_by_norm", "clip_by_value", "clip_by_global_norm")
_OWN = "tb_gradscope"


def install_clips(is_wanted: Callable[[], bool]) -> Callable[[], None]:
    """Replaces the functions in all modules that hold them.

    Args:
      is_wanted: asked in each call: a reference that no module holds may stay.

    Returns:
      What puts TensorFlow's own back, in modules imported meanwhile as well.
    """
    originals = [getattr(tf, name) for name in _NAMES]
    ours = [
        _recording(name, original, is_wanted)
        for name, original in zip(_NAMES, originals, strict=True)
    ]
    _replace(originals, ours)
    return lambda: _replace(ours, originals)


def _recording(
    name: str, original: Callable[..., Any], is_wanted: Callable[[], bool]
) -> Callable[..., Any]:
    recorded = getattr(clipping, name)

    @tf.autograph.experimental.do_not_convert
    @functools.wraps(original)
    def clip(*args: Any, **kwargs: Any) -> Any:
        if is_wanted() and _is_of_gradients(name, args, kwargs) and _is_programs():
            return recorded(*args, **kwargs)
        return original(*args, **kwargs)

    return clip  # type: ignore[no-any-return]


def _is_of_gradients(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tells whether it is gradients that are clipped, as far as that can be known.

    `clip_by_global_norm` is there for them. The others also clip images,
    probabilities and actions.
    """
    if name == "clip_by_global_norm":
        return True
    clipped = args[0] if args else kwargs.get("t")
    return clipped is not None and ORIGINS.of(clipped) is not None


def _is_programs() -> bool:
    """Tells the program's own clipping from that of Keras, which is its optimizers'."""
    frame = calling_frame(2)
    return frame is not None and not place.is_keras(frame)


def _replace(old: list[Callable[..., Any]], new: list[Callable[..., Any]]) -> None:
    by = {id(one): (one, other) for one, other in zip(old, new, strict=True)}
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] == _OWN:
            continue
        for name, value in list(getattr(module, "__dict__", {}).items()):
            one, other = by.get(id(value), (None, None))
            if one is not None and value is one:
                setattr(module, name, other)
