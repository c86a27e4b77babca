"""One call, eager or while tracing: who it is of, whether it is due, and what is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope import __version__
from tb_gradscope.format import messages, tags
from tb_gradscope.format.statistics import Reason
from tb_gradscope.recording import cadence, ring, step
from tb_gradscope.recording.description import Description
from tb_gradscope.recording.recorder import Call, Recorder

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


def observe(
    recorder: Recorder,
    descriptions: Sequence[Description],
    payloads: Payloads,
    none: tuple[bool, ...],
    *,
    tally: Any = None,
    is_repeat: bool = False,
) -> None:
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
    """
    if in_function():
        _observe_in_graph(recorder, descriptions, payloads, tally, is_repeat)
    else:
        _observe_eagerly(recorder, descriptions, payloads, none, tally, is_repeat)


def _observe_eagerly(
    recorder: Recorder,
    descriptions: Sequence[Description],
    payloads: Payloads,
    none: tuple[bool, ...],
    tally: Any,
    is_repeat: bool,
) -> None:
    first = recorder.series(descriptions[0])
    if tally is not None:
        first.tallies = first.tallies + tally
    call = recorder.counter(descriptions[0].counter).count(is_repeat)
    is_new = none not in first.seen_none
    first.seen_none.add(none)
    is_due = cadence.is_due(call, recorder.every)
    if not (is_new or is_due):
        return
    if recorder.honours_record_if and not bool(tf.summary.should_record_summaries()):
        return
    now = step.user_step()
    reason = Reason.CADENCE if is_due else Reason.PATTERN
    for description, payload in zip(descriptions, payloads(), strict=True):
        series = recorder.series(description)
        recorder.write(
            series,
            Call(ring.NO_STEP if now is None else now, call, reason, series.tallies, payload),
        )


def _observe_in_graph(
    recorder: Recorder,
    descriptions: Sequence[Description],
    payloads: Payloads,
    tally: Any,
    is_repeat: bool,
) -> None:
    with tf.name_scope("gradscope"):
        recorder.trace(descriptions, step.user_step_now())
        rings = [recorder.ring(description) for description in descriptions]
        for each in rings:
            ring.keep_with_graph(each)
        condition = tf.summary.should_record_summaries() if recorder.honours_record_if else True
        call = recorder.counter(descriptions[0].counter).count_in_graph(is_repeat)
        tallies = [each.count(tally if each is rings[0] else None) for each in rings]
        due = tf.logical_and(rings[0].is_due(call), condition)
        now = step.user_step()
        if now is None:
            now = tf.constant(ring.NO_STEP, tf.int64)
        reason = tf.constant(Reason.CADENCE, tf.int64)
        ring.record(rings, payloads, due, [now, call, reason], tallies)
