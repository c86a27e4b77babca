"""Parts of a sum: where one total is differentiated, the gradients of its summands too."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import numbers
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import internals
from tb_gradscope.recording.failure import say_once
from tb_gradscope.recording.measure.cosines import MOST_COMPARED, cosines
from tb_gradscope.recording.measure.loss_value import with_loss
from tb_gradscope.recording.measure.statistics import gradient_statistics
from tb_gradscope.recording.optimizer.scaling import scale_of, unscaled
from tb_gradscope.recording.parts.mirror import Mirror
from tb_gradscope.recording.parts.passes import NoPassError, Passes, Target
from tb_gradscope.recording.store.counted import Counted
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.observe import record
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape.losses import Key
from tb_gradscope.recording.why import lines


class GivenParts:
    """The parts that one tape was told of, and the total that they are of."""

    def __init__(self, is_persistent: bool) -> None:
        self._is_persistent = is_persistent
        self._is_used_up = False
        self._parts: dict[str, Any] = {}
        self._total: list[weakref.ref[Any]] | None = None

    def add(self, parts: Mapping[str, Any]) -> None:
        """Adds parts of the total that is to be differentiated next.

        Raises:
          TypeError: there is no part, or one is no tensor.
        """
        if not parts:
            raise TypeError("losses(): expected a part or more, as in losses(recon=recon, kl=kl).")
        for name, part in parts.items():
            for one in tf.nest.flatten(part):
                if not _is_summand(one):
                    raise TypeError(
                        f"losses({name}=...): expected a tensor, found {type(one).__name__}."
                    )
            if isinstance(part, int | float | np.ndarray | np.generic) and np.any(part):
                say_once(
                    f"tb_gradscope: losses({name}=...) is of type {type(part).__name__}, which has "
                    "no gradient. If it was computed from variables, give the tensor that it was "
                    "before."
                )
        if self._is_used_up:
            say_once(
                "tb_gradscope: tape.losses() came after gradient(), which has used up the tape: "
                "these parts are not recorded. Call losses() before gradient()."
            )
            return
        if self._total is not None:
            self._parts, self._total = {}, None
        self._parts.update(parts)

    def of(self, target: Any) -> dict[str, Any]:
        """Returns the parts of what is to be differentiated; none if it is no sum of parts."""
        if isinstance(target, Mapping):
            return {str(name): part for name, part in target.items()} if len(target) > 1 else {}
        if not self._parts:
            return {}
        flat = tf.nest.flatten(target)
        if self._total is None:
            parts = tf.nest.flatten(list(self._parts.values()))
            if any(one is part for one in flat for part in parts):
                return {}
            self._total = [weakref.ref(one) for one in flat]
        is_total = len(flat) == len(self._total) and all(
            reference() is one for reference, one in zip(self._total, flat, strict=True)
        )
        return self._parts if is_total else {}

    def done(self) -> None:
        """Lets go of the parts once they are recorded, unless the tape can be asked again."""
        if not self._is_persistent:
            self._parts, self._is_used_up = {}, True


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a sum.

    Attributes:
      target: what a pass for it differentiates.
      scale: the loss scale that it was multiplied with, or None.
    """

    target: Target
    scale: Any

    @property
    def stage(self) -> int:
        """A `Label.Stage`."""
        return int(messages.Label.RAW if self.scale is None else messages.Label.UNSCALED)


@dataclasses.dataclass(frozen=True)
class Sum:
    """A total that is differentiated, and its parts.

    Attributes:
      parts: by name.
      mirror: of the tape.
    """

    parts: dict[str, Part]
    mirror: Mirror

    def record(
        self, call: Counted, total: Description, found: list[Any], none: tuple[bool, ...]
    ) -> list[tuple[Description, Target]]:
        """Records the parts of one call of the total, if it is due or a sentinel picks it.

        In a graph this is a branch of its own. Where a sentinel looks, it waits for the
        verdict on the total, and what the forward pass has left is kept until then: not
        more than what the passes themselves need in a step that is recorded.

        Args:
          call: of the total.
          total: describes its series.
          found: flat sources.
          none: which of them got no gradient from the total.

        Returns:
          What each part's series is of, with the gradients that are None, and what was
          differentiated for it; nothing where none is recorded.
        """
        if tf.executing_eagerly() and not (call.due and self.mirror.is_ready):
            return []
        parts = list(self.parts.values())
        try:
            passes = self.mirror.passes([part.target for part in parts], found, none)
        except NoPassError as error:
            say_once(
                f"tb_gradscope: the parts of {total.schema.name!r} are not recorded: {error}. "
                "The total is."
            )
            return []
        descriptions = _described(call.recorder, total, self.parts, passes)
        missing: list[tuple[bool, ...]] = []
        if call.verdict is not None:
            call = call.beside(call.verdict.reason)
        record(call, descriptions, functools.partial(_payloads, passes, parts, found, missing))
        known = [
            dataclasses.replace(description, none=one)
            for description, one in zip(descriptions, missing, strict=False)
        ]
        return list(zip(known, [part.target for part in parts], strict=False))


_known: contextvars.ContextVar[Callable[[Any], dict[str, Target]]] = contextvars.ContextVar(
    "gradscope_sums", default=lambda target: {}
)


@contextlib.contextmanager
def known_sums(parts_of: Callable[[Any], dict[str, Target]]) -> Iterator[None]:
    """Tells the parts of sums that the program did not write itself, in what is called from here.

    Args:
      parts_of: returns the parts of a loss by name, none if it is no such sum.
    """
    token = _known.set(parts_of)
    try:
        yield
    finally:
        _known.reset(token)


def sum_of(given: GivenParts, mirror: Mirror, target: Any, output_gradients: Any) -> Sum | None:
    """Returns what is to be differentiated as a sum of parts, None if it is none.

    Args:
      given: the parts that the tape was told of.
      mirror: of the tape.
      target: what is to be differentiated.
      output_gradients: its weights, or None.
    """
    parts = given.of(target)
    if not parts:
        known = {} if output_gradients is not None else _known.get()(target)
        scale = scale_of(target)
        of_known = {name: Part(_scaled(one, scale), scale) for name, one in known.items()}
        return Sum(of_known, mirror) if of_known else None
    weights: dict[str, Any] = {}
    if output_gradients is not None and isinstance(target, Mapping):
        left = iter(tf.nest.flatten(output_gradients))
        # In the order in which TensorFlow flattens a dict.
        for key in sorted(target):
            weights[str(key)] = [next(left) for _ in tf.nest.flatten(target[key])]
    made = {
        name: Part(_target(part, weights.get(name)), scale_of(part)) for name, part in parts.items()
    }
    return Sum(made, mirror)


def _scaled(target: Target, scale: Any) -> Target:
    """Scales a part as its total is, so that its gradient underflows no sooner."""
    if scale is None:
        return target
    with internals.stop_recording():
        weights = target.weights or [tf.ones_like(one) for one in target.tensors]
        scaled = tuple(weight * tf.cast(scale, weight.dtype) for weight in weights)
    return Target(target.tensors, scaled)


def _target(part: Any, weights: Any) -> Target:
    flat = tf.nest.flatten(part, expand_composites=True)
    # What is a number has no gradient; nor has what a composite tensor counts with.
    is_part = [isinstance(one, tf.Tensor) and _is_differentiable(one.dtype) for one in flat]
    tensors = tuple(one for one, kept in zip(flat, is_part, strict=True) if kept)
    if weights is None:
        return Target(tensors)
    flat_weights = tf.nest.flatten(weights, expand_composites=True)
    return Target(tensors, tuple(w for w, kept in zip(flat_weights, is_part, strict=True) if kept))


def _described(
    recorder: Recorder, total: Description, parts: dict[str, Part], passes: Passes
) -> list[Description]:
    """Returns a description for each part, then one for the cosines of each but the first."""
    key = ("parts", total.series, *((name, part.stage) for name, part in parts.items()))
    found = recorder.seen.get(key)
    if found is None:
        found = _describe(recorder, total, parts)
        recorder.remember(key, found)
    if passes.none is None:
        return list(found)
    known = [
        dataclasses.replace(description, none=none)
        for description, none in zip(found, passes.none, strict=False)
    ]
    return [*known, *found[len(known) :]]


def _describe(recorder: Recorder, total: Description, parts: dict[str, Part]) -> list[Description]:
    variables = [variable.name for variable in total.schema.variables]
    # The parts of another total are others, whatever they are called.
    origin = ("part of", total.schema.name)
    called = [recorder.losses.name(Key(name, origin, 0), variables, is_same=True) for name in parts]
    part_of = {"part_of": total.schema.name}
    described = [
        total.beside(
            messages.Schema.GRADIENT,
            part.stage,
            name=name,
            computed=lines.of_loss(part.target.tensors),
            **part_of,
        )
        for name, part in zip(called, parts.values(), strict=True)
    ]
    compared = [
        total.beside(messages.Schema.COSINE, part.stage, name=name, losses=called[_others_of(i)])
        for i, (name, part) in enumerate(zip(called, parts.values(), strict=True))
        if i > 0
    ]
    return [*described, *compared]


def _payloads(
    passes: Passes, parts: list[Part], found: list[Any], missing: list[tuple[bool, ...]]
) -> list[Any]:
    gradients = passes.run()
    missing[:] = [tuple(one is None for one in each) for each in gradients]
    between = cosines(gradients, found)
    compared = [
        tf.transpose(between[:, index, _others_of(index)]) for index in range(1, len(parts))
    ]
    return [
        *(_values(each, part, found) for each, part in zip(gradients, parts, strict=True)),
        *(tf.reshape(each, [-1]) for each in compared),
    ]


def _values(gradients: list[Any], part: Part, found: list[Any]) -> Any:
    true = [unscaled(gradient, part.scale) for gradient in gradients]
    measured = tf.reshape(gradient_statistics(true, found), [-1])
    tensors, weights = part.target.tensors, part.target.weights
    if weights is not None:
        tensors = tuple(one * weight for one, weight in zip(tensors, weights, strict=True))
    return with_loss(measured, tensors, part.scale)


def _others_of(index: int) -> slice:
    """Returns with which parts the part of this index is compared."""
    return slice(max(0, index - MOST_COMPARED), index)


def _is_summand(part: Any) -> bool:
    if part is None or isinstance(part, numbers.Number | np.ndarray | np.generic):
        return True
    return tf.is_tensor(part) and not isinstance(part, tf.Variable)


def _is_differentiable(dtype: Any) -> bool:
    return bool(dtype.is_floating or dtype.is_complex)
