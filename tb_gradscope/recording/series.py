"""One series of records: what is known of it on the host, and how it is written."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import messages, tags
from tb_gradscope.format.record import (
    COUNTED,
    ClipRecord,
    GradientRecord,
    encode_clip,
    encode_gradient,
    none_norm,
)
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.recording.ring import Slot
from tb_gradscope.recording.writer import Writer

CLIP_HEADER = 6  # threshold, norm before, norm after, scale, clipped, not finite
CLIP_TALLIES = 2  # calls clipped, calls with a norm that is not finite
CLIPPED, NONFINITE = 0, 1
NONE_MARK = -1.0  # in place of the norm of a gradient that is None


@dataclasses.dataclass(frozen=True)
class Description:
    """What a series is of: enough to open it again in another log directory.

    Attributes:
      schema: the `Schema` message.
      none: bool `[variable]`, gradients known to be None while tracing.
      counts_every_call: clip sites: tallies are kept for calls not recorded too.
    """

    schema: Any
    none: tuple[bool, ...] = ()
    counts_every_call: bool = True

    @functools.cached_property
    def series(self) -> str:
        """Name of the series: the same for the same loss, variables and label."""
        schema = self.schema
        identity = [str(schema.kind), schema.name, schema.label.SerializeToString().hex()]
        for variable in schema.variables:
            identity += [variable.name, str(variable.kind)]
        return tags.series_id(identity)

    @property
    def counted_as(self) -> str:
        """Name of the counter of its calls: series of one loss share theirs."""
        return self.series if self.is_clip else f"loss {self.schema.name}"

    @property
    def is_clip(self) -> bool:
        """Tells clip sites from losses."""
        return bool(self.schema.kind == messages.Schema.CLIP)

    @property
    def width(self) -> int:
        """Number of floats in the payload of one call."""
        count = len(self.schema.variables)
        return CLIP_HEADER + 2 * count if self.is_clip else STATISTIC_COUNT * count


class Series:
    """The host's side of a series. `write` and `trace` run on the host thread only.

    Attributes:
      seen_none: which gradients were None together in eager calls so far.
      tallies: int64 `[tally]` of all eager calls, an array or a tensor.
    """

    def __init__(self, description: Description, session: str) -> None:
        self.description = description
        self._session = session
        self.id = description.series
        self.seen_none: set[tuple[bool, ...]] = set()
        self.tallies: Any = np.zeros(CLIP_TALLIES if description.is_clip else 0, np.int64)
        count = len(description.schema.variables)
        self._states = np.full(count, State.OK, np.int64)
        self._state_counts = np.zeros((count, len(COUNTED)), np.int64)
        self._records = 0
        self._recorded_tallies = np.zeros(CLIP_TALLIES, np.int64)
        self._has_clipped = False
        self._opened = False

    def trace(self, writer: Writer, step: int, none: tuple[bool, ...]) -> None:
        """Writes what tracing alone has shown, in case the program never runs the graph.

        Args:
          writer: where to.
          step: at which step.
          none: bool `[variable]`, which gradients are None.
        """
        self._open(writer, step)
        rows = np.flatnonzero(np.array(none, bool))
        event = self._event(messages.Event.TRACED, rows, np.full(len(rows), State.NONE))
        writer.event(self.id, step, event)

    def write(self, writer: Writer, slot: Slot) -> None:
        """Writes one recorded call."""
        step = slot.shown_step
        self._open(writer, step)
        self._records += 1
        if self.description.is_clip:
            self._write_clip(writer, step, slot)
        else:
            self._write_gradient(writer, step, slot)

    def lose(self, writer: Writer, step: int, count: int) -> None:
        """Says that records were overwritten before they could be written."""
        self._open(writer, step)
        event = messages.Event(version=tags.FORMAT_VERSION, kind=messages.Event.LOST, count=count)
        writer.event(self.id, step, event)

    def _open(self, writer: Writer, step: int) -> None:
        if not self._opened:
            schema = messages.Schema()
            schema.CopyFrom(self.description.schema)
            schema.session = self._session
            writer.schema(self.id, step, schema)
            self._opened = True

    def _write_gradient(self, writer: Writer, step: int, slot: Slot) -> None:
        values = slot.payload.reshape(-1, STATISTIC_COUNT)
        states = values[:, Statistic.STATE].astype(np.int64)
        for column, state in enumerate(COUNTED):
            self._state_counts[:, column] += states == state
        changed = np.flatnonzero(states != self._states)
        if len(changed):
            self._states = states
            event = self._event(messages.Event.CHANGED, changed, states[changed])
            writer.event(self.id, step, event)
        record = GradientRecord(values, slot.call + 1, self._records, self._state_counts)
        writer.record(self.id, step, encode_gradient(record))

    def _write_clip(self, writer: Writer, step: int, slot: Slot) -> None:
        calls, tallies, header = slot.call + 1, slot.tallies, slot.payload[:CLIP_HEADER]
        if not self.description.counts_every_call:
            self._recorded_tallies += header[4:].astype(np.int64)
            calls, tallies = self._records, self._recorded_tallies
        norms = slot.payload[CLIP_HEADER:].reshape(-1, 2).copy()
        norms[norms == NONE_MARK] = none_norm()
        if tallies[CLIPPED] and not self._has_clipped:
            self._has_clipped = True
            event = messages.Event(version=tags.FORMAT_VERSION, kind=messages.Event.CLIP_ONSET)
            writer.event(self.id, step, event)
        record = ClipRecord(
            norms, calls, int(tallies[CLIPPED]), int(tallies[NONFINITE]), *map(float, header[:4])
        )
        writer.record(self.id, step, encode_clip(record))

    def _event(self, kind: int, rows: npt.NDArray[np.int64], states: npt.NDArray[np.int64]) -> Any:
        return messages.Event(
            version=tags.FORMAT_VERSION,
            kind=kind,
            variables=[int(row) for row in rows],
            states=[int(state) for state in states],
        )
