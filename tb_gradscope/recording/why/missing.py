"""What a recording says about gradients that are None, once for each call."""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages, tags
from tb_gradscope.recording import step
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape import place
from tb_gradscope.recording.tape.losses import Key
from tb_gradscope.recording.why import observing, watched
from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.explain import explain
from tb_gradscope.recording.why.terms import dead_terms
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
    of_series = _known.setdefault(recorder, {})
    is_first = description.series not in of_series
    known = of_series.setdefault(description.series, {})
    call = (description.series, caller.key)
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
            if not in_graph:
                had_gradient = frozenset() if is_first else frozenset(positions) - known.keys()
                causes = {
                    position: _final(cause, position in had_gradient, observing.gives_up(call))
                    for position, cause in causes.items()
                }
            new = {p: cause for p, cause in causes.items() if known.get(p) != cause}
            known.update(causes)
            if new:
                recorder.tell(description, step.user_step_now(), _event(new))
    if not in_graph:
        is_settled = all(cause.is_final for cause in known.values())
        observing.asked(log, call, is_settled)


_explained: weakref.WeakKeyDictionary[Recorder, set[str]] = weakref.WeakKeyDictionary()


def explain_terms(
    recorder: Recorder,
    description: Description,
    target: Any,
    found: list[Any],
    none: tuple[bool, ...],
    log: TapeLog,
    caller: place.Caller,
) -> None:
    """Writes which terms of a plain total have no gradient at all, once for each series.

    Args: as for `explain_missing`.
    """
    explained = _explained.setdefault(recorder, set())
    in_graph = not tf.executing_eagerly()
    if description.series in explained or not (in_graph or log.observer is not None):
        return
    explained.add(description.series)
    with contained("looking for terms without a gradient", recorder.on_error):
        total = description.schema.name
        for term in dead_terms(target, total, found, none, log, caller):
            positions = list(term.causes)
            names = [description.schema.variables[position].name for position in positions]
            key = Key(term.name, ("term of", total), 0)
            own_place = {} if term.where is None else {"where": term.where.message()}
            series = description.beside(
                description.kind,
                description.schema.label.stage,
                positions,
                name=recorder.losses.name(key, names, is_same=True),
                part_of=total,
                **own_place,
            )
            causes = dict(enumerate(term.causes.values()))
            of_term = dataclasses.replace(
                series, none=(True,) * len(causes), counted_as=description.counter
            )
            now = step.user_step_now()
            recorder.trace([of_term], now)
            recorder.tell(of_term, now, _event(causes))


def _final(cause: Cause, had_gradient: bool, gives_up: bool) -> Cause:
    """Returns a cause of eager code, or a better one from what came before.

    Args:
      cause: of this call.
      had_gradient: in all calls before this one.
      gives_up: no further step will be observed.
    """
    if had_gradient and (cause.kind, cause.detail) == ("unknown", "not_read"):
        # The program does use it under this tape, but not in this step.
        return Cause("unused", cause.where, detail="not_now")
    return dataclasses.replace(cause, is_final=True) if gives_up else cause


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
