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
from tb_gradscope.diagnose.finding import Cause, Finding, Pattern, Severity, Span, Where, where
from tb_gradscope.diagnose.norms import names_of
from tb_gradscope.diagnose.spans import spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State

_STRUCTURE: tuple[Cause, ...] = ("unused", "stopped", "unknown")
"""Causes that are meant so where another loss reaches the variable."""

_STATISTICS = frozenset(
    {"moving_mean", "moving_variance", "seed_generator_state", "total", "count", "iteration"}
)
"""Last parts of the names of Keras variables that layers, metrics and optimizers count with."""

_NOW_AND_THEN: tuple[Pattern, ...] = ("intermittent", "once")


@dataclasses.dataclass(frozen=True)
class _Missing:
    """What pairs must share to be told of in one finding."""

    reason: causes.Reason
    span: Span | None
    is_reached: bool


@dataclasses.dataclass
class _Group:
    """Pairs told of in one finding: columns, and what is known of each."""

    columns: list[int] = dataclasses.field(default_factory=list)
    spans: list[Span] = dataclasses.field(default_factory=list)
    places: set[Where | None] = dataclasses.field(default_factory=set)
    others: dict[str, None] = dataclasses.field(default_factory=dict)  # in order


def missing(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields pairs without a gradient, grouped by cause, place and steps."""
    alive = {id(loss): _alive(loss) for loss in run.losses}
    for loss in run.losses:
        groups: dict[_Missing, _Group] = {}
        for column, span in spans_in(loss, State.NONE).items():
            position = int(loss.variables[column])
            others = [
                one.name for one in run.losses if one is not loss and position in alive[id(one)]
            ]
            reason = _reason(run, loss, column)
            # Layers that are dropped at random, or read at a line each, are one story.
            shared = None if span.pattern in _NOW_AND_THEN else span
            key = _Missing(dataclasses.replace(reason, other=None), shared, bool(others))
            group = groups.setdefault(key, _Group())
            group.columns.append(column)
            group.spans.append(span)
            group.places.add(reason.other)
            group.others.update(dict.fromkeys(others))
        everything = all(span == loss.asked[i] for i, span in enumerate(_none_counts(loss)))
        for key, group in groups.items():
            yield _finding(run, loss, key, group, bool(everything))


def _finding(
    run: RunHistory, loss: LossHistory, shared: _Missing, group: _Group, everything: bool
) -> Finding:
    names = names_of(run, loss, group.columns)
    reason, span = shared.reason, _span(group.spans)
    if len(group.places) == 1:
        reason = dataclasses.replace(reason, other=next(iter(group.places)))
    when = words.when(span)
    if len(set(group.spans)) > 1:
        records = f"each in {span.count} records at most"
        when = f"now and then ({records}, steps {span.first} to {span.last})"
    others = [*group.others]
    # A term that the program did not tell of is never differentiated by itself.
    is_term = loss.traced_only and bool(loss.part_of)
    name = words.loss_name(loss) + (f", a term of {loss.part_of}," if is_term else "")
    return Finding(
        kind="none",
        severity=_severity(reason, span, shared.is_reached, everything and not is_term),
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=span,
        message=causes.message(name, words.named(names), when, reason, _reached(others, names)),
        advice=causes.advice(reason),
        cause=reason.cause,
        other_loss=others[0] if others else None,
        where=reason.where,
        evidence={"threshold": None},
    )


def _reason(run: RunHistory, loss: LossHistory, column: int) -> causes.Reason:
    reason = causes.of(loss, column)
    if reason.where is None:
        reason = dataclasses.replace(reason, where=where(loss.where))
    variable = run.variables[int(loss.variables[column])]
    is_statistic = variable.name.rpartition("/")[2] in _STATISTICS
    is_unused = reason.cause == "unused" and variable.kind == "variable"
    if not variable.trainable and (is_statistic or is_unused):
        return dataclasses.replace(reason, detail=causes.KEPT, other=None)
    return reason


def _reached(others: list[str], names: tuple[str, ...]) -> str | None:
    if not others:
        return None
    them = "it" if len(names) == 1 else "them"
    if len(others) == 1:
        return f"{others[0]} does reach {them}"
    which = " and ".join(others) if len(others) == 2 else f"{others[0]} and {len(others) - 1} more"
    return f"{which} do reach {them}"


def _span(spans: list[Span]) -> Span:
    """Returns when any of the variables had no gradient."""
    if len(set(spans)) == 1:
        return spans[0]
    return Span(
        min(span.first for span in spans),
        max(span.last for span in spans),
        "intermittent",
        max(span.count for span in spans),
    )


def _severity(reason: causes.Reason, span: Span, is_reached: bool, everything: bool) -> Severity:
    if everything and span.pattern == "all":
        return "error"
    if span.pattern in _NOW_AND_THEN or reason.detail == causes.KEPT:
        return "info"
    is_structure = reason.cause in _STRUCTURE or _is_asked_for(reason)
    return "info" if is_reached and is_structure else "warning"


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
