"""One series of records: what is known of it on the host, and how it is written."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import messages, tags
from tb_gradscope.format.cosine import CosineRecord, encode_cosine
from tb_gradscope.format.optimizer import OptimizerRecord, encode_optimizer
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import (
    COUNTED,
    ClipRecord,
    GradientRecord,
    absent_norm,
    encode_clip,
    encode_gradient,
    none_norm,
)
from tb_gradscope.format.statistics import (
    BESIDE_NORM,
    STATISTIC_COUNT,
    Reason,
    State,
    Statistic,
)
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store.description import (
    ABSENT_MARK,
    APPLIED,
    CLIP_HEADER,
    CLIP_NONFINITE,
    CLIPPED,
    NONE_MARK,
    NONFINITE,
    OPTIMIZER_HEADER,
    OPTIMIZER_ROW,
    SKIPPED,
    UNMEASURED_MARK,
    Description,
)
from tb_gradscope.recording.store.live import Live
from tb_gradscope.recording.store.ring import Slot
from tb_gradscope.recording.store.sentinel import Seen, Sentinel
from tb_gradscope.recording.store.writer import Writer


class Series:
    """The host's side of a series. `write` and `trace` run on the host thread only.

    Attributes:
      seen_none: which gradients were None together in eager calls so far.
      tallies: int64 `[tally]` of all eager calls, an array or a tensor.
    """

    def __init__(
        self, description: Description, session: str, is_watched: bool, live: Live
    ) -> None:
        self.description = description
        self._session = session
        self._live = live
        is_gradient = description.kind == messages.Schema.GRADIENT
        self._is_watched = is_gradient and is_watched
        self.id = description.series
        self.seen_none: set[tuple[bool, ...]] = set()
        self.tallies: Any = np.zeros(description.tallies, np.int64)
        self._sentinel: Sentinel | None = None
        count = len(description.schema.variables)
        self._states = np.full(count, State.OK, np.int64)
        self._state_counts = np.zeros((count, len(COUNTED)), np.int64)
        self._records = 0
        self._nonfinite = 0
        self._recorded_tallies = np.zeros(description.tallies, np.int64)
        self._has_clipped = False
        self._write_of_kind = {
            messages.Schema.GRADIENT: self._write_gradient,
            messages.Schema.CLIP: self._write_clip,
            messages.Schema.OPTIMIZER: self._write_optimizer,
            messages.Schema.COSINE: self._write_cosine,
        }[description.schema.kind]
        self._opened = False

    def look(self, watched: Watched, call: int) -> Seen:
        """Lets the sentinel look at an eager call."""
        if self._sentinel is None:
            self._sentinel = Sentinel(len(self.description.schema.variables))
        return self._sentinel.look_now(watched, call)

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
        if self.description.schema.kind == messages.Schema.GRADIENT:
            self._live.trace(self.id, self.description.schema, step, none)

    def tell(self, writer: Writer, step: int, event: Any) -> None:
        """Writes something rare."""
        self._open(writer, step)
        writer.event(self.id, step, event)
        if event.causes:
            self._live.explain(self.id, self.description.schema, step, event)

    def write(self, writer: Writer, slot: Slot) -> None:
        """Writes one recorded call."""
        step = slot.shown_step
        self._open(writer, step)
        self._records += 1
        self._write_of_kind(writer, step, slot)

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
            schema.watched = self._is_watched
            writer.schema(self.id, step, schema)
            self._opened = True

    def _write_gradient(self, writer: Writer, step: int, slot: Slot) -> None:
        header = self.description.header
        width = self.description.width
        values = _known(slot.payload[header:width].reshape(-1, STATISTIC_COUNT))
        states = self._count_states(values)
        changed = np.flatnonzero(states != self._states)
        if len(changed):
            self._states = states
            event = self._event(messages.Event.CHANGED, changed, states[changed])
            writer.event(self.id, step, event)
        if slot.reason == Reason.SPIKE:
            spikes = np.flatnonzero(slot.payload[width:])
            writer.event(self.id, step, self._event(messages.Event.SPIKE, spikes, states[spikes]))
        scale = float(slot.payload[1]) if self.description.is_unscaled else 1.0
        record = self._gradient_record(slot, values, scale, float(slot.payload[0]))
        writer.record(self.id, step, encode_gradient(record))
        with contained("taking note of a record"):
            self._live.see(self.id, self.description.schema, step, record)

    def _count_states(self, values: Floats) -> npt.NDArray[np.int64]:
        states = values[:, Statistic.STATE].astype(np.int64)
        for column, state in enumerate(COUNTED):
            self._state_counts[:, column] += states == state
        self._nonfinite += bool(np.isin(states, (State.NAN, State.INF)).any())
        return states

    def _gradient_record(
        self, slot: Slot, values: Floats, loss_scale: float, loss: float = math.nan
    ) -> GradientRecord:
        # Without a sentinel, those recorded are all that is known of.
        watched = int(slot.tallies[NONFINITE]) if self._is_watched else 0
        return GradientRecord(
            values,
            slot.call + 1,
            self._records,
            self._state_counts,
            nonfinite=max(watched, self._nonfinite),
            reason=slot.reason,
            loss_scale=loss_scale,
            loss=loss,
        )

    def _write_clip(self, writer: Writer, step: int, slot: Slot) -> None:
        calls, tallies, header = slot.call + 1, slot.tallies, slot.payload[:CLIP_HEADER]
        if not self.description.schema.clip.counts_every_call:
            self._recorded_tallies += header[4:].astype(np.int64)
            calls, tallies = self._records, self._recorded_tallies
        norms = slot.payload[CLIP_HEADER:].reshape(-1, 2).copy()
        norms[norms == NONE_MARK] = none_norm()
        if tallies[CLIPPED] and not self._has_clipped:
            self._has_clipped = True
            event = messages.Event(version=tags.FORMAT_VERSION, kind=messages.Event.CLIP_ONSET)
            writer.event(self.id, step, event)
        record = ClipRecord(
            norms,
            calls,
            int(tallies[CLIPPED]),
            int(tallies[CLIP_NONFINITE]),
            *map(float, header[:4]),
        )
        writer.record(self.id, step, encode_clip(record))

    def _write_optimizer(self, writer: Writer, step: int, slot: Slot) -> None:
        scale, rate, skipped = map(float, slot.payload[:OPTIMIZER_HEADER])
        rows = slot.payload[OPTIMIZER_HEADER : self.description.width].reshape(-1, OPTIMIZER_ROW)
        values, updates = _known(rows[:, :STATISTIC_COUNT]), rows[:, STATISTIC_COUNT]
        self._count_states(values)
        applied_so_far, skipped_so_far = int(slot.tallies[APPLIED]), int(slot.tallies[SKIPPED])
        if skipped:
            event = messages.Event(
                version=tags.FORMAT_VERSION, kind=messages.Event.SKIPPED, count=skipped_so_far
            )
            writer.event(self.id, step, event)
        gradient = self._gradient_record(slot, values, scale)
        record = OptimizerRecord(gradient, updates, applied_so_far, skipped_so_far, scale, rate)
        writer.record(self.id, step, encode_optimizer(record))

    def _write_cosine(self, writer: Writer, step: int, slot: Slot) -> None:
        losses = len(self.description.schema.losses)
        cosines = slot.payload.reshape(losses, -1).copy()
        cosines[cosines == ABSENT_MARK] = absent_norm()
        writer.record(self.id, step, encode_cosine(CosineRecord(cosines, slot.call + 1)))

    def _event(self, kind: int, rows: npt.NDArray[np.int64], states: npt.NDArray[np.int64]) -> Any:
        return messages.Event(
            version=tags.FORMAT_VERSION,
            kind=kind,
            variables=[int(row) for row in rows],
            states=[int(state) for state in states],
        )


def _known(values: Floats) -> Floats:
    """Returns statistics, with NaN for what was not measured."""
    values = values.copy()
    norm_alone = np.flatnonzero(values[:, Statistic.MAX_ABS] == UNMEASURED_MARK)
    values[norm_alone[:, None], BESIDE_NORM] = absent_norm()
    norms = values[:, Statistic.VARIABLE_NORM]
    norms[norms == UNMEASURED_MARK] = absent_norm()
    return values
