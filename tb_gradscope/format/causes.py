"""Why gradients are None, out of the events of a loss's series."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import Cause

_KINDS = {number: name.lower() for name, number in messages.Cause.Kind.items()}


def causes(
    parts: Iterable[tuple[Iterable[Event], Sequence[str]]], positions: dict[str, int]
) -> tuple[Cause, ...]:
    """Returns the causes found, each variable in one of them: what was said last counts.

    Args:
      parts: of each series its events and the names of its variables.
      positions: of each variable's name in `RunHistory.variables`.
    """
    found: dict[int, bytes] = {}
    first: dict[int, int] = {}
    for events, names in parts:
        for event in sorted(events, key=lambda event: event.step):
            for stored in event.message.causes:
                for row in stored.variables:
                    if row >= len(names):  # of another writer, or damaged
                        continue
                    position = positions[names[row]]
                    found[position] = _shared(stored)
                    first.setdefault(position, event.step)
    groups: dict[bytes, list[int]] = {}
    for position, shared in found.items():
        groups.setdefault(shared, []).append(position)
    return tuple(
        _cause(messages.Cause.FromString(shared), sorted(group), min(first[p] for p in group))
        for shared, group in groups.items()
    )


def _shared(stored: Any) -> bytes:
    """Returns all of a cause that its variables share."""
    shared = messages.Cause()
    shared.CopyFrom(stored)
    del shared.variables[:]
    return bytes(shared.SerializeToString(deterministic=True))


def _cause(stored: Any, variables: list[int], first_step: int) -> Cause:
    return Cause(
        kind=_KINDS.get(stored.kind, "unknown"),
        variables=tuple(variables),
        where=meaning.place(stored),
        op=stored.op,
        detail=stored.detail,
        other=meaning.place(stored, "other"),
        first_step=first_step,
    )
