"""Gradient series as losses: what one recorded, and several of the same loss as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.batch import decode_gradients
from tb_gradscope.format.causes import causes
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import LossHistory, Steps, Times, Variable
from tb_gradscope.format.packing import Counts, Floats
from tb_gradscope.format.record import COUNTED, decode_gradient
from tb_gradscope.format.statistics import STATISTIC_COUNT, Reason, State, Statistic
from tb_gradscope.view.counters import carried
from tb_gradscope.view.joined import Joined, columns_of
from tb_gradscope.view.provider import Column
from tb_gradscope.view.seen import NEVER, earlier, overflows, seen
from tb_gradscope.view.series import Series, at_steps, check_rows, describe_errors


@dataclasses.dataclass(frozen=True)
class GradientSeries:
    """One gradient series. Axes and attributes as in `LossHistory`, over its own variables.

    But `calls` is as recorded: all series of a loss share one counter of calls.
    `sessions`: int64 `[record]`, the number of who wrote it. `events`:
    those that can be understood.
    """

    series: Series
    events: tuple[Event, ...]
    steps: Steps
    wall_times: Times
    values: Floats
    calls: Counts
    nonfinite: Counts
    reasons: Counts
    loss_scales: Floats
    loss_values: Floats
    sessions: Counts
    records: int
    state_counts: Counts
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
    counts, ends = carried(np.stack([decoded.records, decoded.nonfinite], axis=1), sessions)
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
    events, values, calls = check_rows(series, problems), decoded.values, decoded.calls
    nonfinite, reasons, scales = counts[:, 1], decoded.reasons, decoded.loss_scales
    loss_values = decoded.losses
    traced = [event for event in events if event.message.kind == messages.Event.TRACED]
    traced_only = bool(readable and traced and not len(column.steps))
    if traced_only:
        steps, wall_times = np.array([traced[-1].step]), np.array([series.last_seen])
        values, calls = _traced_values(traced[-1], rows), np.zeros(1, np.int64)
        nonfinite, reasons = np.zeros(1, np.int64), np.full(1, Reason.CADENCE, np.int64)
        scales, loss_values = np.ones(1, np.float32), np.full(1, np.nan, np.float32)
        sessions = series.parts.sessions_of(wall_times)
    return GradientSeries(
        series=series,
        events=tuple(events),
        steps=steps,
        wall_times=wall_times,
        values=values,
        calls=calls,
        nonfinite=nonfinite,
        reasons=reasons,
        loss_scales=scales,
        loss_values=loss_values,
        sessions=sessions,
        records=int(counts[-1, 0]) if len(counts) else 0,
        state_counts=states,
        traced_only=traced_only,
        problems=tuple(problems),
    )


def merge(
    parts: Sequence[GradientSeries], positions: dict[str, int], skipped: Collection[int] = ()
) -> LossHistory:
    """Makes one loss of all series that have its name and label.

    Where two have a record of the same step, each gives the variables it has;
    of those in both, the later written counts.

    Args:
      parts: the series, in the order first seen.
      positions: of each variable's name in `RunHistory.variables`.
      skipped: steps whose update was left out because the loss scale had overflowed.
    """
    latest = max(parts, key=lambda part: part.series.last_seen).series.schema
    label = meaning.label(latest)
    skipped_steps = np.zeros(0, np.int64)
    if label.stage == "unscaled":
        told = np.array(list(skipped), np.int64)
        skipped_steps = np.unique(np.concatenate([told, *map(_lowered_the_scale, parts)]))
    variables, columns = columns_of([part.series.names for part in parts], positions)
    shape = (len(variables),)
    asked, states = np.zeros(shape, np.int64), np.zeros((*shape, len(COUNTED)), np.int64)
    first_seen, last_seen = np.full_like(states, NEVER), np.full_like(states, NEVER)
    overflowed = np.zeros(shape, np.int64)
    for part, into in zip(parts, columns, strict=True):
        over = overflows(part.values, part.steps, part.events, skipped_steps)
        first, last = seen(part.values, part.steps, part.events, skipped_steps)
        asked[into] += part.records
        states[into] += np.maximum(part.state_counts - over, first != NEVER)
        overflowed[into] += over.sum(axis=1)
        first_seen[into] = earlier(first_seen[into], first)
        last_seen[into] = np.maximum(last_seen[into], last)
    joined = Joined(parts, columns, len(variables))
    calls = _carried_calls(
        joined.largest([part.calls for part in parts]),
        joined.latest([part.sessions for part in parts]),
    )
    absent = np.full(STATISTIC_COUNT, np.nan, np.float32)
    absent[Statistic.STATE] = State.ABSENT
    present = [part.values[:, :, Statistic.STATE] != State.ABSENT for part in parts]
    return LossHistory(
        name=latest.name,
        where=meaning.place(latest),
        label=label,
        variables=variables,
        steps=joined.steps,
        wall_times=joined.wall_times,
        values=joined.cells([part.values for part in parts], present, absent),
        calls=calls,
        records=_records(parts),
        state_counts=states,
        asked=asked,
        first_seen=first_seen,
        last_seen=last_seen,
        skipped_steps=skipped_steps,
        overflowed=overflowed,
        traced_only=all(part.traced_only for part in parts),
        part_of=latest.part_of,
        watched=all(part.series.watched for part in parts),
        nonfinite=joined.summed([part.nonfinite for part in parts]),
        reasons=joined.largest([part.reasons for part in parts]),
        loss_scales=joined.latest([part.loss_scales for part in parts]),
        loss_values=joined.latest([part.loss_values for part in parts]),
        spikes=_spikes(parts, positions),
        causes=causes(((part.events, part.series.names) for part in parts), positions),
        unrequested=_unrequested(parts, positions),
        computed=meaning.place(latest, "computed"),
    )


def _lowered_the_scale(part: GradientSeries) -> Steps:
    """Returns the steps with NaN or Inf after which the loss scale was lower.

    Their optimizer has left them out, whatever it calls them: it counts its own steps.
    """
    broken: npt.NDArray[np.bool_] = np.any(
        np.isin(part.values[:, :, Statistic.STATE], (State.NAN, State.INF)), axis=1
    )
    lower = part.loss_scales[1:] < part.loss_scales[:-1]
    steps: Steps = part.steps[:-1][broken[:-1] & lower]
    return steps


def _unrequested(parts: Sequence[GradientSeries], asked: Collection[str]) -> tuple[Variable, ...]:
    """Returns the variables that a tape watched, and that no gradient of the run is of."""
    found = {
        stored.name: meaning.variable(stored)
        for part in parts
        for event in part.events
        for stored in event.message.watched
        if stored.name not in asked
    }
    return tuple(found.values())


def none_rows(event: Event) -> list[int]:
    """Returns the rows that an event says are None."""
    message = event.message
    pairs = zip(message.variables, message.states, strict=False)
    return [row for row, state in pairs if state == messages.Event.NONE]


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


def _spikes(parts: Sequence[GradientSeries], positions: dict[str, int]) -> Counts:
    """Returns `[spike, 2]`, steps and positions in the run's variables, sorted."""
    found = {
        (event.step, positions[part.series.names[row]])
        for part in parts
        for event in part.events
        if event.message.kind == messages.Event.SPIKE
        for row in event.message.variables
    }
    return np.array(sorted(found), np.int64).reshape(-1, 2)


def _traced_values(event: Event, rows: int) -> Floats:
    values = np.full((1, rows, STATISTIC_COUNT), np.nan, np.float32)
    values[0, :, Statistic.STATE] = State.ABSENT
    values[0, none_rows(event), Statistic.STATE] = State.NONE
    return values
