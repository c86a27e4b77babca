"""Clip series as clip sites: what one recorded, and several of the same site as one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tb_gradscope.format import messages
from tb_gradscope.format.batch import decode_clips
from tb_gradscope.format.history import ClipHistory
from tb_gradscope.format.packing import Counts
from tb_gradscope.view import meaning
from tb_gradscope.view.provider import Column
from tb_gradscope.view.series import Series, at_steps, carried, describe_errors


def read_clips(series: Series, column: Column, problems: list[str]) -> ClipHistory:
    """Makes the arrays of one clip site.

    Args:
      series: the series, of kind CLIP.
      column: its records.
      problems: gets a sentence for each thing that cannot be read.
    """
    schema = series.schema
    decoded = decode_clips(column.values, len(schema.variables))
    counts, _ = carried(decoded.counts)
    problems += describe_errors(
        series.title, "records", len(column.steps), at_steps(decoded.errors, column.steps)
    )
    lost = sum(
        event.message.count for event in series.events if event.message.kind == messages.Event.LOST
    )
    if lost:
        problems.append(
            f"{series.title}: {lost} records were overwritten before they could be written."
        )
    return ClipHistory(
        name=schema.name,
        method=meaning.method(schema),
        after=schema.clip.after,
        where=meaning.place(schema),
        label=meaning.label(schema),
        variables=tuple(variable.name for variable in schema.variables),
        steps=column.steps[decoded.kept],
        wall_times=np.asarray(column.wall_times[decoded.kept]),
        norms=decoded.norms,
        calls=counts[:, 0],
        clipped=counts[:, 1],
        nonfinite=counts[:, 2],
        threshold=decoded.numbers[:, 0],
        norm_before=decoded.numbers[:, 1],
        norm_after=decoded.numbers[:, 2],
        scale=decoded.numbers[:, 3],
    )


def merge_clips(parts: Sequence[ClipHistory]) -> ClipHistory:
    """Makes one site of all series that have its name: those of other variables.

    Where two have a record of the same step, the later written one counts. The
    norms of variables that a record lacks are NaN.

    Args:
      parts: in the order first seen.
    """
    if len(parts) == 1:
        return parts[0]
    latest = max(parts, key=lambda part: float(part.wall_times.max(initial=-np.inf)))
    variables = tuple(dict.fromkeys(name for part in parts for name in part.variables))
    of_part = np.concatenate([np.full(len(part.steps), i) for i, part in enumerate(parts)])
    of_row = np.concatenate([np.arange(len(part.steps)) for part in parts])
    steps = np.concatenate([part.steps for part in parts])
    order = np.lexsort((np.concatenate([part.wall_times for part in parts]), steps))
    order = order[np.append(steps[order][1:] != steps[order][:-1], True)[: len(order)]]
    of_part, of_row, steps = of_part[order], of_row[order], steps[order]
    norms = np.full((len(steps), len(variables), 2), np.nan, np.float32)
    for i, part in enumerate(parts):
        columns = [variables.index(name) for name in part.variables]
        norms[np.ix_(of_part == i, columns)] = part.norms[of_row[of_part == i]]

    def pick(name: str) -> Any:
        found = np.concatenate([getattr(part, name) for part in parts])
        starts = np.cumsum([0, *(len(part.steps) for part in parts)])
        return found[starts[of_part] + of_row]

    def total(name: str) -> Counts:
        counts = np.zeros(len(steps), np.int64)
        for part in parts:
            known = np.searchsorted(part.steps, steps, side="right")
            counts += np.concatenate([[0], getattr(part, name)])[known]
        return counts

    return dataclasses.replace(
        latest,
        variables=variables,
        steps=steps,
        wall_times=pick("wall_times"),
        norms=norms,
        calls=total("calls"),
        clipped=total("clipped"),
        nonfinite=total("nonfinite"),
        threshold=pick("threshold"),
        norm_before=pick("norm_before"),
        norm_after=pick("norm_after"),
        scale=pick("scale"),
    )
