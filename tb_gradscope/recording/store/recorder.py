"""Receives records from tapes and clip functions and hands them to a writer."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import secrets
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.store import ring
from tb_gradscope.recording.store.counter import Counter
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.live import Live
from tb_gradscope.recording.store.ring import Position, Ring, Slot
from tb_gradscope.recording.store.sentinel import Sentinel
from tb_gradscope.recording.store.series import Series
from tb_gradscope.recording.store.shared_ring import ring_here
from tb_gradscope.recording.store.writer import Writer
from tb_gradscope.recording.tape.losses import CallPaths, SharedNames
from tb_gradscope.recording.tape.names import Names

_MOST_WAITING = 64
_MOST_SEEN = 10_000


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of eager code: a `Slot` whose numbers are still tensors."""

    step: int
    call: int
    reason: int
    tallies: Any
    payload: Any


class Recorder:
    """Receives what tapes and clip functions see, and writes it.

    Attributes:
      on_error: "warn" or "raise".
      live: judges what is recorded while the training runs.
      honours_record_if: whether `tf.summary.record_if` decides as well.
      names: the names given so far.
      losses: which loss is which.
      sites: which clip site is which.
      seen: losses, clip sites and variables as recognised at each call so far.
      candidates: what each call calls its loss.
      paths: how the program came to each call.
      was_asked: a tape was asked for gradients; it may have raised.
    """

    def __init__(
        self,
        every: int,
        on_error: str,
        honours_record_if: bool = False,
        sentinel: bool = True,
        live: Live | None = None,
    ) -> None:
        self.on_error = on_error
        self.live = live or Live(None, None)
        self.honours_record_if = honours_record_if
        self.names = Names()
        self.was_asked = False
        self.losses = SharedNames(self.names.of_loss)
        self.sites = SharedNames(self.names.of_site)
        self.seen: dict[Any, Any] = {}
        self.candidates: dict[Any, str] = {}
        self.paths: dict[Any, CallPaths] = {}
        self._every = every
        self._sentinel = sentinel
        self._session = secrets.token_hex(8)
        self._series: dict[str, Series] = {}
        self._counters: dict[str, Counter] = {}
        self._rings: dict[tuple[str, bool], Ring] = {}
        self._reading: list[Ring] = []
        self._left_at: weakref.WeakKeyDictionary[Ring, Position] = weakref.WeakKeyDictionary()
        self._calls: collections.deque[tuple[Series, Call]] = collections.deque()
        self._draining = False
        self._writer: Writer | None = None

    @property
    def every(self) -> int:
        """N for every N-th call, or `cadence.AUTO`."""
        return self._every

    @property
    def has_sentinel(self) -> bool:
        """Tells whether a sentinel looks at the calls that are not due."""
        return self._sentinel and self.every != 1

    def remember(self, key: Any, recognised: Any) -> None:
        """Keeps what was recognised at a call, for the next step."""
        if len(self.seen) >= _MOST_SEEN:
            self.seen.clear()
        self.seen[key] = recognised

    def series(self, description: Description) -> Series:
        """Returns the series of this description, a new one or that of before."""
        found = self._series.get(description.series)
        if found is not None:
            return found
        # Where all is recorded, nothing is left that could go unseen.
        is_all = self.every == 1 and not self.honours_record_if
        is_watched = is_all or (description.is_watched and self.has_sentinel)
        made = Series(description, self._session, is_watched, self.live)
        return self._series.setdefault(description.series, made)

    def counter(self, name: str) -> Counter:
        """Returns what counts the calls of a loss or clip site."""
        return self._counters.get(name) or self._counters.setdefault(name, Counter())

    def ring(self, description: Description) -> Ring:
        """Returns the ring through which graphs hand over this series."""
        # No lock: making a ring waits for the host thread, which calls `series`.
        key = (description.series, description.is_watched)
        found = self._rings.get(key)
        if found is not None and found.is_read_by(self):
            return found
        tallies, counter = description.tallies, self.counter(description.counter)
        rows = len(description.schema.variables)
        sentinel = Sentinel(rows) if description.is_watched else None
        width = description.width + (rows if description.is_watched else 0)
        made = ring_here(width, tallies, description, counter, sentinel)
        every, is_watched = self.every, self.has_sentinel
        since = Position(HOST.call(counter.now), np.zeros(tallies, np.int64))
        HOST.call(lambda: made.hand_to(self, every, since, is_watched))
        self._rings[key] = made
        self._reading.append(made)
        return made

    def trace(self, descriptions: Sequence[Description], step: int | None) -> None:
        """Writes at once what tracing has shown, in case no step is ever run."""
        opened = [(self.series(description), description.none) for description in descriptions]

        def write() -> None:
            if self._writer is None:
                return
            now = self.counter(descriptions[0].counter).now() if step is None else step
            with self._writer.batch():
                for series, none in opened:
                    series.trace(self._writer, now, none)

        with contained("writing what tracing showed", self.on_error):
            HOST.call(write)

    def tell(self, description: Description, step: int | None, event: Any) -> None:
        """Writes something rare of a series at once, at the present call where `step` is None."""

        def write() -> None:
            if self._writer is None:
                return
            now = self.counter(description.counter).now() if step is None else step
            with self._writer.batch():
                self.series(description).tell(self._writer, now, event)

        with contained("writing an event", self.on_error):
            HOST.call(write)

    def write(self, series: Series, call: Call) -> None:
        """Hands over one call of eager code; its payload is fetched later."""
        self._calls.append((series, call))
        # The program may end right after its very first gradient.
        if call.call == 0:
            HOST.call(self.drain)
        elif len(self._calls) >= _MOST_WAITING:
            HOST.post(self.drain)

    def flush(self) -> None:
        """Puts everything recorded so far on disk."""
        HOST.call(self.drain)

    def drain(self) -> None:
        """Writes what has gathered. On the host thread only."""
        if self._writer is None or self._draining:
            return
        self._draining = True
        try:
            with contextlib.ExitStack() as batch:
                in_batch = False
                for write in self._gathered():
                    if not in_batch:
                        batch.enter_context(self._writer.batch())
                        in_batch = True
                    with contained("writing a record", self.on_error):
                        write(self._writer)
            with contained("judging the training", self.on_error):
                self.live.judge_if_due()
        finally:
            self._draining = False

    def _gathered(self) -> Iterator[Callable[[Writer], None]]:
        """Yields what to do for each call gathered in eager code and in rings."""
        while self._calls:
            series, call = self._calls.popleft()
            yield functools.partial(_write_call, series, call)
        for found in list(self._reading):
            slots, lost = found.read()
            if not slots and not lost:
                continue
            series = self.series(found.description)
            for slot in slots:
                yield functools.partial(series.write, slot=slot)
            if lost:
                step = slots[-1].shown_step if slots else found.position().calls
                yield functools.partial(series.lose, step=step, count=lost)

    @property
    def has_recorded(self) -> bool:
        """Tells whether anything was recorded, as far as it is written."""
        return bool(self._series)

    @property
    def is_recording(self) -> bool:
        """Tells whether records are written at present."""
        return self._writer is not None

    def _start(self, writer: Writer, takes_over: bool) -> None:
        """On the host thread: begin to write.

        Args:
          writer: where to.
          takes_over: go on with functions traced before, that nobody records any more.
        """
        found_unread = ring.unread() if takes_over else []
        self._writer = writer
        self.live.begin()
        for found in found_unread:
            found.hand_to(self, self.every, self._left_at.get(found), self.has_sentinel)
            self._reading.append(found)
        HOST.add(self)

    def _stop(self) -> Writer | None:
        """On the host thread: let graphs record no more, and write the rest."""
        HOST.remove(self)
        writer = self._writer
        if writer is None:
            return None
        for found in self._reading:
            found.stop()
        with contained("writing the last records", self.on_error):
            self.drain()
        with contained("judging the training", self.on_error):
            self.live.end()
        for found in self._reading:
            self._left_at[found] = found.position()
        self._reading.clear()
        self._writer = None
        return writer


def _write_call(series: Series, call: Call, writer: Writer) -> None:
    tallies = np.asarray(call.tallies, np.int64)
    payload = np.asarray(call.payload, np.float32).reshape(-1)
    series.write(writer, Slot(call.step, call.call, call.reason, tallies, payload))
