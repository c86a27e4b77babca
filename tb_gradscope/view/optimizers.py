"""Optimizer series as optimizers: what one recorded, and several of the same one as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.history import OptimizerHistory, Steps, Times
from tb_gradscope.format.optimizer import decode_optimizers
from tb_gradscope.format.packing import Counts, Floats
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view.counters import carried
from tb_gradscope.view.joined import Joined, columns_of
from tb_gradscope.view.provider import Column
from tb_gradscope.view.series import Series, at_steps, describe_errors


@dataclasses.dataclass(frozen=True)
class OptimizerSeries:
    """One optimizer series. Axes and attributes as in `OptimizerHistory`, over its own variables.

    But `calls` is as recorded: all series of an optimizer share one counter of
    calls. `sessions`: int64 `[record]`, the number of who wrote it.
    """

    series: Series
    steps: Steps
    wall_times: Times
    values: Floats
    update_norms: Floats
    calls: Counts
    applied: Counts
    skipped: Counts
    sessions: Counts
    loss_scales: Floats
    learning_rates: Floats


def read_optimizer(series: Series, column: Column, problems: list[str]) -> OptimizerSeries:
    """Makes the arrays of one series.

    Args:
      series: the series, of kind OPTIMIZER.
      column: its records.
      problems: gets a sentence for each thing that cannot be read.
    """
    decoded = decode_optimizers(column.values, len(series.schema.variables))
    gradients = decoded.gradients
    wall_times = column.wall_times[gradients.kept]
    stored = np.stack([gradients.calls, decoded.applied, decoded.skipped], axis=1)
    sessions = series.parts.sessions_of(wall_times)
    counts, _ = carried(stored, sessions)
    problems += describe_errors(
        series.title, "records", len(column.steps), at_steps(gradients.errors, column.steps)
    )
    return OptimizerSeries(
        series=series,
        steps=column.steps[gradients.kept],
        wall_times=wall_times,
        values=gradients.values,
        update_norms=decoded.update_norms,
        calls=gradients.calls,
        applied=counts[:, 1],
        skipped=counts[:, 2],
        sessions=sessions,
        loss_scales=decoded.loss_scales,
        learning_rates=decoded.learning_rates,
    )


def merge_optimizers(
    parts: Sequence[OptimizerSeries], positions: dict[str, int]
) -> OptimizerHistory:
    """Makes one optimizer of all series that have its name and label: those of other variables.

    Args:
      parts: the series, in the order first seen.
      positions: of each variable's name in `RunHistory.variables`.
    """
    latest = max(parts, key=lambda part: part.series.last_seen).series.schema
    variables, columns = columns_of([part.series.names for part in parts], positions)
    joined = Joined(parts, columns, len(variables))
    absent = np.full(STATISTIC_COUNT, np.nan, np.float32)
    absent[Statistic.STATE] = State.ABSENT
    present = [part.values[:, :, Statistic.STATE] != State.ABSENT for part in parts]
    calls, _ = carried(
        joined.largest([part.calls for part in parts])[:, None],
        joined.latest([part.sessions for part in parts]),
    )
    return OptimizerHistory(
        name=latest.name,
        class_name=latest.optimizer.class_name,
        where=meaning.place(latest),
        label=meaning.label(latest),
        accumulation=max(1, latest.optimizer.accumulation),
        has_loss_scale=latest.optimizer.has_loss_scale,
        variables=variables,
        steps=joined.steps,
        wall_times=joined.wall_times,
        values=joined.cells([part.values for part in parts], present, absent),
        update_norms=joined.cells([part.update_norms for part in parts], present, np.nan),
        calls=calls[:, 0],
        applied=joined.summed([part.applied for part in parts]),
        skipped=joined.summed([part.skipped for part in parts]),
        loss_scales=joined.latest([part.loss_scales for part in parts]),
        learning_rates=joined.latest([part.learning_rates for part in parts]),
        skipped_steps=np.array(skipped_steps([part.series for part in parts]), np.int64),
    )


def skipped_steps(found: Sequence[Series]) -> list[int]:
    """Returns the steps at which the optimizers among some series are known to have skipped."""
    return sorted(
        {
            event.step
            for series in found
            if series.schema.kind == messages.Schema.OPTIMIZER
            for event in series.events
            if event.message.kind == messages.Event.SKIPPED
        }
    )
