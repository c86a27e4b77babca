"""When each gradient was first and last seen to be None, zero, NaN or infinite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import messages
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import Steps
from tb_gradscope.format.packing import Counts, Floats
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State, Statistic

NEVER = -1
_NOT_FINITE = (State.NAN, State.INF)


def seen(
    values: Floats, steps: Steps, events: Sequence[Event], skipped: Steps
) -> tuple[Steps, Steps]:
    """Returns the first and the last step of each variable in each of COUNTED.

    Args:
      values: float32 `[record, variable, statistic]`.
      steps: of the records.
      events: of the series.
      skipped: steps that do not count where the gradient was not finite.
    """
    shape = (values.shape[1], len(COUNTED))
    first, last = np.full(shape, NEVER, np.int64), np.full(shape, NEVER, np.int64)
    counts = ~np.isin(steps, skipped)
    for column, state in enumerate(COUNTED if len(steps) else ()):
        here: npt.NDArray[np.bool_] = values[:, :, Statistic.STATE] == state
        if state in _NOT_FINITE:
            here &= counts[:, None]
        ever = here.any(axis=0)
        if ever.any():
            first[ever, column] = steps[here.argmax(axis=0)][ever]
            last[ever, column] = steps[len(steps) - 1 - here[::-1].argmax(axis=0)][ever]
    left_out = set(skipped.tolist())
    for event, row, told in _changes(events):
        if told in COUNTED and not (told in _NOT_FINITE and event.step in left_out):
            at = row, COUNTED.index(State(told))
            first[at] = event.step if first[at] == NEVER else min(first[at], event.step)
            last[at] = max(last[at], event.step)
    return first, last


def overflows(values: Floats, steps: Steps, events: Sequence[Event], skipped: Steps) -> Counts:
    """Counts records `[variable, COUNTED]` that were not finite at the steps skipped.

    Of those that sampling dropped, it knows what the events tell.
    """
    counts = np.zeros((values.shape[1], len(COUNTED)), np.int64)
    if not len(skipped):
        return counts
    states = values[np.isin(steps, skipped), :, Statistic.STATE]
    for state in _NOT_FINITE:
        counts[:, COUNTED.index(state)] = (states == state).sum(axis=0)
    dropped = set(skipped.tolist()) - set(steps.tolist())
    for event, row, told in _changes(events):
        if told in _NOT_FINITE and event.step in dropped:
            counts[row, COUNTED.index(State(told))] += 1
    return counts


def earlier(one: Steps, other: Steps) -> Steps:
    """Returns the earlier of two steps each, of which either may be NEVER."""
    return np.where((one == NEVER) | ((other != NEVER) & (other < one)), other, one)


def _changes(events: Sequence[Event]) -> Iterator[tuple[Event, int, int]]:
    """Yields each row that an event tells the state of."""
    for event in events:
        if event.message.kind in (messages.Event.TRACED, messages.Event.CHANGED):
            for row, state in zip(event.message.variables, event.message.states, strict=True):
                yield event, row, state
