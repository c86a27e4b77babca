"""Keras optimizers that record: `gs.watch_optimizer`."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any, TypeVar

from tb_gradscope.recording import internals
from tb_gradscope.recording.failure import contained, say_once
from tb_gradscope.recording.optimizer import internals as keras
from tb_gradscope.recording.optimizer.begin import begin
from tb_gradscope.recording.optimizer.hooks import hook
from tb_gradscope.recording.optimizer.micro_batches import remember_accumulated
from tb_gradscope.recording.optimizer.scaling import remember_scale
from tb_gradscope.recording.optimizer.step import Step

_T = TypeVar("_T")

_lock = threading.Lock()
_watches: weakref.WeakKeyDictionary[Any, Watch] = weakref.WeakKeyDictionary()


def watch_optimizer(optimizer: _T, *, name: str | None = None) -> _T:
    """Returns the same Keras optimizer, now recording what it does.

        optimizer = gs.watch_optimizer(keras.optimizers.Adam(1e-3, global_clipnorm=1.0))

    Recorded are the gradients that reach it, the size of each update it really
    makes, its learning rate, its own clipping (`adam.global_clipnorm`), its loss
    scale and the steps that it skips. It stays the object it was: its class, its
    configuration and what is saved of it do not change.

    It records wherever a tape would: into the innermost `gs.record`, else where
    `tf.summary` writes. To watch it again changes nothing. What hooks into all
    optimizers of a program can call this for each of them, before their first step
    or in it.

    Args:
      optimizer: of Keras 3; a `LossScaleOptimizer` or the one inside. Another kind
        of optimizer is returned as it is, and one warning says so.
      name: what to call it; else it is called by its own name, such as "adam".

    Raises:
      TypeError: `optimizer` is plainly no optimizer, or `name` no string.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(
            f"watch_optimizer(name={name!r}): expected a string, found {type(name).__name__}."
        )
    if not keras.is_keras(optimizer):
        _refuse(optimizer)
        return optimizer
    if not keras.uses_tensorflow():
        say_once(
            "tb_gradscope: watch_optimizer records Keras on TensorFlow, and Keras runs on another "
            "backend here. Training goes on, the optimizer is not recorded."
        )
        return optimizer
    with _lock:
        known = _watches.get(optimizer)
        if known is None:
            inner = keras.inner_of(optimizer)
            inside = None if inner is None else _watches.get(inner)
            watch = inside or Watch(inner if inner is not None else optimizer, name)
            _watches[optimizer] = watch
            watch.follow(optimizer)
    if known is not None and name is not None and known.name != name:
        say_once(
            f"tb_gradscope: the optimizer {known.name!r} is watched already, and keeps that name; "
            f"watch_optimizer(name={name!r}) changes nothing."
        )
    return optimizer


def watch_of(optimizer: Any) -> Watch | None:
    """Returns what watches an optimizer at present."""
    return _watches.get(optimizer)


def set_watch(optimizer: Any, watch: Watch | None) -> None:
    """Notes that an optimizer is watched, or no more: its methods were put in or taken out."""
    with _lock:
        if watch is None:
            _watches.pop(optimizer, None)
        else:
            _watches[optimizer] = watch


def _refuse(optimizer: Any) -> None:
    kind = type(optimizer)
    if isinstance(optimizer, type):
        raise TypeError(
            f"watch_optimizer({optimizer.__name__}): expected a Keras optimizer, found its class; "
            f"call it: {optimizer.__name__}(...)."
        )
    if not any(hasattr(optimizer, method) for method in ("apply_gradients", "apply", "update")) or (
        isinstance(optimizer, dict | set)
    ):
        raise TypeError(
            f"watch_optimizer({optimizer!r}): expected a Keras optimizer, such as "
            f"keras.optimizers.Adam(), found {kind.__name__}."
        )
    say_once(
        f"tb_gradscope: watch_optimizer got a {kind.__module__}.{kind.__qualname__}, expected an "
        "optimizer of Keras 3 (keras.optimizers). It is returned as it is, and not recorded; its "
        "gradients still are, through gs.GradientTape."
    )


class Watch:
    """What is known of one watched optimizer. Does not keep it alive.

    Attributes:
      name: given by the user, or the optimizer's own.
    """

    def __init__(self, optimizer: Any, name: str | None) -> None:
        self.name = name or str(getattr(optimizer, "name", "") or type(optimizer).__name__.lower())
        self._outer: weakref.ref[Any] | None = None
        self._here = threading.local()

    def follow(self, optimizer: Any) -> None:
        """Has `optimizer` recorded: the outermost one that the program applies."""
        self._outer = weakref.ref(optimizer)
        hook(optimizer, "build", after=self._after_build)
        hook(optimizer, "scale_loss", self._before_scaling, self._after_scaling)
        _remember_variables(optimizer)
        if keras.inner_of(optimizer) is not None:
            # What `apply` calls once all variables are made.
            if not hook(optimizer, "_tf_apply", self._before, self._after, self._forget):
                hook(optimizer, "apply", self._before, self._after, self._forget)
            return
        hook(optimizer, "apply", self._before, self._after, self._forget)
        hook(optimizer, "_backend_apply_gradients", before=self._reach)
        hook(optimizer, "_backend_update_step", before=self._take_rate)
        hook(optimizer, "_all_reduce_sum_gradients", after=self._reduced)

    @property
    def _step(self) -> Step | None:
        return getattr(self._here, "step", None)

    def _is_outer(self, optimizer: Any) -> bool:
        """Tells whether an optimizer is what is recorded, rather than the one inside of it."""
        return self._outer is not None and self._outer() is optimizer

    def _before(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._is_outer(optimizer):
            grads, variables = _given(*args, **kwargs)
            self._here.step = begin(self, optimizer, self.name, grads, variables)

    def _after(self, optimizer: Any, result: Any, prepared: Any) -> None:
        if not self._is_outer(optimizer):
            return
        step, self._here.step = self._step, None
        if step is not None:
            with _recording(step):
                step.finish()

    def _forget(self, optimizer: Any) -> None:
        if self._is_outer(optimizer):
            self._here.step = None

    def _reach(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step = self._step
        if step is not None and not step.has_reached and step.is_here:
            with _recording(step):
                step.reach()

    def _take_rate(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step = self._step
        if step is not None and step.is_here and len(args) == 3:
            step.learning_rate = args[2]

    def _reduced(self, optimizer: Any, result: Any, prepared: Any) -> None:
        step = self._step
        if step is not None and step.is_here:
            with _recording(step):
                step.reduce(list(result))

    def _after_build(self, optimizer: Any, result: Any, prepared: Any) -> None:
        with contained("recording an optimizer"):
            _remember_variables(optimizer)
            outer = keras.outer_of(optimizer)
            if outer is not None:
                watch_optimizer(outer)

    def _before_scaling(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with contained("noting a loss scale"), internals.stop_recording():
            return keras.loss_scale(optimizer)

    def _after_scaling(self, optimizer: Any, result: Any, scale: Any) -> None:
        if scale is not None:
            remember_scale(result, scale)


def _remember_variables(optimizer: Any) -> None:
    inner = keras.inner_of(optimizer) or optimizer
    if getattr(inner, "gradient_accumulation_steps", None):
        remember_accumulated(keras.variables_of(inner))


@contextlib.contextmanager
def _recording(step: Step) -> Iterator[None]:
    on_error = step.recorder.on_error
    with contained("recording an optimizer", on_error), internals.stop_recording():
        yield


def _given(grads: Any = None, trainable_variables: Any = None, *_: Any, **__: Any) -> Any:
    """Returns the arguments of `apply`."""
    return grads, trainable_variables
