"""`zero`: gradients that are nothing but exact zeros, and stay so.

Seen: every element exactly 0, in all records or from some step on.

Usually: a layer whose ReLUs all died, a weight of zero behind it through which
nothing flows back (a symmetric start), an output that is saturated, clipped, rounded
or masked, or a hinge-like loss that is already satisfied. `zero_reasons` tells which,
where the pattern shows it.

Try: a smaller learning rate or leaky activations for dead units, another
initialiser for weights that start at zero, and a look at masks and `tf.maximum`.

Only said, no warning:

- a bias alone whose layer learns: what is the same for all examples may cancel out
  by mathematics;
- a part of the whole that has been zero for fewer records than `zero_records`: experts
  that nobody was sent to, and layers dropped at random, come back;
- a loss that is exactly 0 itself since it fell to it (a hinge that is satisfied), that
  is a part of a sum (a weight annealed from zero), or that has been 0 from the start for
  fewer records than that (a reward that has not come yet).

A zero in the first few records only (a branch that starts at zero), or now and
then (a batch without such examples), is healthy and not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words, zero_reasons
from tb_gradscope.diagnose.finding import Finding, Severity, Span, where
from tb_gradscope.diagnose.norms import names_of
from tb_gradscope.diagnose.spans import spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.zero_reasons import Zeros
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import State, Statistic

_STATE = Statistic.STATE


def zero(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields groups of variables whose gradients are zero for good."""
    for loss in run.losses:
        spans = {}
        for column, span in spans_in(loss, State.ZERO).items():
            count = _last(loss, column)
            if span.pattern not in ("all", "from"):
                if _has_died(loss, column, count, thresholds):
                    first = int(loss.steps[loss.values[:, column, _STATE] != State.ABSENT][-count])
                    spans[column] = Span(first, span.last, "from", count)
            elif count >= thresholds.min_records:
                spans[column] = span
        groups: dict[tuple[int, str], list[int]] = {}
        if whole := _whole(loss, spans, thresholds):
            columns, span = whole
            yield _finding(run, Zeros(run, loss, columns, span), thresholds)
        for column, span in spans.items():
            if whole is None or _is_earlier(loss, span, whole[1], thresholds):
                groups.setdefault((span.first, span.pattern), []).append(column)
        for columns in groups.values():
            span = max((spans[column] for column in columns), key=lambda span: span.count)
            yield _finding(run, Zeros(run, loss, columns, span), thresholds)


def _whole(
    loss: LossHistory, spans: dict[int, Span], thresholds: Thresholds
) -> tuple[list[int], Span] | None:
    """Returns all columns, and since when, where the whole gradient has come to zero.

    Not all of it need do so at one step, and some of it may have been zero by chance before.
    """
    states = loss.values[:, :, _STATE]
    asked = np.flatnonzero(states[-1] != State.ABSENT) if len(states) else np.zeros(0, int)
    other = np.flatnonzero((states[:, asked] != State.ZERO).any(axis=1))
    since = int(other[-1]) + 1 if len(other) else 0
    if not spans or since >= len(states):
        return None
    span = Span(int(loss.steps[since]), int(loss.steps[-1]), "from", len(states) - since)
    late = [one for one in spans.values() if not _is_earlier(loss, one, span, thresholds)]
    if not late:
        return None
    if not since:
        span = max(late, key=lambda one: one.count)
    return asked.tolist(), span


def _is_earlier(loss: LossHistory, one: Span, other: Span, thresholds: Thresholds) -> bool:
    """Tells whether one was zero long before the other, so that it is a thing of its own."""
    between = (loss.steps >= one.first) & (loss.steps < other.first)
    return int(np.count_nonzero(between)) >= thresholds.zero_records


def _finding(run: RunHistory, zeros: Zeros, thresholds: Thresholds) -> Finding:
    loss, span = zeros.loss, zeros.span
    names = names_of(run, loss, zeros.columns)
    asked = zeros.asked
    reason, advice = zero_reasons.of(zeros)
    text = f"The gradient of {words.loss_name(loss)} for "
    text += f"all {asked} variables" if zeros.is_whole and asked > 1 else words.named(names)
    return Finding(
        kind="zero",
        severity=_severity(zeros, thresholds),
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=span,
        message=f"{text} is exactly zero {words.when(span)}{reason}.",
        advice=advice,
        where=where(loss.where),
        evidence={
            **thresholds.evidence("zero_records"),
            "records": span.count,
            "loss": zeros.value,
        },
    )


def _severity(zeros: Zeros, thresholds: Thresholds) -> Severity:
    lasting = zeros.span.count >= thresholds.zero_records
    if zeros.is_whole:
        is_nothing = zeros.value == 0 and zeros.is_constant
        fell = zeros.span.pattern == "from"
        harmless = is_nothing and (fell or bool(zeros.loss.part_of) or not lasting)
    else:
        harmless = zeros.cancel_out or (
            not lasting and (zeros.opens if zeros.behind else not zeros.has_dead_layer)
        )
    return "info" if harmless else "warning"


def _has_died(loss: LossHistory, column: int, count: int, thresholds: Thresholds) -> bool:
    """Tells whether these last zeros are no chance, though it was zero now and then before.

    What was alive in half of the records before is zero in twenty in a row by chance
    once in a million times.
    """
    states = loss.values[:, column, _STATE]
    before = states[states != State.ABSENT][:-count]
    enough = count >= 2 * thresholds.zero_records and len(before) >= thresholds.min_records
    return enough and float(np.mean(before == State.ZERO)) <= 0.5


def _last(loss: LossHistory, column: int) -> int:
    """Returns in how many of the last records in a row the variable was zero."""
    states = loss.values[:, column, _STATE]
    states = states[states != State.ABSENT]
    other = np.flatnonzero(states != State.ZERO)
    return len(states) - (int(other[-1]) + 1 if len(other) else 0)
