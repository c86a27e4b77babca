"""Runs as arrays, out of what TensorBoard's data provider holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from tb_gradscope.format import messages
from tb_gradscope.format.history import ClipHistory, RunHistory, Variable
from tb_gradscope.view import meaning, schema
from tb_gradscope.view.cache import Cache
from tb_gradscope.view.clips import merge_clips, read_clips
from tb_gradscope.view.losses import GradientSeries, merge, read_gradients
from tb_gradscope.view.provider import EMPTY, Listing, Source, Stamp, new_cache, token
from tb_gradscope.view.series import Series, first_line, read_series
from tb_gradscope.view.summary import summarize

_CACHE_BYTES = 768 << 20


class Histories:
    """The runs of one data provider, remembered until there is more of them."""

    def __init__(self, data_provider: Any) -> None:
        self._provider = data_provider
        self._columns = new_cache()
        self._decoded = Cache(_CACHE_BYTES)
        self._lock = threading.Lock()
        self._busy: dict[tuple[str, str], threading.Lock] = {}

    def source(self, ctx: Any = None, experiment: str = "") -> Source:
        """Returns what to read one experiment from."""
        return Source(self._provider, self._columns, ctx, experiment)

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
                found = self._read(source, run, tags)
                cost = sum(loss.values.nbytes for loss in found.losses)
                cost += sum(clip.norms.nbytes for clip in found.clips)
                self._decoded.put(key, stamp, found, cost + 10_000)
        history: RunHistory = found
        return history

    def _read(self, source: Source, run: str, tags: Mapping[str, Stamp]) -> RunHistory:
        problems: list[str] = []
        variables: dict[str, Variable] = {}
        losses: dict[str, list[GradientSeries]] = {}
        clips: dict[str, list[ClipHistory]] = {}
        for series in read_series(source, run, tags, problems):
            try:
                if series.schema.kind == messages.Schema.CLIP:
                    clips.setdefault(series.schema.name, []).append(
                        self._clips(source, run, series, problems)
                    )
                else:
                    one = self._gradients(source, run, series, problems)
                    losses.setdefault(series.schema.name, []).append(one)
                    for stored in series.schema.variables:
                        variables[stored.name] = meaning.variable(stored)
            except Exception as error:  # one broken series must not hide the others
                problems.append(f"{series.title} could not be read: {first_line(error)}")
        positions = {name: i for i, name in enumerate(variables)}
        return RunHistory(
            name=run,
            variables=tuple(variables.values()),
            losses=tuple(merge(parts, positions) for parts in losses.values()),
            clips=tuple(merge_clips(parts) for parts in clips.values()),
            problems=tuple(dict.fromkeys(problems)),
        )

    def _gradients(
        self, source: Source, run: str, series: Series, problems: list[str]
    ) -> GradientSeries:
        # The schema and events enter as well, so their state is part of the stamp.
        key = ("gradients", source.experiment, run, series.id)
        stamp = (series.stamp, series.last_seen, len(series.events))
        found = self._decoded.get(key, stamp)
        if found is None:
            try:
                column, readable = series.records(source, run), True
            except Exception as error:  # what is rare of it can still be shown
                problems.append(
                    f"{series.title}: its records could not be read: {first_line(error)}"
                )
                column, readable = EMPTY, False
            found = read_gradients(series, column, readable)
            if readable:
                self._decoded.put(key, stamp, found, found.values.nbytes + 10_000)
        problems += found.problems
        gradients: GradientSeries = found
        return gradients

    def _clips(self, source: Source, run: str, series: Series, problems: list[str]) -> ClipHistory:
        try:
            column = series.records(source, run)
        except Exception as error:  # the site itself can still be shown
            problems.append(f"{series.title}: its records could not be read: {first_line(error)}")
            column = EMPTY
        return read_clips(series, column, problems)


def read_all(histories: Histories, source: Source, listing: Listing) -> dict[str, RunHistory]:
    """Reads every run, by name."""
    return {run: histories.run(source, run, tags) for run, tags in listing.items()}
