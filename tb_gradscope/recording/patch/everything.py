"""Recording a program that was not written for it: `gs.patch()`."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from types import TracebackType

from tb_gradscope.recording.patch.clips import install_clips, install_clips_for_a_step
from tb_gradscope.recording.patch.fit import install_fit
from tb_gradscope.recording.patch.optimizers import install_optimizers, is_keras_there
from tb_gradscope.recording.patch.tape import install_tape

_lock = threading.Lock()
_entered = 0
_only_here: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "gradscope_tapes_here", default=False
)


def patch() -> Patch:
    """Makes plain TensorFlow and Keras record while the returned object is entered.

        with gs.patch(), gs.record("logs/run1"):
            train()  # knows nothing of tb_gradscope

    `tf.GradientTape` (imported under whatever name, and the one inside Keras'
    `fit`), `tf.clip_by_norm`, `tf.clip_by_value` and `tf.clip_by_global_norm` record, in
    all threads, where those of tb_gradscope would. `tf.clip_by_norm` and
    `tf.clip_by_value` do so only for what comes straight from a tape or another
    clip, since they also serve on what is no gradient. Keras' optimizers are
    watched from their first step on, and stay so. Keras' own `train_step` shows each
    loss that it adds up, as `KerasCallback` does.

    A `tf.function` records if it was first traced while entered, and then goes
    on for as long as there is a recording. Of clip functions that were bound
    before, those in modules are covered (`from tensorflow import clip_by_norm`),
    others (a default argument, a `functools.partial`) stay plain and work on.

    It may be entered again, by several threads as well; leaving the last puts
    everything back as it was.
    """
    return Patch()


class _Shared:
    """Something of TensorFlow's that is replaced for as long as anybody needs it to be."""

    def __init__(self, install: Callable[[Callable[[], bool]], Callable[[], None]]) -> None:
        self._install = install
        self._users = 0
        self._remove: Callable[[], None] | None = None

    def acquire(self, is_wanted: Callable[[], bool]) -> None:
        """Replaces it for the first user."""
        if not self._users:
            self._remove = self._install(is_wanted)
        self._users += 1

    @property
    def is_installed(self) -> bool:
        """Tells whether it is replaced now."""
        return self._users > 0

    def release(self) -> None:
        """Puts the original back after the last."""
        self._users -= 1
        if not self._users and self._remove is not None:
            self._remove()


_TAPES, _CLIPS = _Shared(install_tape), _Shared(install_clips)
_CLIPS_HERE = _Shared(install_clips_for_a_step)
_OPTIMIZERS, _FIT = _Shared(install_optimizers), _Shared(install_fit)


class Patch:
    """What `gs.patch` returns: a context manager that may be entered any number of times."""

    def __enter__(self) -> Patch:
        global _entered
        with _lock:
            _TAPES.acquire(_is_wanted)
            _CLIPS.acquire(_is_wanted_everywhere)
            _entered += 1
        _watch_optimizers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        global _entered
        with _lock:
            _entered -= 1
            if not _entered and _OPTIMIZERS.is_installed:
                _FIT.release()
                _OPTIMIZERS.release()
            _CLIPS.release()
            _TAPES.release()


@contextlib.contextmanager
def patched_here() -> Iterator[None]:
    """Makes tapes and clip functions record in what is called from here, and nowhere else.

    For one training step among others: a tape made in another thread, or
    outside of the block, stays plain.
    """
    with _lock:
        _TAPES.acquire(_is_wanted)
        _CLIPS_HERE.acquire(_only_here.get)
    token = _only_here.set(True)
    try:
        yield
    finally:
        _only_here.reset(token)
        with _lock:
            _CLIPS_HERE.release()
            _TAPES.release()


def _is_wanted_everywhere() -> bool:
    return _entered > 0


def _is_wanted() -> bool:
    if _entered:
        _watch_optimizers()
    return _entered > 0 or _only_here.get()


def _watch_optimizers() -> None:
    """Hooks in once Keras is there: the program may import it late, and need not at all."""
    if not _OPTIMIZERS.is_installed and is_keras_there():
        with _lock:
            if _entered and not _OPTIMIZERS.is_installed:
                _OPTIMIZERS.acquire(_is_wanted_everywhere)
                _FIT.acquire(_is_wanted_everywhere)
