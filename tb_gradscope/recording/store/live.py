"""Judging a training while it runs: the first error is said at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from tb_gradscope.diagnose import judge, words
from tb_gradscope.diagnose.finding import SEVERITIES, Finding, Severity
from tb_gradscope.format.events import Event
from tb_gradscope.format.history import RunHistory, Variable
from tb_gradscope.format.record import GradientRecord
from tb_gradscope.recording.failure import say_once
from tb_gradscope.recording.store.latest import Latest

_LOGGER = logging.getLogger("tb_gradscope")
_SPREADING = ("nan", "inf")
_FIRST = 8
_NEWS_SHARE, _ASKED_SHARE = 16, 8

OnFinding = Callable[[Finding], None]


class Live:
    """Keeps the latest records in memory and applies the rules to them now and then.

    Everything is judged when a variable has its first NaN, Inf or None, and each time
    the number of records has doubled; with somebody to tell, has grown by an eighth; and
    when the recording ends.
    Between two times it grows by a 16th at least, so that whatever the training does,
    they are few. Used on the host thread only, but for `stopping`.

    Attributes:
      stopping: the finding to stop for, None while there is none.
      logs: errors are logged.

    Raises:
      TypeError: `on_finding` cannot be called.
      ValueError: `stop_on` is no such severity.
    """

    def __init__(self, on_finding: OnFinding | None, stop_on: Severity | None) -> None:
        check_arguments(on_finding, stop_on)
        self.stopping: Finding | None = None
        self.logs = True
        self._on_finding = on_finding
        self._stop_on = stop_on
        self._losses: dict[str, Latest] = {}
        self._said: dict[tuple[str, str | None], int] = {}
        self._has_logged_spreading = False
        self._records = 0
        self._has_news = False
        self._next, self._next_of_news = _FIRST, 0
        self._since: int | None = None

    def begin(self) -> None:
        """A recording begins, for the first time or again: what is so no more stops it no more."""
        self.stopping = self._since = None

    def see(self, series: str, schema: Any, step: int, record: GradientRecord) -> None:
        """Takes note of a record.

        Args:
          series: whose record.
          schema: its `Schema`.
          step: the record's.
          record: what was written.
        """
        self._since = step if self._since is None else self._since
        self._has_news |= self._latest(series, schema).add(step, record)
        self._records += 1

    def judge_if_due(self) -> None:
        """Judges what was seen, if it is time to; called where all of a step is likely there."""
        if self._records >= (self._next_of_news if self._has_news else self._next):
            self._has_news = False
            self._judge()
            self._next_of_news = self._records + max(1, self._records // _NEWS_SHARE)
            is_asked = self._on_finding is not None or self._stop_on is not None
            growth = self._records // _ASKED_SHARE if is_asked else self._records
            self._next = self._records + max(_FIRST, growth)

    def explain(self, series: str, schema: Any, step: int, event: Any) -> None:
        """Takes note of why gradients of a series are None.

        Args:
          series: whose.
          schema: its `Schema`.
          step: when that was found.
          event: the `Event` that says it.
        """
        self._latest(series, schema).told.append(Event(step, event))

    def trace(self, series: str, schema: Any, step: int, none: Sequence[bool]) -> None:
        """Takes note of which gradients of a series are None, as tracing shows it.

        Args:
          series: whose.
          schema: its `Schema`.
          step: when it was traced.
          none: of each variable.
        """
        self._latest(series, schema).trace(step, none)

    def found(self) -> str:
        """Returns how much was found up to now: "1 error, 2 warnings"; empty for nothing."""
        return words.faults(SEVERITIES[rank] for rank in self._said.values())

    def end(self) -> None:
        """Judges what has come since the last time: the recording ends, maybe with a crash.

        What was traced and never run counts as well: the program may have failed on it.
        """
        if self._losses:
            self._judge(is_end=True)

    def _latest(self, series: str, schema: Any) -> Latest:
        return self._losses.get(series) or self._losses.setdefault(series, Latest(schema))

    def _judge(self, is_end: bool = False) -> None:
        errors: list[Finding] = []
        for finding in judge.findings(self._run(is_end)):
            if finding.severity == "info":
                continue
            self._stop(finding)
            key, rank = (finding.kind, finding.loss), SEVERITIES.index(finding.severity)
            if self._said.get(key, len(SEVERITIES)) <= rank:
                continue  # what was an error once is not said again as a warning
            self._said[key] = rank
            if finding.severity == "error":
                errors.append(finding)
            if self._on_finding is not None:
                self._tell(self._on_finding, finding)
        if self.logs:
            self._log(errors)

    def _log(self, errors: list[Finding]) -> None:
        """Logs what is new, but of NaN and Inf the first alone: they spread from loss to loss."""
        spreading = [one for one in errors if one.kind in _SPREADING]
        for finding in errors:
            if finding not in spreading:
                _LOGGER.error("tb_gradscope: %s %s", said(finding), finding.advice)
        if spreading and not self._has_logged_spreading:
            self._has_logged_spreading = True
            first = spreading[0]
            # What was not finite only later may have been ruined by the first.
            others = {
                str(one.loss): None
                for one in spreading
                if one.loss != first.loss and one.span.first == first.span.first
            }
            too = f" Nor is that of {', '.join(others)}." if others else ""
            _LOGGER.error("tb_gradscope: %s%s %s", said(first), too, first.advice)

    def _stop(self, finding: Finding) -> None:
        is_meant = self._stop_on in SEVERITIES[SEVERITIES.index(finding.severity) :]
        is_now = self._since is not None and finding.span.last >= self._since
        if is_meant and is_now and self.stopping is None:
            self.stopping = finding

    def _tell(self, on_finding: OnFinding, finding: Finding) -> None:
        try:
            on_finding(finding)
        except Exception as error:  # it is the program's, but runs on a thread of ours
            say_once(
                f"tb_gradscope: the function given as on_finding raised {type(error).__name__}: "
                f"{error}. Training and recording go on."
            )

    def _run(self, is_end: bool) -> RunHistory:
        names: dict[str, Variable] = {}
        for latest in self._losses.values():
            names.update(latest.variables)
        positions = {name: position for position, name in enumerate(names)}
        known = [
            one for one in self._losses.values() if one.has_records or (is_end and one.is_traced)
        ]
        losses = tuple(latest.history(positions) for latest in known)
        return RunHistory("", tuple(names.values()), losses, (), (), (), ())


def check_arguments(on_finding: OnFinding | None, stop_on: Severity | None) -> None:
    """Raises what `Live` does."""
    if on_finding is not None and not callable(on_finding):
        raise TypeError(f"on_finding={on_finding!r}: expected a function of one finding.")
    if stop_on not in ("error", "warning", None):
        raise ValueError(f"stop_on={stop_on!r}: expected 'error', 'warning' or None.")


def said(finding: Finding) -> str:
    """Returns a finding as a line of the console, without its advice."""
    where = f" [{finding.where.file}:{finding.where.line}]" if finding.where else ""
    return finding.message + where
