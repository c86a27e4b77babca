"""One step of an optimizer: what reached it, and the update it made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import STATISTIC_COUNT
from tb_gradscope.recording import internals
from tb_gradscope.recording.clipping.clips import as_tensor, tape_recorder
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.optimizer import internals as keras
from tb_gradscope.recording.optimizer.numbers import (
    Copies,
    flat_statistics,
    own_clip_payload,
    when_due,
)
from tb_gradscope.recording.optimizer.scaling import unscaled
from tb_gradscope.recording.optimizer.series import Optimizer, Recognised, recognised
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.destination import current
from tb_gradscope.recording.store.observe import Counted, count, in_function, look, record
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape.origins import ORIGINS

_ONE_UPDATE = np.array([1, 0], np.int64)


class Step:
    """One step: `reach` before the update, `finish` after it."""

    def __init__(
        self,
        optimizer: Optimizer,
        one: Recognised,
        descriptions: list[Description],
        gradients: list[Any],
        variables: list[Any],
        counted: Counted,
        taken: Any,
        is_update: Any,
    ) -> None:
        self._optimizer, self._one, self._descriptions = optimizer, one, descriptions
        self._gradients, self._variables = gradients, variables
        self._counted, self._taken, self._is_update = counted, taken, is_update
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._measured: Any = None
        self._reduced: Any = None
        self._copies = Copies([])
        self.has_reached = False
        self.learning_rate: Any = None

    @property
    def recorder(self) -> Recorder:
        """Where it is recorded."""
        return self._counted.recorder

    @property
    def is_here(self) -> bool:
        """Tells whether the step's graph is the one under construction."""
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        return graph is self._graph

    def reach(self) -> None:
        """The gradients have come, and nothing is updated yet."""
        self.has_reached = True
        if self._descriptions[0].is_watched:
            self._counted, _ = look(
                self._counted, self._descriptions[0], _Reached(self._true), self._is_update
            )
        if self._one.update is not None:
            self._copies = Copies(self._variables)
        copies, width = self._copies, self._width
        self._measured = when_due(
            self._counted.due,
            lambda: [self._measure(), *copies.taken()],
            lambda: [tf.zeros([width]), *copies.none_taken()],
        )
        self._gradients = [None if gradient is None else True for gradient in self._gradients]

    def reduce(self, pairs: Sequence[Any]) -> None:
        """Keras has reduced the gradients over the replicas.

        Args:
          pairs: gradients and variables, as far as there are gradients.
        """
        if not self._one.is_reduced or self._one.update is None:
            return
        left = iter(pairs)
        gradients = [None if known is None else next(left)[0] for known in self._gradients]
        width = STATISTIC_COUNT * len(self._variables)
        self._reduced = when_due(
            self._counted.due,
            lambda: [flat_statistics(gradients, self._variables)],
            lambda: [tf.zeros([width])],
        )

    def finish(self) -> None:
        """The update is made, or left out."""
        if not self.has_reached or not self.is_here:
            raise NotImplementedError("this Keras does not accumulate gradients where it used to")
        skipped: Any = False
        if self._optimizer.may_skip and self._taken is not None:
            skipped = tf.equal(keras.applications(self._optimizer.inner), self._taken)
        tally = None
        if self._one.update is not None:
            tally = _ONE_UPDATE
            if self._optimizer.may_skip or self._optimizer.accumulation > 1:
                applied = tf.logical_and(self._is_update, tf.logical_not(skipped))
                tally = tf.cast(tf.stack([applied, skipped]), tf.int64)
        counted, descriptions = self._counted, list(self._descriptions)
        payloads: list[Callable[[], Any]] = []
        if self._one.update is not None:
            payloads.append(lambda: self._update_payload(skipped))
        if self._one.clip is not None:
            payloads.append(self._clip_payload)
        if self._optimizer.may_skip and self._one.clip is not None:
            # Where the update is left out, nothing is clipped.
            is_clipped = tf.logical_and(counted.due, tf.logical_not(skipped))
            clipped = dataclasses.replace(counted, due=is_clipped, spikes=None)
            clip, description = payloads.pop(), descriptions.pop()
            record(clipped, [description], lambda: [clip()])
        record(counted, descriptions, lambda: [payload() for payload in payloads], tally=tally)

    @property
    def _statistics_width(self) -> int:
        """Number of floats that are statistics of the gradients as they come; 0 for none."""
        is_wanted = self._one.clip is not None or not self._one.is_reduced
        return STATISTIC_COUNT * len(self._variables) if is_wanted else 0

    @property
    def _width(self) -> int:
        """Number of floats that `_measure` returns."""
        clip = 0 if self._one.clip is None else self._one.clip.width
        return 2 + self._statistics_width + clip

    def _measure(self) -> Any:
        """Returns float32 [loss scale, learning rate, statistics, payload of the clip site]."""
        optimizer, variables = self._optimizer, self._variables
        scale = keras.loss_scale(optimizer.outer)
        header = [
            tf.cast(1.0 if scale is None else scale, tf.float32),
            keras.learning_rate(optimizer.inner, self._taken),
        ]
        numbers = [tf.stack(header)]
        if self._statistics_width:
            gradients = self._true(scale)
            measured = flat_statistics(gradients, variables)
            numbers.append(measured)
            if self._one.clipping is not None:
                numbers.append(own_clip_payload(self._one.clipping, gradients, measured))
        return tf.concat(numbers, 0)

    def _true(self, scale: Any = None) -> list[Any]:
        """Returns the gradients that the update is made of, divided by the loss scale."""
        optimizer = self._optimizer
        gradients = [unscaled(as_tensor(gradient), scale) for gradient in self._gradients]
        if optimizer.accumulation == 1:
            return gradients
        return keras.accumulated(
            optimizer.inner, gradients, self._variables, optimizer.accumulation
        )

    def _update_payload(self, skipped: Any) -> Any:
        measured, *taken = self._measured
        found = measured[2 : 2 + self._statistics_width]
        if self._one.is_reduced:
            if self._reduced is None:
                raise NotImplementedError("this Keras reduces gradients in a way of its own")
            (found,) = self._reduced
        changes = self._copies.changes(taken)
        changes = tf.where([known is None for known in self._gradients], 0.0, changes)
        rate = measured[1] if self.learning_rate is None else self.learning_rate
        header = [measured[0], tf.cast(rate, tf.float32), tf.cast(skipped, tf.float32)]
        rows = tf.concat([tf.reshape(found, [-1, STATISTIC_COUNT]), changes[:, None]], 1)
        return tf.concat([tf.stack(header), tf.reshape(rows, [-1])], 0)

    def _clip_payload(self) -> Any:
        return self._measured[0][2 + self._statistics_width :]


class _Reached(Watched):
    """The gradients that a sentinel looks at: those of an update, made when it does."""

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self._make = make

    @property
    def values(self) -> list[Any]:
        return Watched(self._make()).values

    @values.setter
    def values(self, values: list[Any]) -> None:
        self._make = lambda: values


def begin(watched: Hashable, outer: Any, name: str, grads: Any, variables: Any) -> Step | None:
    """Counts a step that is about to be made; returns None where nothing is recorded.

    Args:
      watched: stands for the optimizer.
      outer: what the program applies.
      name: of the optimizer, as far as it is free.
      grads: as given to `apply`.
      variables: as given to `apply`.
    """
    if variables is None:
        variables = keras.variables_of(outer)
    if not isinstance(grads, list | tuple) or not isinstance(variables, list | tuple):
        return None  # Keras says what is wrong, or reads what can be read but once
    pairs = [
        pair for pair in zip(grads, variables, strict=False) if not keras.is_overwritten(pair[1])
    ]
    gradients, found = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    recorder = current(tape_recorder(gradients))
    if recorder is None or all(gradient is None for gradient in gradients):
        return None
    with contained("recording an optimizer", recorder.on_error), internals.stop_recording():
        in_function()  # raises where nothing can be recorded
        optimizer = Optimizer.of(outer)
        one = recognised(recorder, watched, optimizer, name, gradients, found)
        return _counted(recorder, optimizer, one, gradients, found)
    return None


def _counted(
    recorder: Recorder,
    optimizer: Optimizer,
    one: Recognised,
    gradients: list[Any],
    variables: list[Any],
) -> Step | None:
    if not one.descriptions:
        return None
    taken = keras.applications(optimizer.inner)
    is_update: Any = True
    if optimizer.accumulation > 1:
        if taken is None:
            raise NotImplementedError("this Keras does not count micro-batches where it used to")
        is_update = tf.equal((taken + 1) % optimizer.accumulation, 0)
    # The gradients of a tape of ours are looked at where they are taken.
    is_watched = one.update is not None and (
        optimizer.may_skip or any(g is not None and ORIGINS.of(g) is None for g in gradients)
    )
    descriptions = one.descriptions
    if is_watched and recorder.has_sentinel:
        descriptions[0] = descriptions[0].with_sentinel
    counted = count(
        recorder,
        descriptions[0],
        descriptions[0].none,
        condition=is_update,
        calls_to_one=optimizer.accumulation,
    )
    step = Step(optimizer, one, descriptions, gradients, variables, counted, taken, is_update)
    # What accumulates gradients is made by the first step.
    if optimizer.accumulation == 1 or optimizer.inner.built:
        step.reach()
    return step
