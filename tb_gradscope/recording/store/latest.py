"""The latest records of a series, kept in memory while a training runs."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.causes import causes
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import LossHistory
from tb_gradscope.format.record import COUNTED, GradientRecord
from tb_gradscope.format.statistics import STATISTIC_COUNT, Reason, State, Statistic

_MOST_FLOATS = 1 << 20  # 4 MB of the latest records of each loss
_FEWEST, _MOST = 16, 256
_NEWS = (State.NAN, State.INF, State.NONE)


@dataclasses.dataclass(frozen=True)
class _Record:
    step: int
    values: Any
    calls: int
    reason: int
    loss: float


class Latest:
    """The latest records of one series, and what was told of it."""

    def __init__(self, schema: Any) -> None:
        self.told: list[Event] = []
        self._schema = schema
        self.variables = {stored.name: meaning.variable(stored) for stored in schema.variables}
        floats = max(1, len(self.variables) * STATISTIC_COUNT)
        most = int(np.clip(_MOST_FLOATS // floats, _FEWEST, _MOST))
        self._records: collections.deque[_Record] = collections.deque(maxlen=most)
        count = len(self.variables)
        self._counts = np.zeros((count, len(COUNTED)), np.int64)
        self._first = np.full((count, len(COUNTED)), -1, np.int64)
        self._last = self._first.copy()
        self._made = 0
        self._traced: _Record | None = None

    @property
    def has_records(self) -> bool:
        """Tells whether any record came yet."""
        return bool(self._records)

    @property
    def is_traced(self) -> bool:
        """Tells whether tracing has shown which gradients are None."""
        return self._traced is not None

    def add(self, step: int, record: GradientRecord) -> bool:
        """Takes note of a record; tells whether any variable has its first NaN, Inf or None."""
        values = record.values.copy()
        states = values[:, Statistic.STATE].astype(np.int64)
        if self._schema.label.stage == messages.Label.UNSCALED:
            # Mostly an overflow of the loss scale; the log knows which steps were left out.
            broken = np.isin(states, (State.NAN, State.INF))
            values[broken, Statistic.STATE] = State.ABSENT
            states[broken] = State.ABSENT
        self._made += 1
        is_news = False
        for column, state in enumerate(COUNTED):
            here = states == state
            new = here & (self._first[:, column] < 0)
            is_news |= state in _NEWS and bool(new.any())
            self._counts[:, column] += here
            self._first[new, column] = step
            self._last[here, column] = step
        self._records.append(_Record(step, values, record.calls, record.reason, record.loss))
        return is_news

    def trace(self, step: int, none: Sequence[bool]) -> None:
        """Takes note of which gradients tracing has shown to be None."""
        values = np.full((len(none), STATISTIC_COUNT), np.nan, np.float32)
        values[:, Statistic.STATE] = np.where(none, State.NONE, State.ABSENT)
        self._traced = _Record(step, values, 0, Reason.CADENCE, math.nan)

    def history(self, positions: dict[str, int]) -> LossHistory:
        """Returns what is known, as the rules want it; of what was traced alone, that."""
        schema, records = self._schema, list(self._records)
        counts, first, last = self._counts, self._first, self._last
        traced = None if records else self._traced
        if traced is not None:
            records = [traced]
            none = traced.values[:, Statistic.STATE, None] == State.NONE
            none = none & (np.array(COUNTED) == State.NONE)
            counts, first = none.astype(np.int64), np.where(none, traced.step, -1)
            last = first
        count, made = len(records), len(self.variables)
        return LossHistory(
            name=schema.name,
            where=meaning.place(schema),
            label=meaning.label(schema),
            variables=np.array([positions[name] for name in self.variables], np.int64),
            steps=np.array([record.step for record in records], np.int64),
            wall_times=np.zeros(count),
            values=np.stack([record.values for record in records]),
            calls=np.array([record.calls for record in records], np.int64),
            records=self._made,
            state_counts=counts.copy(),
            asked=np.full(made, self._made, np.int64),
            first_seen=first.copy(),
            last_seen=last.copy(),
            skipped_steps=np.zeros(0, np.int64),
            overflowed=np.zeros(made, np.int64),
            traced_only=traced is not None,
            part_of=schema.part_of,
            watched=schema.watched,
            nonfinite=np.zeros(count, np.int64),
            reasons=np.array([record.reason for record in records], np.int64),
            loss_scales=np.ones(count, np.float32),
            loss_values=np.array([record.loss for record in records], np.float32),
            spikes=np.zeros((0, 2), np.int64),
            causes=causes([(self.told, list(self.variables))], positions),
            computed=meaning.place(schema, "computed"),
        )
