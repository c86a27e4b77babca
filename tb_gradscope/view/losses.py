"""Gradient series as losses: what one recorded, and several of the same loss as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tb_gradscope.format import messages
from tb_gradscope.format.batch import decode_gradients
from tb_gradscope.format.history import LossHistory, Steps, Times
from tb_gradscope.format.packing import Counts, Floats
from tb_gradscope.format.record import COUNTED, decode_gradient
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view import meaning
from tb_gradscope.view.counters import carried
from tb_gradscope.view.provider import Column
from tb_gradscope.view.seen import NEVER, earlier, seen
from tb_gradscope.view.series import Event, Series, at_steps, describe_errors


@dataclasses.dataclass(frozen=True)
class GradientSeries:
    """One gradient series. Axes and attributes as in `LossHistory`, over its own variables.

    But `calls` is as recorded: all series of a loss share one counter of calls.
    `sessions`: int64 `[record]`, the number of who wrote it.
    """

    series: Series
    steps: Steps
    wall_times: Times
    values: Floats
    calls: Counts
    sessions: Counts
    records: int
    state_counts: Counts
    first_seen: Steps
    last_seen: Steps
    traced_only: bool
    problems: tuple[str, ...]


def read_gradients(series: Series, column: Column, readable: bool = True) -> GradientSeries:
    """Makes the arrays of one series.

    Args:
      series: the series, of kind GRADIENT.
      column: its records.
      readable: False where there are records that could not be read.
    """
    rows = len(series.schema.variables)
    decoded = decode_gradients(column.values, rows)
    steps, wall_times = column.steps[decoded.kept], column.wall_times[decoded.kept]
    sessions = series.parts.sessions_of(wall_times)
    counts, ends = carried(decoded.records[:, None], sessions)
    states = np.zeros((rows, len(COUNTED)), np.int64)
    for end in ends:
        states += decode_gradient(column.values[decoded.kept[end]]).state_counts
    problems = list(
        describe_errors(
            series.title, "records", len(column.steps), at_steps(decoded.errors, column.steps)
        )
    )
    if not column.complete:
        problems.append(
            f"{series.title}: its records are too large to be read at once, so only "
            f"{len(column.steps)} of them are shown; lower --gradscope_samples."
        )
    events, values, calls = _checked_events(series, rows, problems), decoded.values, decoded.calls
    traced = [event for event in events if event.message.kind == messages.Event.TRACED]
    traced_only = bool(readable and traced and not len(column.steps))
    if traced_only:
        steps, wall_times = np.array([traced[-1].step]), np.array([series.last_seen])
        values, calls = _traced_values(traced[-1], rows), np.zeros(1, np.int64)
        sessions = series.parts.sessions_of(wall_times)
    first_seen, last_seen = seen(values, steps, events)
    return GradientSeries(
        series=series,
        steps=steps,
        wall_times=wall_times,
        values=values,
        calls=calls,
        sessions=sessions,
        records=int(counts[-1, 0]) if len(counts) else 0,
        state_counts=states,
        first_seen=first_seen,
        last_seen=last_seen,
        traced_only=traced_only,
        problems=tuple(problems),
    )


def merge(parts: Sequence[GradientSeries], positions: dict[str, int]) -> LossHistory:
    """Makes one loss of all series that have its name.

    Where two have a record of the same step, each gives the variables it has;
    of those in both, the later written counts.

    Args:
      parts: the series, in the order first seen.
      positions: of each variable's name in `RunHistory.variables`.
    """
    names = [[variable.name for variable in part.series.schema.variables] for part in parts]
    variables = list(dict.fromkeys(positions[name] for part in names for name in part))
    column_of = {position: column for column, position in enumerate(variables)}
    columns = [np.array([column_of[positions[n]] for n in part], np.int64) for part in names]
    shape = (len(variables),)
    asked, states = np.zeros(shape, np.int64), np.zeros((*shape, len(COUNTED)), np.int64)
    first_seen, last_seen = np.full_like(states, NEVER), np.full_like(states, NEVER)
    for part, into in zip(parts, columns, strict=True):
        asked[into] += part.records
        states[into] += part.state_counts
        first_seen[into] = earlier(first_seen[into], part.first_seen)
        last_seen[into] = np.maximum(last_seen[into], part.last_seen)
    steps, wall_times, values, calls, sessions = _joined(parts, columns, len(variables))
    latest = max(parts, key=lambda part: part.series.last_seen)
    return LossHistory(
        name=latest.series.schema.name,
        where=meaning.place(latest.series.schema),
        label=meaning.label(latest.series.schema),
        variables=np.array(variables, np.int64),
        steps=steps,
        wall_times=wall_times,
        values=values,
        calls=_carried_calls(calls, sessions),
        records=_records(parts),
        state_counts=states,
        asked=asked,
        first_seen=first_seen,
        last_seen=last_seen,
        traced_only=all(part.traced_only for part in parts),
    )


def none_rows(event: Event) -> list[int]:
    """Returns the rows that an event says are None."""
    message = event.message
    pairs = zip(message.variables, message.states, strict=True)
    return [row for row, state in pairs if state == messages.Event.NONE]


def _joined(
    parts: Sequence[GradientSeries], columns: Sequence[Counts], variables: int
) -> tuple[Steps, Times, Floats, Counts, Counts]:
    if len(parts) == 1 and np.array_equal(columns[0], np.arange(variables)):
        part = parts[0]
        return part.steps, part.wall_times, part.values, part.calls, part.sessions
    steps: Steps = np.unique(np.concatenate([part.steps for part in parts]))
    wall_times = np.zeros(len(steps))
    calls, sessions = np.zeros(len(steps), np.int64), np.zeros(len(steps), np.int64)
    values = np.full((len(steps), variables, STATISTIC_COUNT), np.nan, np.float32)
    values[:, :, Statistic.STATE] = State.ABSENT
    written = np.full((len(steps), variables), -np.inf)
    for part, into in zip(parts, columns, strict=True):
        rows = np.searchsorted(steps, part.steps)
        sessions[rows] = np.where(
            part.wall_times >= wall_times[rows], part.sessions, sessions[rows]
        )
        wall_times[rows] = np.maximum(wall_times[rows], part.wall_times)
        here = np.ix_(rows, into)
        present = part.values[:, :, Statistic.STATE] != State.ABSENT
        newer = present & (part.wall_times[:, None] >= written[here])
        values[here] = np.where(newer[:, :, None], part.values, values[here])
        written[here] = np.where(newer, part.wall_times[:, None], written[here])
        calls[rows] = np.maximum(calls[rows], part.calls)
    return steps, wall_times, values, calls, sessions


def _carried_calls(calls: Counts, sessions: Counts) -> Counts:
    counted = np.flatnonzero(calls)  # what was only traced is no call
    result = np.zeros_like(calls)
    result[counted] = carried(calls[counted, None], sessions[counted])[0][:, 0]
    return np.maximum.accumulate(result) if len(result) else result


def _records(parts: Sequence[GradientSeries]) -> int:
    # Records of several series may share a step; how many do is known only of those at hand.
    parts = [part for part in parts if part.records]
    made = sum(part.records for part in parts)
    if len(parts) < 2:
        return made
    kept = np.concatenate([part.steps for part in parts])
    together = len(np.unique(kept))
    return max(together, round(made * together / max(len(kept), 1)))


def _checked_events(series: Series, rows: int, problems: list[str]) -> list[Event]:
    good, lost = [], 0
    for event in series.events:
        if event.message.kind == messages.Event.LOST:
            lost += event.message.count
        elif all(row < rows for row in event.message.variables):
            good.append(event)
        else:
            problems.append(
                f"{series.title}: an event at step {event.step} names row "
                f"{max(event.message.variables)} of {rows}; the event file is damaged."
            )
    if lost:
        problems.append(
            f"{series.title}: {lost} records were overwritten before they could be written; "
            "record less often, or let the training return to Python more often."
        )
    return good


def _traced_values(event: Event, rows: int) -> Floats:
    values = np.full((1, rows, STATISTIC_COUNT), np.nan, np.float32)
    values[0, :, Statistic.STATE] = State.ABSENT
    values[0, none_rows(event), Statistic.STATE] = State.NONE
    return values
