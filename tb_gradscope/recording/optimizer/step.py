"""One step of an optimizer: what reached it, and the update it made of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.format.statistics import STATISTIC_COUNT, Statistic
from tb_gradscope.recording.clipping.clips import as_tensor
from tb_gradscope.recording.measure.alone import (
    are_finite,
    norm_alone,
    row_if,
    unseen,
)
from tb_gradscope.recording.measure.gradients import apart_of, are_large
from tb_gradscope.recording.measure.order import in_order
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.measure.statistics import gradient_row
from tb_gradscope.recording.optimizer import internals as keras
from tb_gradscope.recording.optimizer.numbers import own_clip_payload
from tb_gradscope.recording.optimizer.scaling import unscaled
from tb_gradscope.recording.optimizer.series import Optimizer, Recognised
from tb_gradscope.recording.optimizer.taken import Taken, TakenApart, Wanted
from tb_gradscope.recording.store.counted import Counted
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.observe import look, record
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.verdict import Verdicts

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
        applications: Any,
        is_update: Any,
        verdicts: Verdicts,
    ) -> None:
        self._optimizer, self._one, self._descriptions = optimizer, one, descriptions
        self._gradients, self._variables = gradients, variables
        self._counted, self._applications, self._is_update = counted, applications, is_update
        self._verdicts = verdicts
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._rest: Taken | None = None
        self._apart: TakenApart | None = None
        self._by_cadence, self._waits_for_sentinel = counted.due, False
        # Keras reduces over the replicas after it has clipped: another verdict, and a record
        # of its own.
        self._waits_for_reduced = one.is_reduced and not are_large(gradients)
        self._updated = counted
        self._reduced: Taken | None = None
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
        watches = self._descriptions[0].is_watched and not self._one.is_reduced
        apart: tuple[int, ...] = ()
        # Keras itself waits for all gradients to tell whether a scaled step is left out.
        if not tf.executing_eagerly() and not self._optimizer.may_skip:
            apart = () if self._verdicts.can_wait else apart_of(self._gradients)
        wanted = Wanted(
            rows=self._one.clip is not None or not self._one.is_reduced,
            copies=self._one.update is not None and not self._waits_for_reduced,
            clipping=None if self._one.clip is None else self._one.clipping,
        )
        every = range(len(self._gradients))
        take_apart = functools.partial(self._take_apart, wanted, apart) if apart else None
        if watches:
            # Made where the sentinel looks: what is accumulated is computed.
            made = functools.partial(self._true, every, is_scaled=True)
            watched = Watched(made, apart, self._are_finite_apart)
            self._counted, _ = look(
                self._counted, self._descriptions[0], watched, self._is_update, take_apart
            )
            if self._verdicts.can_wait:  # seen before the program's own code had them
                self._counted = self._counted.beside(self._verdicts.reason)
        else:
            seen = self._verdicts.apart(apart)
            if seen is not None:
                self._counted = self._counted.beside(self._verdicts.reason)
            if take_apart is not None:
                take_apart(unseen(len(apart)) if seen is None else seen)
        self._waits_for_sentinel = bool(apart) and self._counted.due is not self._by_cadence
        rest = [position for position in every if position not in apart]
        self._rest = Taken(
            rest,
            self._counted.due,
            wanted,
            [self._variables[position] for position in rest],
            functools.partial(self._true, rest),
            self._header,
        )
        if not self._one.is_reduced:
            self._updated = self._counted
        self._gradients = [None if gradient is None else True for gradient in self._gradients]

    def _take_apart(self, wanted: Wanted, apart: Sequence[int], seen: Sequence[Any]) -> None:
        self._apart = TakenApart(
            apart,
            self._by_cadence,
            wanted,
            [self._variables[position] for position in apart],
            functools.partial(self._row, wanted),
            seen,
        )

    def _are_finite_apart(self) -> Any:
        assert self._apart is not None
        return are_finite(self._apart.rows)

    def _row(self, wanted: Wanted, is_wanted: Any, position: int, half: Any) -> Any:
        """Returns a row as `TakenApart` has it."""
        scale = keras.loss_scale(self._optimizer.outer)

        def measured() -> Any:
            (true,) = self._true([position])
            return wanted.clipped(gradient_row(true)[None], [true])[0]

        def alone() -> Any:
            return wanted.with_norm(norm_alone(half, scale))

        if self._optimizer.accumulation > 1 or self._clips_elements:
            return tf.cond(is_wanted, measured, alone)
        found = row_if(is_wanted, as_tensor(self._gradients[position]), half, scale)
        return wanted.with_norm(found)

    def reduce(self, pairs: Sequence[Any]) -> None:
        """Keras has reduced the gradients over the replicas.

        Args:
          pairs: gradients and variables, as far as there are gradients.
        """
        if not self._one.is_reduced or self._one.update is None:
            return
        left = iter(pairs)
        gradients = [None if known is None else next(left)[0] for known in self._gradients]
        if self._descriptions[0].is_watched:
            watched = Watched(lambda: gradients)
            self._updated, _ = look(self._updated, self._descriptions[0], watched)
        if self._waits_for_reduced:
            known = Verdicts(self.recorder, gradients)
            for reason in (known.reason, self._verdicts.reason):
                self._updated = self._updated.beside(reason)
        self._reduced = Taken(
            range(len(self._variables)),
            self._updated.due,
            Wanted(rows=True, copies=self._waits_for_reduced, clipping=None),
            self._variables,
            lambda: gradients,
            self._header,
        )

    def finish(self) -> None:
        """The update is made, or left out."""
        if not self.has_reached or not self.is_here:
            raise NotImplementedError("this Keras does not accumulate gradients where it used to")
        skipped: Any = False
        if self._optimizer.may_skip and self._applications is not None:
            skipped = tf.equal(keras.applications(self._optimizer.inner), self._applications)
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
        is_clipped = counted.due
        if self._optimizer.may_skip:  # where the update is left out, nothing is clipped
            is_clipped = tf.logical_and(is_clipped, tf.logical_not(skipped))
        elif self._waits_for_sentinel and self._clips_elements:
            is_clipped = self._by_cadence  # else what became of large gradients is not known
        if self._one.clip is not None and is_clipped is not self._updated.due:
            clipped = dataclasses.replace(counted, due=is_clipped, spikes=None)
            clip, description = payloads.pop(), descriptions.pop()
            record(clipped, [description], lambda: [clip()])
        if descriptions:
            made = functools.partial(_all_made, payloads)
            record(self._updated, descriptions, made, tally=tally)

    @property
    def _clips_elements(self) -> bool:
        clipping = self._one.clipping
        return clipping is not None and clipping.method == messages.Clip.VALUE

    def _header(self) -> Any:
        """Returns float32 [loss scale, learning rate]."""
        scale = keras.loss_scale(self._optimizer.outer)
        rate = keras.learning_rate(self._optimizer.inner, self._applications)
        return tf.stack([tf.cast(1.0 if scale is None else scale, tf.float32), rate])

    def _true(self, positions: Sequence[int], is_scaled: bool = False) -> list[Any]:
        """Returns what the update is made of.

        Args:
          positions: of the gradients.
          is_scaled: the loss scale stays in.
        """
        optimizer = self._optimizer
        scale = None if is_scaled else keras.loss_scale(optimizer.outer)
        found = [unscaled(as_tensor(self._gradients[position]), scale) for position in positions]
        if optimizer.accumulation == 1:
            return found
        variables = [self._variables[position] for position in positions]
        return keras.accumulated(optimizer.inner, found, variables, optimizer.accumulation)

    def _merged(self, of: Callable[[Any], Any]) -> Any:
        """Returns what was taken of the variables, `[variable, ...]`."""
        taken = [one for one in (self._rest, self._apart) if one is not None and one.positions]
        positions = [position for one in taken for position in one.positions]
        return in_order([of(one) for one in taken], positions)

    def _update_payload(self, skipped: Any) -> Any:
        if not self._one.is_reduced:
            found = self._merged(lambda taken: taken.rows)[:, :STATISTIC_COUNT]
        elif self._reduced is not None and self._reduced.rows is not None:
            found = self._reduced.rows
        else:
            raise NotImplementedError("this Keras reduces gradients in a way of its own")
        if self._waits_for_reduced and self._reduced is not None:
            changes, header = self._reduced.changes(), self._reduced.header
        else:
            assert self._rest is not None
            changes, header = self._merged(lambda taken: taken.changes()), self._rest.header
        changes = tf.where([known is None for known in self._gradients], 0.0, changes)
        scale, rate = tf.unstack(header)
        rate = rate if self.learning_rate is None else self.learning_rate
        numbers = [scale, tf.cast(rate, tf.float32), tf.cast(skipped, tf.float32)]
        rows = tf.concat([found, changes[:, None]], 1)
        return tf.concat([tf.stack(numbers), tf.reshape(rows, [-1])], 0)

    def _clip_payload(self) -> Any:
        assert self._one.clipping is not None
        rows = self._merged(lambda taken: taken.rows)
        none = np.array([known is None for known in self._gradients])
        return own_clip_payload(
            self._one.clipping, rows[:, STATISTIC_COUNT:], rows[:, Statistic.MAX_ABS], none
        )


def _all_made(payloads: Sequence[Callable[[], Any]]) -> list[Any]:
    return [payload() for payload in payloads]
