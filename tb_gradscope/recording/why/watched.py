"""Variables that a tape watched and that no `gradient()` of the program asks for.

What one call does not ask for, another one may (a GAN has two): so it is told when a
second step begins or the recording ends.
"""

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
from tb_gradscope.recording.tape import names, place, sources
from tb_gradscope.recording.why import internals
from tb_gradscope.recording.why.windows import TapeLog

_MOST = 200


@dataclasses.dataclass(frozen=True)
class _Watched:
    variable: Any
    description: Description


class _Known:
    """What one recording knows.

    Attributes:
      series: of the calls seen.
      asked: handles that were asked for, by id.
      watched: the others, by id of the handle.
    """

    def __init__(self) -> None:
        self.series: set[str] = set()
        self.asked: dict[int, weakref.ref[Any]] = {}
        self.watched: dict[int, _Watched] = {}


_of: weakref.WeakKeyDictionary[Recorder, _Known] = weakref.WeakKeyDictionary()


def note(
    recorder: Recorder,
    description: Description,
    found: list[Any],
    log: TapeLog,
    caller: place.Caller,
) -> None:
    """Takes note of a call of `gradient`, the first time that it is made.

    Args:
      recorder: where to tell.
      description: of its series.
      found: the flat sources.
      log: of the tape.
      caller: who asked.
    """
    known = _of.setdefault(recorder, _Known())
    if description.series in known.series:
        if known.watched and tf.executing_eagerly():
            tell(recorder)
        return
    known.series.add(description.series)
    for source in found:
        handle = sources.handle_of(source)
        if handle is not None:
            known.asked[id(handle)] = weakref.ref(handle)
    others = [v for v in log.watched_variables() if not _is_asked(known, v.handle)]
    if not others or len(known.watched) + len(others) > _MOST:
        return
    owners = internals.keras_variables(others)
    for variable in others:
        owner = owners.get(id(variable), variable)
        if not getattr(owner, "trainable", True):  # a frozen layer
            continue
        name = sources.own_name(owner) or names.candidate(owner, caller.frame) or "variable"
        described = sources.describe(owner, name[: names.LONGEST])
        known.watched[id(variable.handle)] = _Watched(described, description)


def tell(recorder: Recorder, *, of_empty_lists: bool = False) -> None:
    """Writes which variables were watched, and not asked for until now.

    Args:
      recorder: where to.
      of_empty_lists: only those of calls that asked for no variable at all.
    """
    known = _of.get(recorder)
    if known is None:
        return
    watched, known.watched = known.watched, {}
    if of_empty_lists:
        watched = {key: one for key, one in watched.items() if not one.description.schema.variables}
    groups: dict[str, list[_Watched]] = {}
    for key, one in watched.items():
        if key not in known.asked:
            groups.setdefault(one.description.series, []).append(one)
    for group in groups.values():
        event = messages.Event(
            version=tags.FORMAT_VERSION,
            kind=messages.Event.UNREQUESTED,
            watched=[one.variable for one in group],
        )
        recorder.tell(group[0].description, step.user_step_now(), event)


def end(recorder: Recorder, error: BaseException | None) -> None:
    """Tells at the end of a recording; not what an error may have kept a step from asking."""
    with contained("telling what nobody asks for", recorder.on_error):
        tell(recorder, of_empty_lists=error is not None)


def _is_asked(known: _Known, handle: Any) -> bool:
    reference = known.asked.get(id(handle))
    return reference is not None and reference() is handle
