"""What Keras' `compute_loss` adds up to the loss that a model is trained with."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tb_gradscope.format.history import PENALTIES
from tb_gradscope.recording import internals
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.keras import internals as keras_internals
from tb_gradscope.recording.keras.shared import WhileNeeded
from tb_gradscope.recording.parts.parts_of_sum import known_sums
from tb_gradscope.recording.parts.passes import Target

ADD_LOSS, REGULARIZATION = PENALTIES

_NOTHING = object()


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the losses that make up a total.

    Attributes:
      name: as Keras logs it.
      tensors: whose sum it is.
      weight: what it is multiplied by in the total, None for 1.
    """

    name: str
    tensors: tuple[Any, ...]
    weight: Any = None

    def weights(self) -> tuple[Any, ...] | None:
        """Returns the weight for each element of each tensor, None for ones."""
        if self.weight is None:
            return None
        return tuple(
            tf.broadcast_to(tf.cast(self.weight, one.dtype), tf.shape(one)) for one in self.tensors
        )


class _Seen:
    """What a model's step has computed so far.

    Attributes:
      called: each loss function and its value.
      added: losses of `add_loss`, then those of regularizers, as they go into the sum.
      depth: how deep in calls of loss functions: one may call another.
      sums: each sum, held weakly, and what it was scaled to; with its parts.
    """

    def __init__(self) -> None:
        self.called: list[tuple[Any, Any]] = []
        self.added: list[Any] = []
        self.depth = 0
        self.sums: list[tuple[weakref.ref[Any], tuple[Part, ...]]] = []

    def parts_of(self, loss: Any) -> tuple[Part, ...]:
        """Returns the parts of a tensor, none if it is no sum."""
        return next((parts for total, parts in self.sums if total() is loss), ())


_seen: contextvars.ContextVar[_Seen | None] = contextvars.ContextVar(
    "gradscope_losses", default=None
)


def parts_of(loss: Any) -> dict[str, Target]:
    """Returns the parts of a loss that Keras has summed in this step; none if it has not."""
    seen = _seen.get()
    parts = () if seen is None else seen.parts_of(loss)
    found: dict[str, Target] = {}
    with internals.stop_recording():
        for part in parts:
            name, number = part.name, 1
            while name in found:
                number += 1
                name = f"{part.name}_{number}"
            found[name] = Target(part.tensors, part.weights())
    return found


@contextlib.contextmanager
def seeing_losses(model: Any) -> Iterator[None]:
    """Looks at what the model's `compute_loss` adds up in here.

    Where the model has a `compute_loss` of its own, what that does with its
    losses is not known, and there are no parts.
    """
    if keras_internals.has_own_compute_loss(model):
        yield
        return
    token = _seen.set(_Seen())
    try:
        with contextlib.ExitStack() as replaced:
            replaced.enter_context(_CALLS.replaced(keras.losses.Loss))
            replaced.enter_context(_SUMS.replaced(model))
            if model.optimizer is not None:
                replaced.enter_context(_SCALES.replaced(model.optimizer))
            replaced.enter_context(known_sums(parts_of))
            yield
    finally:
        _seen.reset(token)


class _Spy:
    """Replaces methods of a class, or those of one object alone.

    Args:
      methods: for each name what makes the new one of the original. Threads that
        see no losses must find that it does the same.
    """

    def __init__(self, **methods: Callable[[Callable[..., Any], Any], Callable[..., Any]]) -> None:
        self._methods = methods
        self.replaced = WhileNeeded(self._replace).changed

    def _replace(self, owner: Any) -> contextlib.ExitStack:
        undo = contextlib.ExitStack()
        for name, make in self._methods.items():
            original = getattr(owner, name, None)
            if original is None:
                continue  # an older Keras
            made = tf.autograph.experimental.do_not_convert(make(original, owner))
            functools.update_wrapper(made, original)
            undo.callback(_put, owner, name, vars(owner).get(name, _NOTHING))
            _put(owner, name, made)
        return undo


def _put(owner: Any, name: str, value: Any) -> None:
    """Sets or deletes an attribute. Keras tracks what is set on an object in the usual way."""
    if isinstance(owner, type):
        setattr(owner, name, value)
    elif value is _NOTHING:
        vars(owner).pop(name, None)
    else:
        vars(owner)[name] = value


def _seeing_call(original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen = _seen.get()
        if seen is None:
            return original(self, *args, **kwargs)
        seen.depth += 1
        try:
            value = original(self, *args, **kwargs)
        finally:
            seen.depth -= 1
        if seen.depth == 0:
            seen.called.append((self, value))
        return value

    return call


def _seeing_added(original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    def aggregate(*args: Any, **kwargs: Any) -> Any:
        value, seen = original(*args, **kwargs), _seen.get()
        if seen is not None:
            seen.added.append(value)
        return value

    return aggregate


def _seeing_list(original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    def own_losses(*args: Any, **kwargs: Any) -> Any:
        values, seen = original(*args, **kwargs), _seen.get()
        if seen is not None and isinstance(values, list):
            seen.added = values
        return values

    return own_losses


def _seeing_sum(original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    held = weakref.ref(owner)

    def compute_loss(*args: Any, **kwargs: Any) -> Any:
        seen = _seen.get()
        if seen is not None:
            # A loss function may have been of use in the model before.
            seen.called, seen.added = [], []
        total = original(*args, **kwargs)
        if seen is not None:
            with contained("looking at the parts of a loss"):
                seen.sums.append((weakref.ref(total), _parts(held(), seen)))
        return total

    return compute_loss


def _seeing_scale(original: Callable[..., Any], owner: Any) -> Callable[..., Any]:
    def scale_loss(loss: Any, *args: Any, **kwargs: Any) -> Any:
        scaled, seen = original(loss, *args, **kwargs), _seen.get()
        if seen is not None:
            with contained("looking at a scaled loss"):
                seen.sums.append((weakref.ref(scaled), seen.parts_of(loss)))
        return scaled

    return scale_loss


_CALLS = _Spy(__call__=_seeing_call)
_ADDED = (
    {keras_internals.AGGREGATE: _seeing_added}
    if keras_internals.HAS_AGGREGATE
    else {keras_internals.OWN_LOSSES: _seeing_list}
)
_SUMS = _Spy(compute_loss=_seeing_sum, **_ADDED)
_SCALES = _Spy(scale_loss=_seeing_scale)


def _parts(model: Any, seen: _Seen) -> tuple[Part, ...]:
    compiled = keras_internals.compiled_losses(model)
    called = [function for function, _ in seen.called]
    if len(called) != len(compiled) or any(
        function is not one.function for function, one in zip(called, compiled, strict=True)
    ):
        return ()
    parts = [
        Part(one.name, (value,), one.weight)
        for one, (_, value) in zip(compiled, seen.called, strict=True)
    ]
    regularized = sum(variable.regularizer is not None for variable in model.trainable_weights)
    last = max(len(seen.added) - regularized, 0)
    for name, values in ((ADD_LOSS, seen.added[:last]), (REGULARIZATION, seen.added[last:])):
        if values:
            parts.append(Part(name, tuple(values)))
    return tuple(parts) if len(parts) > 1 else ()
