"""A run in few words, from what is rare in it: its records, the bulk, are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tb_gradscope.format import messages
from tb_gradscope.view import schema
from tb_gradscope.view.losses import none_rows
from tb_gradscope.view.provider import Source, Stamp
from tb_gradscope.view.series import read_series


def summarize(source: Source, run: str, tags: Mapping[str, Stamp]) -> schema.RunSummary:
    """Returns the summary of a run whose tags are these."""
    losses, clips, variables = set[str](), set[str](), set[str]()
    missing = set[tuple[str, str]]()
    first, last = list[int](), list[int]()
    found = read_series(source, run, tags, [])
    records = {one.record_tag: one.stamp for one in found if one.record_tag}
    lasts = source.last_steps(run, records)
    for series in found:
        step = lasts.get(series.record_tag)
        if step is not None and series.counts(step, series.stamp[1]):
            last.append(step)
        name, rows = series.schema.name, series.schema.variables
        first.append(series.first_step)
        last.append(series.first_step)
        if series.schema.kind == messages.Schema.CLIP:
            clips.add(name)
            continue
        losses.add(name)
        variables.update(variable.name for variable in rows)
        for event in series.events:
            none = [row for row in none_rows(event) if row < len(rows)]
            missing.update((name, rows[row].name) for row in none)
    return schema.RunSummary(
        name=run,
        losses=len(losses),
        variables=len(variables),
        clips=len(clips),
        first_step=min(first, default=-1),
        last_step=max(last, default=-1),
        missing=len(missing),
        last_wall_time=max((t for _, t in tags.values() if math.isfinite(t)), default=0.0),
    )
