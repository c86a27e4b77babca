"""One call, eager or while tracing: counted, looked at by a sentinel, and recorded."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope import __version__
from tb_gradscope.format import messages, tags
from tb_gradscope.recording import internals, step
from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store import ring
from tb_gradscope.recording.store.counted import Counted, count, in_function, ring_of
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
    beside: Any = NOT_ODD,
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
      beside: why what it is compared with is odd, so that it is recorded too, or `NOT_ODD`.

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
        looked = looked.beside(beside)
    reason = record(looked, descriptions, payloads, tally=tally)
    if looked.glance is not None:
        verdict = Verdict.of(looked.glance, recorder, reason)
        counted = dataclasses.replace(counted, verdict=verdict)
    return dataclasses.replace(counted, turn=None)


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


def _record_in_graph(
    counted: Counted, descriptions: Sequence[Description], payloads: Payloads, tally: Any
) -> Any:
    recorder = counted.recorder
    recorder.trace(descriptions, step.user_step_now())
    rings = [ring_of(recorder, description) for description in descriptions]
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
        return ring_of(counted.recorder, description).glance(condition, watched, counted.call)
