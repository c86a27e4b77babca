"""What a recording says about gradients that are None, once for each call."""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages, tags
from tb_gradscope.recording import place, step
from tb_gradscope.recording.description import Description
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.recorder import Recorder
from tb_gradscope.recording.why import observing, watched
from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.explain import explain
from tb_gradscope.recording.why.windows import TapeLog

_Known = dict[str, dict[int, Cause]]
_known: weakref.WeakKeyDictionary[Recorder, _Known] = weakref.WeakKeyDictionary()


def explain_missing(
    recorder: Recorder,
    description: Description,
    target: Any,
    found: list[Any],
    none: tuple[bool, ...],
    log: TapeLog,
    caller: place.Caller,
) -> None:
    """Writes why gradients are None, where that is not known yet.

    Args:
      recorder: where to.
      description: of the series.
      target: the loss.
      found: the flat sources.
      none: which gradients are None.
      log: what the tape was told.
      caller: who asked it.
    """
    with contained("noting what nobody asks for", recorder.on_error):
        watched.note(recorder, description, found, log, caller)
    known = _known.setdefault(recorder, {}).setdefault(description.series, {})
    in_graph = not tf.executing_eagerly()
    positions = [
        position
        for position, is_none in enumerate(none)
        if is_none and (in_graph or position not in known or not known[position].is_final)
    ]
    if positions:
        with contained("finding out why gradients are None", recorder.on_error):
            names = [variable.name for variable in description.schema.variables]
            were_variables = frozenset(filter(recorder.names.was_variable, names))
            causes = explain(target, found, names, positions, log, caller, were_variables)
            new = {p: cause for p, cause in causes.items() if known.get(p) != cause}
            known.update(causes)
            if new:
                recorder.tell(description, step.user_step_now(), _event(new))
    if not in_graph:
        is_settled = all(cause.is_final for cause in known.values())
        observing.asked(log, (description.series, caller.key), is_settled)


def _event(causes: dict[int, Cause]) -> Any:
    groups: dict[Cause, list[int]] = {}
    for position, cause in causes.items():
        groups.setdefault(cause, []).append(position)
    return messages.Event(
        version=tags.FORMAT_VERSION,
        kind=messages.Event.CAUSE,
        causes=[_message(cause, positions) for cause, positions in groups.items()],
    )


def _message(cause: Cause, positions: list[int]) -> Any:
    return messages.Cause(
        variables=positions,
        kind=messages.Cause.Kind.Value(cause.kind.upper()),
        where=None if cause.where is None else cause.where.message(),
        op=cause.op,
        detail=cause.detail,
        other=None if cause.other is None else cause.other.message(),
    )
