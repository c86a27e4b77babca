"""Runs as arrays, out of what TensorBoard's data provider holds."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.history import (
    ClipHistory,
    Identity,
    LossHistory,
    RunHistory,
    Variable,
    identity,
)
from tb_gradscope.view import schema
from tb_gradscope.view.arranged import arranged
from tb_gradscope.view.cache import Cache
from tb_gradscope.view.clips import merge_clips, read_clips
from tb_gradscope.view.cosines import CosineSeries, merge_cosines, read_cosines
from tb_gradscope.view.losses import GradientSeries, merge, read_gradients
from tb_gradscope.view.optimizers import (
    OptimizerSeries,
    merge_optimizers,
    read_optimizer,
    skipped_steps,
)
from tb_gradscope.view.provider import (
    EMPTY,
    Column,
    Listing,
    Source,
    Stamp,
    in_background,
    new_cache,
    token,
)
from tb_gradscope.view.series import Series, read_series
from tb_gradscope.view.stored import first_line
from tb_gradscope.view.summary import summarize

_CACHE_BYTES = 768 << 20
_LISTING_SECONDS = 10.0

Decoded = GradientSeries | ClipHistory | OptimizerSeries | CosineSeries


class Histories:
    """The runs of one data provider, remembered until there is more of them."""

    def __init__(self, data_provider: Any) -> None:
        self._provider = data_provider
        self._columns = new_cache()
        self._decoded = Cache(_CACHE_BYTES)
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, str], threading.Lock] = {}
        self._listings = Cache(100)

    def source(self, ctx: Any = None, experiment: str = "") -> Source:
        """Returns what to read one experiment from."""
        return Source(self._provider, self._columns, ctx, experiment)

    def listing(self, source: Source, audience: Hashable = "", recent: bool = False) -> Listing:
        """Returns all runs and their tags.

        Asking takes 90 ms with the data server, too long for a slider.

        Args:
          source: where from.
          audience: who asks; what one may see another must not.
          recent: the last answer will do, unless it is old.
        """
        key = (source.experiment, audience)
        found = self._listings.get(key, "") if recent else None
        if found is None or time.monotonic() - found[0] > _LISTING_SECONDS:
            found = (time.monotonic(), source.listing())
            self._listings.put(key, "", found, 1)
        listing: Listing = found[1]
        return listing

    def summary(self, source: Source, run: str, tags: Mapping[str, Stamp]) -> schema.RunSummary:
        """Returns a run in few words."""
        key, stamp = ("summary", source.experiment, run), token(source.experiment, tags)
        found = self._decoded.get(key, stamp)
        if found is None:
            found = summarize(source, run, tags)
            self._decoded.put(key, stamp, found, 1000)
        summary: schema.RunSummary = found
        return summary

    def run(self, source: Source, run: str, tags: Mapping[str, Stamp]) -> RunHistory:
        """Returns all of a run. What cannot be read is named in its problems."""
        key, stamp = ("run", source.experiment, run), token(source.experiment, tags)
        with self._lock:
            busy = self._busy.setdefault((source.experiment, run), threading.Lock())
        with busy:
            found = self._decoded.get(key, stamp)
            if found is None:
                found, lasting = self._read(source, run, tags)
                if lasting:
                    self._decoded.put(key, stamp, found, _cost(found))
        history: RunHistory = found
        return history

    def _read(self, source: Source, run: str, tags: Mapping[str, Stamp]) -> tuple[RunHistory, bool]:
        """Returns the run, and whether it would be the same next time."""
        problems, lasting = list[str](), True
        found = read_series(source, run, tags, problems)
        known = {one.id: self._decoded.get(*self._key(source, run, one)) for one in found}
        waiting = {
            one.id: in_background(one.records, source, run)
            for one in found
            if known[one.id] is None
        }
        everything = list[Decoded]()
        for series in found:
            decoded, readable = known[series.id], True
            if decoded is None:
                try:
                    column = waiting[series.id].result()
                except Exception as error:  # what is rare of it can still be shown
                    column, readable = EMPTY, False
                    lasting &= isinstance(error, TypeError | ValueError)
                    problems.append(
                        f"{series.title}: its records could not be read: {first_line(error)}"
                    )
                decoded = _decode(series, column, readable)
                if readable:
                    cost = sum(array.nbytes for array in vars(decoded[0]).values() if _big(array))
                    self._decoded.put(*self._key(source, run, series), decoded, cost + 10_000)
            one, of_series = decoded
            problems += of_series
            everything.append(one)
        return _run(run, found, everything, problems), lasting

    def _key(self, source: Source, run: str, series: Series) -> tuple[Any, Any]:
        # The schema and the events are part of what is decoded, so of the stamp too.
        stamp = (series.stamp, series.last_seen, len(series.events), series.parts)
        return ("series", source.experiment, run, series.id), stamp


def _decode(series: Series, column: Column, readable: bool) -> tuple[Decoded, tuple[str, ...]]:
    problems: list[str] = []
    one: Decoded
    if series.schema.kind == messages.Schema.CLIP:
        one = read_clips(series, column, problems)
    elif series.schema.kind == messages.Schema.OPTIMIZER:
        one = read_optimizer(series, column, problems)
    elif series.schema.kind == messages.Schema.COSINE:
        one = read_cosines(series, column, problems)
    else:
        one = read_gradients(series, column, readable)
        problems += one.problems
    return one, tuple(problems)


def _run(name: str, found: list[Series], of: list[Decoded], problems: list[str]) -> RunHistory:
    """Puts together what belongs together."""
    variables: dict[str, Variable] = {}
    losses: dict[meaning.Key, list[GradientSeries]] = {}
    clips: dict[meaning.Key, list[ClipHistory]] = {}
    optimizers: dict[meaning.Key, list[OptimizerSeries]] = {}
    cosines: list[CosineSeries] = []
    for series, one in zip(found, of, strict=True):
        key = meaning.key(series.schema)
        if isinstance(one, ClipHistory):
            clips.setdefault(key, []).append(one)
            continue
        if isinstance(one, GradientSeries):
            losses.setdefault(key, []).append(one)
        elif isinstance(one, OptimizerSeries):
            optimizers.setdefault(key, []).append(one)
        else:
            cosines.append(one)
        for stored in series.schema.variables:
            variables[stored.name] = meaning.variable(stored)
    positions = {name: i for i, name in enumerate(variables)}
    skipped = skipped_steps(found)
    ordered = arranged(_run_at_last([merge(each, positions, skipped) for each in losses.values()]))
    order = {loss.name: i for i, loss in reversed(list(enumerate(ordered)))}
    return RunHistory(
        name=name,
        variables=tuple(variables.values()),
        losses=ordered,
        clips=tuple(merge_clips(parts) for parts in clips.values()),
        optimizers=tuple(merge_optimizers(parts, positions) for parts in optimizers.values()),
        cosines=merge_cosines(cosines, positions, order),
        problems=tuple(dict.fromkeys(problems)),
    )


def _run_at_last(losses: list[LossHistory]) -> list[LossHistory]:
    """Leaves out what was traced once and never run, for it was traced anew as micro-batches.

    Keras does so where the first step makes what accumulates gradients.
    """

    def key(loss: LossHistory) -> tuple[str, Identity]:
        return loss.name, identity(dataclasses.replace(loss.label, batch=""))

    have_run = {key(loss) for loss in losses if not loss.traced_only}
    return [loss for loss in losses if not (loss.traced_only and key(loss) in have_run)]


def _cost(run: RunHistory) -> int:
    sizes = [
        *(loss.values.nbytes for loss in run.losses),
        *(clip.norms.nbytes for clip in run.clips),
        *(one.values.nbytes + one.update_norms.nbytes for one in run.optimizers),
        *(pair.cosines.nbytes for pair in run.cosines),
    ]
    return sum(sizes) + 10_000


def _big(attribute: Any) -> bool:
    return isinstance(attribute, np.ndarray)
