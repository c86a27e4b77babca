"""`none`: gradients that TensorFlow answered with None.

Seen: None for a (loss, variable) pair, always or at some steps, with the cause
found while the program ran, and the line.

Usually: see the causes. A variable that another loss reaches is often meant so (the
head of another task); one that no loss reaches learns nothing.

An error where a loss reaches no variable at all, a warning where something cuts the
path or no loss reaches the variable, else only said.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tb_gradscope.diagnose import causes, words
from tb_gradscope.diagnose.finding import Cause, Finding, Severity, Span, where
from tb_gradscope.diagnose.norms import names_of
from tb_gradscope.diagnose.spans import spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State

_STRUCTURE: tuple[Cause, ...] = ("unused", "stopped", "unknown")
"""Causes that are meant so where another loss reaches the variable."""


@dataclasses.dataclass(frozen=True)
class _Missing:
    """What pairs must share to be told of in one finding."""

    reason: causes.Reason
    span: Span
    other: str | None


def missing(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields pairs without a gradient, grouped by cause, place and steps."""
    alive = {id(loss): _alive(loss) for loss in run.losses}
    for loss in run.losses:
        groups: dict[_Missing, list[int]] = {}
        for column, span in spans_in(loss, State.NONE).items():
            position = int(loss.variables[column])
            other = next(
                (one.name for one in run.losses if one is not loss and position in alive[id(one)]),
                None,
            )
            reason = causes.of(loss, column)
            if reason.where is None:
                reason = dataclasses.replace(reason, where=where(loss.where))
            key = _Missing(reason, span, other)
            groups.setdefault(key, []).append(column)
        everything = all(span == loss.asked[i] for i, span in enumerate(_none_counts(loss)))
        for key, columns in groups.items():
            yield _finding(run, loss, key, columns, bool(everything))


def _finding(
    run: RunHistory, loss: LossHistory, group: _Missing, columns: list[int], everything: bool
) -> Finding:
    names = names_of(run, loss, columns)
    return Finding(
        kind="none",
        severity=_severity(group, everything),
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=group.span,
        message=causes.message(
            words.loss_name(loss), words.named(names), words.when(group.span), group.reason,
            group.other,
        ),
        advice=causes.advice(group.reason),
        cause=group.reason.cause,
        other_loss=group.other,
        where=group.reason.where,
        evidence={"threshold": None},
    )  # fmt: skip


def _severity(group: _Missing, everything: bool) -> Severity:
    if everything and group.span.pattern == "all":
        return "error"
    if group.span.pattern in ("intermittent", "once"):
        return "info"
    is_structure = group.reason.cause in _STRUCTURE or _is_asked_for(group.reason)
    return "info" if group.other is not None and is_structure else "warning"


def _is_asked_for(reason: causes.Reason) -> bool:
    """Tells whether the path was cut on purpose: nobody writes stop_gradient by accident."""
    return (
        reason.cause == "blocked" and reason.where is not None and reason.where.op == "StopGradient"
    )


def _none_counts(loss: LossHistory) -> list[int]:
    if loss.traced_only:
        first = loss.first_seen[:, COUNTED.index(State.NONE)]
        return [
            int(asked) if step >= 0 else -1 for asked, step in zip(loss.asked, first, strict=True)
        ]
    return [int(count) for count in loss.state_counts[:, COUNTED.index(State.NONE)]]


def _alive(loss: LossHistory) -> set[int]:
    """Returns the variables for which the loss has had a gradient, or is not known to lack one."""
    counts = _none_counts(loss)
    return {
        position
        for position, count, asked in zip(loss.variables.tolist(), counts, loss.asked, strict=True)
        if (asked and count < asked) or (loss.traced_only and count < 0)
    }
