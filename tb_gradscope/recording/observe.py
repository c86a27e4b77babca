"""One call, eager or while tracing: who it is of, whether it is due, and what is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_gradscope import __version__
from tb_gradscope.format import messages, tags
from tb_gradscope.recording import cadence, ring, step
from tb_gradscope.recording.recorder import Call, Recorder
from tb_gradscope.recording.series import Description, Series


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


def observe_eagerly(
    recorder: Recorder,
    series: Series,
    payload: Callable[[], Any],
    none: tuple[bool, ...],
    is_repeat: bool = False,
) -> None:
    """Counts an eager call, and records it if it is due.

    Args:
      recorder: where to.
      series: whose call it is; its tallies are up to date.
      payload: computes the float32 tensor; run only if the call is due.
      none: which gradients are None. A pattern not seen before is recorded in any case.
      is_repeat: the same loss of the same tape was seen before.
    """
    call = recorder.counter(series.description.counted_as).count(is_repeat)
    is_new = none not in series.seen_none
    series.seen_none.add(none)
    if not (is_new or cadence.is_due(call, recorder.every)):
        return
    if recorder.honours_record_if and not bool(tf.summary.should_record_summaries()):
        return
    now = step.user_step()
    recorder.write(
        series, Call(ring.NO_STEP if now is None else now, call, series.tallies, payload())
    )


def observe_in_graph(
    recorder: Recorder,
    description: Description,
    payload: Callable[[], Any],
    tally: Any = None,
    is_repeat: bool = False,
) -> None:
    """Adds recording to the graph under construction.

    Args:
      recorder: where to.
      description: of the series.
      payload: builds the float32 `[width]` tensor.
      tally: int64 `[tally]` of this call, or None.
      is_repeat: the same loss of the same tape was seen before.
    """
    with tf.name_scope("gradscope"):
        recorder.trace(description, step.user_step_now())
        slots = recorder.ring(description)
        ring.keep_with_graph(slots)
        condition = tf.summary.should_record_summaries() if recorder.honours_record_if else True
        call = recorder.counter(description.counted_as).count_in_graph(is_repeat)
        slots.record(payload, call, step.user_step(), condition, tally)
