"""Judging a training while it runs: the first error is said at once."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.finding import SEVERITIES, Finding, Severity
from tb_gradscope.format import meaning, messages
from tb_gradscope.format.causes import causes
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import LossHistory, RunHistory, Variable
from tb_gradscope.format.record import COUNTED, GradientRecord
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.recording.failure import say_once

_LOGGER = logging.getLogger("tb_gradscope")
_MOST_FLOATS = 1 << 20  # 4 MB of the latest records of each loss
_FEWEST, _MOST = 16, 256

OnFinding = Callable[[Finding], None]


class Live:
    """Keeps the latest records in memory and applies the rules to them now and then.

    Everything is judged whenever gradients turn to NaN, Inf or None, and each time
    the number of records has doubled; with somebody to tell, every few records.
    Used on the host thread only, but for `should_stop`.

    Attributes:
      should_stop: a finding of the severity to stop on was seen.

    Raises:
      TypeError: `on_finding` cannot be called.
      ValueError: `stop_on` is no such severity.
    """

    def __init__(self, on_finding: OnFinding | None, stop_on: Severity | None) -> None:
        if on_finding is not None and not callable(on_finding):
            raise TypeError(f"on_finding={on_finding!r}: expected a function of one finding.")
        if stop_on not in ("error", "warning", None):
            raise ValueError(f"stop_on={stop_on!r}: expected 'error', 'warning' or None.")
        self.should_stop = False
        self._on_finding = on_finding
        self._stop_on = stop_on
        self._losses: dict[str, _Latest] = {}
        self._said: dict[tuple[str, str | None], int] = {}
        self._records = 0
        self._next = 8

    def see(self, series: str, schema: Any, step: int, record: GradientRecord) -> None:
        """Takes note of a record, and judges if it is time to.

        Args:
          series: whose record.
          schema: its `Schema`.
          step: the record's.
          record: what was written.
        """
        latest = self._losses.get(series)
        if latest is None:
            latest = self._losses[series] = _Latest(schema)
        has_turned = latest.add(step, record)
        self._records += 1
        if has_turned or self._records >= self._next:
            self._judge()
            is_asked = self._on_finding is not None or self._stop_on is not None
            growth = max(8, self._records // 8) if is_asked else self._records
            self._next = self._records + growth

    def explain(self, series: str, schema: Any, step: int, event: Any) -> None:
        """Takes note of why gradients of a series are None.

        Args:
          series: whose.
          schema: its `Schema`.
          step: when that was found.
          event: the `Event` that says it.
        """
        if series not in self._losses:
            self._losses[series] = _Latest(schema)
        self._losses[series].told.append(Event(step, event))

    def _judge(self) -> None:
        for finding in judge.findings(self._run()):
            if finding.severity == "info":
                continue
            key, rank = (finding.kind, finding.loss), SEVERITIES.index(finding.severity)
            if self._said.get(key, len(SEVERITIES)) <= rank:
                continue  # what was an error once is not said again as a warning
            self._said[key] = rank
            if finding.severity == "error":
                where = f" [{finding.where.file}:{finding.where.line}]" if finding.where else ""
                _LOGGER.error("%s%s %s", finding.message, where, finding.advice)
            if self._stop_on in SEVERITIES[SEVERITIES.index(finding.severity) :]:
                self.should_stop = True
            if self._on_finding is not None:
                self._tell(self._on_finding, finding)

    def _tell(self, on_finding: OnFinding, finding: Finding) -> None:
        try:
            on_finding(finding)
        except Exception as error:  # it is the program's, but runs on a thread of ours
            say_once(
                f"tb_gradscope: the function given as on_finding raised {type(error).__name__}: "
                f"{error}. Training and recording go on."
            )

    def _run(self) -> RunHistory:
        names: dict[str, Variable] = {}
        for latest in self._losses.values():
            names.update(latest.variables)
        positions = {name: position for position, name in enumerate(names)}
        recorded = [latest for latest in self._losses.values() if latest.has_records]
        losses = tuple(latest.history(positions) for latest in recorded)
        return RunHistory("", tuple(names.values()), losses, (), (), (), ())


@dataclasses.dataclass(frozen=True)
class _Record:
    step: int
    values: Any
    calls: int
    reason: int
    loss: float


class _Latest:
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
        self._states = np.full(count, State.OK)

    @property
    def has_records(self) -> bool:
        """Tells whether any record came yet."""
        return bool(self._records)

    def add(self, step: int, record: GradientRecord) -> bool:
        """Takes note of a record; tells whether gradients turned to NaN, Inf or None."""
        values = record.values.copy()
        states = values[:, Statistic.STATE].astype(np.int64)
        if self._schema.label.stage == messages.Label.UNSCALED:
            # Mostly an overflow of the loss scale; the log knows which steps were left out.
            broken = np.isin(states, (State.NAN, State.INF))
            values[broken, Statistic.STATE] = State.ABSENT
            states[broken] = State.ABSENT
        self._made += 1
        for column, state in enumerate(COUNTED):
            here = states == state
            self._counts[:, column] += here
            self._first[here & (self._first[:, column] < 0), column] = step
            self._last[here, column] = step
        bad = (State.NAN, State.INF, State.NONE)
        turned = bool((np.isin(states, bad) & (states != self._states)).any())
        self._states = states
        self._records.append(_Record(step, values, record.calls, record.reason, record.loss))
        return turned

    def history(self, positions: dict[str, int]) -> LossHistory:
        """Returns what is known, as the rules want it."""
        schema, records = self._schema, list(self._records)
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
            state_counts=self._counts.copy(),
            asked=np.full(made, self._made, np.int64),
            first_seen=self._first.copy(),
            last_seen=self._last.copy(),
            skipped_steps=np.zeros(0, np.int64),
            overflowed=np.zeros(made, np.int64),
            traced_only=False,
            part_of=schema.part_of,
            watched=schema.watched,
            nonfinite=np.zeros(count, np.int64),
            reasons=np.array([record.reason for record in records], np.int64),
            loss_scales=np.ones(count, np.float32),
            loss_values=np.array([record.loss for record in records], np.float32),
            spikes=np.zeros((0, 2), np.int64),
            causes=causes([(self.told, list(self.variables))], positions),
        )
