"""A run in few words, from what is rare in it: its records, the bulk, are not read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tb_gradscope.format import meaning, messages
from tb_gradscope.view import schema
from tb_gradscope.view.cosines import Pair, pairs_of
from tb_gradscope.view.losses import none_rows
from tb_gradscope.view.provider import Source, Stamp
from tb_gradscope.view.series import read_series


def summarize(source: Source, run: str, tags: Mapping[str, Stamp]) -> schema.RunSummary:
    """Returns the summary of a run whose tags are these."""
    of_kind: dict[int, set[meaning.Key]] = {}
    pairs, variables = set[Pair](), set[str]()
    missing = set[tuple[meaning.Key, str]]()
    first, last = list[int](), list[int]()
    found = read_series(source, run, tags, [])
    records = {one.record_tag: one.stamp for one in found if one.record_tag}
    lasts = source.last_steps(run, records)
    for series in found:
        step = lasts.get(series.record_tag)
        if step is not None and series.counts(step, series.stamp[1]):
            last.append(step)
        rows = series.schema.variables
        first.append(series.first_step)
        last.append(series.first_step)
        key, kind = meaning.key(series.schema), series.schema.kind
        of_kind.setdefault(kind, set()).add(key)
        if kind != messages.Schema.CLIP:
            variables.update(series.names)
        if kind == messages.Schema.COSINE:
            pairs.update(pairs_of(series.schema, {}))
        for event in series.events if kind == messages.Schema.GRADIENT else ():
            none = [row for row in none_rows(event) if row < len(rows)]
            missing.update((key, rows[row].name) for row in none)

    def count(kind: int) -> int:
        return len(of_kind.get(kind, ()))

    return schema.RunSummary(
        name=run,
        losses=count(messages.Schema.GRADIENT),
        variables=len(variables),
        clips=count(messages.Schema.CLIP),
        optimizers=count(messages.Schema.OPTIMIZER),
        cosines=len(pairs),
        first_step=min(first, default=-1),
        last_step=max(last, default=-1),
        missing=len(missing),
        last_wall_time=max((t for _, t in tags.values() if math.isfinite(t)), default=0.0),
    )
