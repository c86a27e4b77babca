"""Reading series through TensorBoard's data provider, whichever ingester is behind it.

The data server and the Python ingester differ: where a training is started
again at an earlier step, the first drops what lies behind that step, the second
keeps both. `_tame` makes both the same. Neither can be asked for a range of
steps, so whole series are read, one in each call (a gRPC answer may have
256 MiB), and remembered until TensorBoard has more of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from tensorboard import context, errors
from tensorboard.data import provider

from tb_gradscope.format.tags import EVENTS_PLUGIN_NAME, PLUGIN_NAME, split_tag
from tb_gradscope.view.cache import Cache

Stamp = tuple[int, float]
"""Largest step and wall time of a series: changes whenever the series does."""

Listing = Mapping[str, Mapping[str, Stamp]]
"""By run and tag."""

_POOL = ThreadPoolExecutor(4, thread_name_prefix=PLUGIN_NAME)
_ALL = 10**9  # `downsample` must be given, and 0 means nothing at all
_CACHE_BYTES = 256 << 20


@dataclasses.dataclass(frozen=True)
class Column:
    """What is stored under one tag.

    Attributes:
      steps: int64, strictly increasing.
      wall_times: float64.
      values: an array for each step.
      complete: False where the series was too large to be read as a whole.
    """

    steps: npt.NDArray[np.int64]
    wall_times: npt.NDArray[np.float64]
    values: tuple[npt.NDArray[Any], ...]
    complete: bool = True


EMPTY = Column(np.zeros(0, np.int64), np.zeros(0, np.float64), ())


class Source:
    """One experiment of a data provider, as one request may see it."""

    def __init__(
        self, data_provider: Any, cache: Cache, ctx: Any = None, experiment: str = ""
    ) -> None:
        """Makes a source; `cache` may be shared by all of one provider's sources."""
        self._provider = data_provider
        self._cache = cache
        self._ctx = context.RequestContext() if ctx is None else ctx
        self.experiment = experiment

    def listing(self) -> Listing:
        """Returns all of our tags. The one call that a reload costs at least.

        Runs are in natural order: p2 before p10.
        """
        found: dict[str, dict[str, Stamp]] = {}
        listed = [
            in_background(
                self._provider.list_tensors,
                self._ctx,
                experiment_id=self.experiment,
                plugin_name=plugin,
            )
            for plugin in (EVENTS_PLUGIN_NAME, PLUGIN_NAME)
        ]
        for one in listed:
            for run, tags in one.result().items():
                for tag, series in tags.items():
                    if split_tag(tag) is not None and series.max_step is not None:
                        stamp = (int(series.max_step), float(series.max_wall_time))
                        found.setdefault(run, {})[tag] = stamp
        return {run: dict(sorted(found[run].items())) for run in sorted(found, key=_natural)}

    def column(self, run: str, tag: str, plugin: str) -> Column:
        """Reads one tag. Raises whatever the data provider raises."""
        got, complete = self._read(run, [tag], plugin)
        return _tame(got.get(tag, ()), complete)

    def events(self, run: str, tags: Mapping[str, Stamp]) -> dict[str, Column | Exception]:
        """Reads the tags of rare things, remembered: the column of each, or why there is none."""
        found: dict[str, Column | Exception] = {}
        for tag, stamp in tags.items():
            column = self._cache.get(self._key(run, tag), stamp)
            if column is not None:
                found[tag] = column
        missing = [tag for tag in tags if tag not in found]
        for tag, column in self._columns(run, missing).items():
            found[tag] = column
            if isinstance(column, Column):
                cost = sum(value.nbytes for value in column.values) + 200 * len(column.values)
                self._cache.put(self._key(run, tag), tags[tag], column, cost)
        return found

    def last_steps(self, run: str, tags: Mapping[str, Stamp]) -> dict[str, int]:
        """Returns the step of the last record of each record tag.

        Not always the largest step: the Python ingester keeps those that a
        restarted training has gone back behind.
        """
        found: dict[str, int] = {}
        missing = []
        for tag, stamp in tags.items():
            step = self._cache.get((*self._key(run, tag), "last"), stamp)
            if step is None:
                missing.append(tag)
            else:
                found[tag] = step
        # All in one call; one by one where one of them is poisoned.
        for group in [missing, *([tag] for tag in missing)]:
            if group and not found.keys() >= set(group):
                try:
                    got, _ = self._read(run, group, PLUGIN_NAME, downsample=1)
                    found.update({tag: int(got[tag][-1].step) for tag in group if got.get(tag)})
                except Exception:  # of no importance here: whoever reads the run is told
                    continue
        for tag in missing:
            step = found.setdefault(tag, tags[tag][0])
            self._cache.put((*self._key(run, tag), "last"), tags[tag], step, 100)
        return found

    def _columns(self, run: str, tags: list[str]) -> dict[str, Column | Exception]:
        # All in one call: they are small. One by one where one of them is poisoned.
        if len(tags) > 1:
            try:
                got, complete = self._read(run, tags, EVENTS_PLUGIN_NAME)
                if complete:
                    return {tag: _tame(got.get(tag, ()), complete) for tag in tags}
            except Exception:  # found out below which one it is
                pass
        found: dict[str, Column | Exception] = {}
        for tag in tags:
            try:
                found[tag] = self.column(run, tag, EVENTS_PLUGIN_NAME)
            except Exception as error:  # told to the user as a problem of the run
                found[tag] = error
        return found

    def _read(
        self, run: str, tags: list[str], plugin: str, downsample: int = _ALL
    ) -> tuple[Mapping[str, Any], bool]:
        number = downsample
        while True:
            try:
                got = self._provider.read_tensors(
                    self._ctx,
                    experiment_id=self.experiment,
                    plugin_name=plugin,
                    downsample=number,
                    run_tag_filter=provider.RunTagFilter(runs=[run], tags=tags),
                )
                return got.get(run, {}), number == downsample
            except errors.PublicError:
                raise
            except Exception as error:
                # Beyond gRPC's 256 MiB: take fewer of the records.
                if "RESOURCE_EXHAUSTED" not in str(error) or number <= 1:
                    raise
                number = min(number // 2, 4096)

    def _key(self, run: str, tag: str) -> tuple[str, str, str]:
        return (self.experiment, run, tag)


def in_background(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Future[Any]:
    """Calls a function in a thread: a call of the data server is 40 ms of waiting, mostly.

    What is called must not wait for another such call: all threads could be doing that.
    """
    return _POOL.submit(function, *arguments, **keywords)


def new_cache() -> Cache:
    """Returns a cache for the sources of one provider."""
    return Cache(_CACHE_BYTES)


def token(experiment: str, listing: object) -> str:
    """Returns what changes whenever the listing, or this part of one, does."""
    return hashlib.blake2b(repr((experiment, listing)).encode(), digest_size=8).hexdigest()


def _natural(name: str) -> tuple[list[str | int], str]:
    """Returns what sorts "p2" before "p10"."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _tame(data: Any, complete: bool) -> Column:
    """Returns the data with strictly increasing steps; the latest written wins."""
    if not data:
        return EMPTY
    steps = np.array([one.step for one in data], np.int64)
    later = np.minimum.accumulate(steps[::-1])[::-1]
    keep = np.ones(len(steps), bool)
    keep[:-1] = steps[:-1] < later[1:]
    kept = np.flatnonzero(keep)
    return Column(
        steps[kept],
        np.array([data[i].wall_time for i in kept], np.float64),
        tuple(np.asarray(data[i].numpy) for i in kept),
        complete,
    )
