"""One call, eager or while tracing: who it is of, whether it is due, and what is taken."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope import __version__
from tb_gradscope.format import messages, tags
from tb_gradscope.format.statistics import Reason
from tb_gradscope.recording import internals, step
from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store import cadence, ring
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.recorder import Call, Recorder
from tb_gradscope.recording.store.sentinel import NOT_ODD, Glance
from tb_gradscope.recording.store.verdict import Verdict

Payloads = Callable[[], Sequence[Any]]


def schema(kind: int, name: str, variables: list[Any], where: Any, **more: Any) -> Any:
    """Returns a `Schema` message for records made here and now."""
    return messages.Schema(
        version=tags.FORMAT_VERSION,
        kind=kind,
        name=name,
        variables=variables,
        where=where,
        step_source=messages.Schema.USER if step.is_users() else messages.Schema.CALLS,
        writer=f"tb_gradscope {__version__}, TensorFlow {tf.__version__}",
        **more,
    )


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
        """Returns the same call, due also where a sentinel picks it.

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
        if reason == NOT_ODD:
            return self
        now = step.user_step()
        now = ring.NO_STEP if now is None else now
        return dataclasses.replace(self, due=True, reason=reason, step=now)

    def picked_alone(self, reason: Any) -> Counted:
        """Returns the same call, due only where a sentinel picks it and nothing else does.

        Args:
          reason: as for `picked`, in a graph.
        """
        is_alone = tf.logical_and(reason != NOT_ODD, tf.logical_not(self.due))
        return dataclasses.replace(self, due=is_alone, reason=reason, turn=None)


def observe(
    recorder: Recorder,
    descriptions: Sequence[Description],
    payloads: Payloads,
    none: tuple[bool, ...],
    *,
    tally: Any = None,
    is_repeat: bool = False,
    gradients: Gradients | None = None,
    early: Callable[[Any], None] | None = None,
    picked: Any = NOT_ODD,
) -> Counted:
    """Counts one call, and records it if it is due: eagerly, or in the graph under construction.

    Args:
      recorder: where to.
      descriptions: of the series that this call is of. The first decides whether the
        call is due; the others are recorded together with it.
      payloads: returns the float32 vector of each, see `Description`. It is run only
        if the call is due: in a graph inside the branch, so that whatever it builds
        costs nothing in other calls.
      none: which gradients of the first are None. In eager code, a pattern not seen
        before is recorded in any case.
      tally: int64 vector to add to the tallies of the first in every call, or None.
      is_repeat: the same loss of the same tape was seen before, so that the call
        counts no further step.
      gradients: of the first, for the sentinel to look at in every call; None for no
        sentinel. A call in which it sees something odd is recorded.
      early: builds what is recorded if the call is due by the cadence, but holds large
        gradients and must not wait for the rest; it gets a bool scalar of the graph.
      picked: why what it is compared with is odd, so that it is recorded too, or `NOT_ODD`.

    Returns:
      The call, for `record` to record more of it; in a graph as it is due by the
      cadence alone, which needs nothing of the gradients, with the verdict beside it.
    """
    first, *others = descriptions
    if gradients is not None and recorder.has_sentinel:
        first = first.with_sentinel
        descriptions = [first, *others]
    looked = counted = count(recorder, first, none, is_repeat=is_repeat)
    watched = Watched.of(gradients) if gradients is not None and first.is_watched else None
    if watched is not None and in_function():
        # Judged in the branch that records: one branch less.
        looked = dataclasses.replace(counted, glance=_glance(counted, first, watched))
    elif watched is not None:
        looked, tally = look(counted, first, watched)
        counted = dataclasses.replace(looked, spikes=None)
    if gradients is not None and gradients.apart:
        with tf.name_scope("gradscope"):
            glance = looked.glance
            gradients.measure_apart(counted.due, None if glance is None else glance.apart)
            if early is not None:
                early(counted.due)
    if looked.verdict is None:  # its own reason comes first
        looked = looked.picked(picked)
    reason = record(looked, descriptions, payloads, tally=tally)
    if looked.glance is not None:
        verdict = Verdict(weakref.ref(recorder), reason, looked.glance)
        counted = dataclasses.replace(counted, verdict=verdict)
    return dataclasses.replace(counted, turn=None)


def count(
    recorder: Recorder,
    description: Description,
    none: tuple[bool, ...],
    *,
    is_repeat: bool = False,
    condition: Any = True,
    calls_to_one: int = 1,
) -> Counted:
    """Counts one call that `record` comes to later: where not all is known at one point.

    Args:
      recorder: as for `observe`.
      description: of the series that decides whether the call is due.
      none: as for `observe`.
      is_repeat: as for `observe`.
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


def record(
    counted: Counted,
    descriptions: Sequence[Description],
    payloads: Payloads,
    *,
    tally: Any = None,
) -> Any:
    """Records a call if it is due.

    Args:
      counted: the call; in a graph of this one or of one around it.
      descriptions: as for `observe`.
      payloads: as for `observe`.
      tally: as for `observe`.

    Returns:
      In a graph, of a call that a sentinel has glanced at: why it is odd, an int64 scalar.
    """
    if in_function():
        with tf.name_scope("gradscope"):
            return _record_in_graph(counted, descriptions, payloads, tally)
    recorder = counted.recorder
    if tally is not None:
        first = recorder.series(descriptions[0])
        first.tallies = first.tallies + tally
    if not counted.due:
        return None
    for description, payload in zip(descriptions, _with_spikes(counted, payloads), strict=True):
        series = recorder.series(description)
        recorder.write(
            series, Call(counted.step, counted.call, counted.reason, series.tallies, payload)
        )
    return None


def _count_in_graph(
    recorder: Recorder,
    description: Description,
    is_repeat: bool,
    condition: Any,
    calls_to_one: int,
) -> Counted:
    slots = _ring(recorder, description)
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


def _record_in_graph(
    counted: Counted, descriptions: Sequence[Description], payloads: Payloads, tally: Any
) -> Any:
    recorder = counted.recorder
    recorder.trace(descriptions, step.user_step_now())
    rings = [_ring(recorder, description) for description in descriptions]
    label = [counted.step, counted.call, counted.reason]
    if counted.glance is None:
        ring.record(
            rings,
            lambda: _with_spikes(counted, payloads),
            counted.due,
            label,
            tally,
            turn=counted.turn,
        )
        return None
    return ring.record_watched(
        rings, payloads, counted.due, label, counted.glance, turn=counted.turn
    )


def _with_spikes(counted: Counted, payloads: Payloads) -> Sequence[Any]:
    first, *others = payloads()
    if counted.spikes is not None:
        first = tf.concat([first, counted.spikes], 0)
    return [first, *others]


def look(
    counted: Counted,
    description: Description,
    watched: Watched,
    condition: Any = True,
    early: Callable[[Sequence[Any]], None] | None = None,
) -> tuple[Counted, Any]:
    """Lets the sentinel look at a call; returns the call, and what to add to its tallies.

    Args:
      counted: the call.
      description: of the series that is watched.
      watched: its gradients.
      condition: what must hold for it to look, and for the call to be recorded; in a
        graph a bool scalar of it.
      early: in a graph, measures what is apart; it gets `Glance.apart`.
    """
    if in_function():
        with tf.name_scope("gradscope"):
            glance = _glance(counted, description, watched, condition)
            if early is not None:
                early(glance.apart)
            seen = glance.judge_if_odd()
            counted = counted.picked(seen.reason)
            return dataclasses.replace(counted, spikes=seen.spikes), seen.nonfinite
    recorder = counted.recorder
    if not bool(condition):
        return counted, None
    if recorder.honours_record_if and not bool(internals.should_record_summaries()):
        return counted, None
    seen = recorder.series(description).look(watched, counted.call)
    verdict = None
    if seen.reason != NOT_ODD:
        verdict = Verdict(weakref.ref(recorder), seen.reason)
    counted = counted.picked(seen.reason)
    return dataclasses.replace(counted, spikes=seen.spikes, verdict=verdict), seen.nonfinite


def _glance(
    counted: Counted, description: Description, watched: Watched, condition: Any = True
) -> Glance:
    """Lets the sentinel glance at a call of the graph under construction."""
    with tf.name_scope("gradscope"):
        if counted.recorder.honours_record_if:
            condition = tf.logical_and(internals.should_record_summaries(), condition)
        return _ring(counted.recorder, description).glance(condition, watched, counted.call)


def _ring(recorder: Recorder, description: Description) -> ring.Ring:
    found = recorder.ring(description)
    ring.keep_with_graph(found)
    return found
