"""One call, eager or while tracing: its number, and whether it is due."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tb_gradscope.format.statistics import Reason
from tb_gradscope.recording import internals, step
from tb_gradscope.recording.store import cadence, ring
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.sentinel import NOT_ODD, Glance
from tb_gradscope.recording.store.verdict import Verdict


def in_function() -> bool:
    """Tells whether a graph is under construction that recording works in.

    Raises:
      NotImplementedError: a graph of TensorFlow 1, run by a session.
    """
    if tf.executing_eagerly():
        return False
    if not isinstance(tf.compat.v1.get_default_graph(), tf.__internal__.FuncGraph):
        raise NotImplementedError(
            "graphs of TensorFlow 1 (tf.compat.v1.Session) are not recorded; use eager code "
            "or tf.function"
        )
    return True


@dataclasses.dataclass(frozen=True)
class Counted:
    """One call that was counted, and is to be recorded or not.

    Attributes:
      recorder: where to.
      due: whether it is recorded: a bool, or a scalar of the graph under construction.
      step: the program's step, or `ring.NO_STEP`.
      call: its number, the first is 0.
      reason: a `Reason`.
      spikes: float32 `[variable]` that a sentinel has judged, None without one.
      glance: what a sentinel has still to judge, None for nothing.
      turn: of the cadence, to move on where the call is recorded; None in eager code.
      verdict: of a sentinel that has judged it, None without one; in eager code only
        where the call is odd.
    """

    recorder: Recorder
    due: Any
    step: Any
    call: Any
    reason: Any
    spikes: Any = None
    glance: Glance | None = None
    turn: ring.Turn | None = None
    verdict: Verdict | None = None

    def picked(self, reason: Any) -> Counted:
        """Returns the same call, due also where its own sentinel picks it.

        Args:
          reason: why it is odd, or `NOT_ODD`; in a graph an int64 scalar, or a number.
        """
        if tf.is_tensor(reason):
            is_odd = reason != NOT_ODD
            return dataclasses.replace(
                self,
                due=tf.logical_or(self.due, is_odd),
                reason=tf.where(is_odd, reason, self.reason),
            )
        return self if reason == NOT_ODD else self._at_users_step(reason)

    def beside(self, reason: Any) -> Counted:
        """Returns the same call, due also where a sentinel has picked what it goes with.

        Args:
          reason: why that is odd, as for `picked`.
        """
        if tf.is_tensor(reason):
            is_picked = self._is_to_record(reason != NOT_ODD)
            return dataclasses.replace(
                self,
                due=tf.logical_or(self.due, is_picked),
                reason=tf.where(self.due, self.reason, int(Reason.BESIDE)),
            )
        if reason == NOT_ODD or self.due or not bool(self._is_to_record(True)):
            return self
        return self._at_users_step(Reason.BESIDE)

    def beside_alone(self, reason: Any) -> Counted:
        """Returns the same call, due only where `beside` alone makes it so.

        Args:
          reason: as for `beside`, of a graph.
        """
        is_alone = tf.logical_and(reason != NOT_ODD, tf.logical_not(self.due))
        why = tf.constant(Reason.BESIDE, tf.int64)
        due = self._is_to_record(is_alone)
        return dataclasses.replace(self, due=due, reason=why, turn=None)

    def _is_to_record(self, condition: Any) -> Any:
        if not self.recorder.honours_record_if:
            return condition
        return tf.logical_and(internals.should_record_summaries(), condition)

    def _at_users_step(self, reason: Any) -> Counted:
        now = step.user_step()
        now = ring.NO_STEP if now is None else now
        return dataclasses.replace(self, due=True, reason=reason, step=now)


def count(
    recorder: Recorder,
    description: Description,
    none: tuple[bool, ...],
    *,
    is_repeat: bool = False,
    condition: Any = True,
    calls_to_one: int = 1,
) -> Counted:
    """Counts one call.

    Args:
      recorder: where to.
      description: of the series that decides whether the call is due.
      none: which gradients are None. In eager code, a pattern not seen before is recorded
        in any case.
      is_repeat: the same loss of the same tape was seen before, so that the call
        counts no further step.
      condition: what must hold as well; in a graph a bool scalar of it.
      calls_to_one: only one in so many calls meets `condition`: the cadence is of those.
    """
    if in_function():
        with tf.name_scope("gradscope"):
            return _count_in_graph(recorder, description, is_repeat, condition, calls_to_one)
    call = recorder.counter(description.counter).count(is_repeat)
    seen_none = recorder.series(description).seen_none
    is_due = cadence.is_due(call // calls_to_one, recorder.every)
    is_recorded = bool(condition) and (is_due or none not in seen_none)
    if bool(condition):
        seen_none.add(none)
    if is_recorded and recorder.honours_record_if:
        is_recorded = bool(internals.should_record_summaries())
    now = step.user_step() if is_recorded else None
    reason = Reason.CADENCE if is_due else Reason.PATTERN
    return Counted(recorder, is_recorded, ring.NO_STEP if now is None else now, call, reason)


def _count_in_graph(
    recorder: Recorder,
    description: Description,
    is_repeat: bool,
    condition: Any,
    calls_to_one: int,
) -> Counted:
    slots = ring_of(recorder, description)
    if recorder.honours_record_if:
        condition = tf.logical_and(internals.should_record_summaries(), condition)
    call = recorder.counter(description.counter).count_in_graph(is_repeat)
    turn = slots.turn(call, calls_to_one)
    due = turn.is_due if condition is True else tf.logical_and(turn.is_due, condition)
    now = step.user_step()
    if now is None:
        now = tf.constant(ring.NO_STEP, tf.int64)
    cadence_is_why = tf.constant(Reason.CADENCE, tf.int64)
    return Counted(recorder, due, now, call, cadence_is_why, turn=turn)


def ring_of(recorder: Recorder, description: Description) -> ring.Ring:
    """Returns the ring of a series, tied to the graph under construction."""
    found = recorder.ring(description)
    ring.keep_with_graph(found)
    return found
