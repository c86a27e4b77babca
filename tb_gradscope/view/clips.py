"""Clip series as clip sites: what one recorded, and several of the same site as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tb_gradscope.format import meaning
from tb_gradscope.format.batch import decode_clips
from tb_gradscope.format.history import ClipHistory
from tb_gradscope.format.record import absent_norm
from tb_gradscope.view.counters import carried
from tb_gradscope.view.provider import Column
from tb_gradscope.view.series import Series, at_steps, describe_errors


def read_clips(series: Series, column: Column, problems: list[str]) -> ClipHistory:
    """Makes the arrays of one clip site.

    Args:
      series: the series, of kind CLIP.
      column: its records.
      problems: gets a sentence for each thing that cannot be read.
    """
    schema = series.schema
    decoded = decode_clips(column.values, len(schema.variables))
    wall_times = np.asarray(column.wall_times[decoded.kept])
    counts, _ = carried(decoded.counts, series.parts.sessions_of(wall_times))
    problems += describe_errors(
        series.title, "records", len(column.steps), at_steps(decoded.errors, column.steps)
    )
    return ClipHistory(
        name=schema.name,
        method=meaning.method(schema),
        after=schema.clip.after,
        where=meaning.place(schema),
        label=meaning.label(schema),
        variables=tuple(variable.name for variable in schema.variables),
        steps=column.steps[decoded.kept],
        wall_times=wall_times,
        norms=decoded.norms,
        calls=counts[:, 0],
        clipped=counts[:, 1],
        nonfinite=counts[:, 2],
        counts_every_call=schema.clip.counts_every_call,
        threshold=decoded.numbers[:, 0],
        norm_before=decoded.numbers[:, 1],
        norm_after=decoded.numbers[:, 2],
        scale=decoded.numbers[:, 3],
    )


def merge_clips(parts: Sequence[ClipHistory]) -> ClipHistory:
    """Makes one site of all series that have its name and label: those of other variables.

    A site that clips each gradient by itself records a series for each: at one
    step, their norms stand side by side, and the norm of all is that of the
    parts together. Where two have the same variable at the same step, the later
    part counts. The norms of variables that no part has at a step are absent.

    Args:
      parts: in the order first seen.
    """
    if len(parts) == 1:
        return parts[0]
    latest = max(parts, key=lambda part: float(part.wall_times.max(initial=-np.inf)))
    variables = tuple(dict.fromkeys(name for part in parts for name in part.variables))
    steps = np.unique(np.concatenate([part.steps for part in parts]))
    norms = np.full((len(steps), len(variables), 2), absent_norm(), np.float32)
    threshold = np.full(len(steps), np.nan, np.float32)
    idle = np.ones(len(steps), bool)
    squares = {name: np.zeros(len(steps)) for name in ("norm_before", "norm_after")}
    wall_times = np.zeros(len(steps))
    counts = {name: np.zeros(len(steps), np.int64) for name in ("calls", "clipped", "nonfinite")}
    for part in parts:
        rows = np.searchsorted(steps, part.steps)
        columns = np.array([variables.index(name) for name in part.variables], np.int64)
        norms[rows[:, None], columns] = part.norms
        threshold[rows] = part.threshold
        idle[rows] &= part.scale == 1
        for name, total in squares.items():
            total[rows] += getattr(part, name).astype(np.float64) ** 2
        wall_times[rows] = np.maximum(wall_times[rows], part.wall_times)
        known = np.searchsorted(part.steps, steps, side="right")
        for name, count in counts.items():
            count += np.concatenate([[0], getattr(part, name)])[known]
    before, after = np.sqrt(squares["norm_before"]), np.sqrt(squares["norm_after"])
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(idle, 1, after / before)
    return dataclasses.replace(
        latest,
        variables=variables,
        steps=steps,
        wall_times=wall_times,
        norms=norms,
        calls=counts["calls"],
        clipped=counts["clipped"],
        nonfinite=counts["nonfinite"],
        counts_every_call=all(part.counts_every_call for part in parts),
        threshold=threshold,
        norm_before=before.astype(np.float32),
        norm_after=after.astype(np.float32),
        scale=scale.astype(np.float32),
    )
