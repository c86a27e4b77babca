"""`zero`: gradients that are nothing but exact zeros, and stay so.

Seen: every element exactly 0, in all records or from some step on.

Usually: a layer whose ReLUs all died, a weight of zero behind it through which
nothing flows back (a symmetric start), an output that is clipped, rounded or
masked, or a hinge-like loss that is already satisfied.

Try: a smaller learning rate or leaky activations for dead units, another
initialiser for weights that start at zero, and a look at masks and `tf.maximum`.

A bias alone whose layer learns is only said: what is the same for all examples may
cancel out by mathematics.

A zero in the first few records only (a branch that starts at zero), or now and
then (a batch without such examples), is healthy and not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Severity, Span, where
from tb_gradscope.diagnose.norms import names_of
from tb_gradscope.diagnose.roles import role
from tb_gradscope.diagnose.spans import spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import State, Statistic

_SURE = 5  # records from which on a branch that starts at zero would have left it


def zero(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields groups of variables whose gradients are zero for good."""
    for loss in run.losses:
        groups: dict[tuple[int, str], list[tuple[int, Span]]] = {}
        for column, span in spans_in(loss, State.ZERO).items():
            if span.pattern not in ("all", "from"):
                continue
            if _last(loss, column, State.ZERO) >= thresholds.min_records:
                groups.setdefault((span.first, span.pattern), []).append((column, span))
        for found in groups.values():
            columns = [column for column, _ in found]
            span = max((span for _, span in found), key=lambda span: span.count)
            yield _finding(run, loss, columns, span)


def _finding(run: RunHistory, loss: LossHistory, columns: list[int], span: Span) -> Finding:
    names = names_of(run, loss, columns)
    asked = int(np.count_nonzero(loss.values[-1, :, Statistic.STATE] != State.ABSENT))
    whole = len(columns) == asked
    behind = _zero_kernels(run, loss, columns) if span.pattern == "all" else []
    severity: Severity = "warning"
    if (behind and span.count < _SURE) or (not whole and _by_mathematics(run, loss, columns)):
        severity = "info"
    reason, advice = _reason(run, loss, columns, behind, whole)
    text = f"The gradient of {words.loss_name(loss)} for "
    text += f"all {asked} variables" if whole and asked > 1 else words.named(names)
    return Finding(
        kind="zero",
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=span,
        message=f"{text} is exactly zero {words.when(span)}{reason}.",
        advice=advice,
        where=where(loss.where),
        evidence={"threshold": None, "records": span.count},
    )


def _reason(
    run: RunHistory, loss: LossHistory, columns: list[int], behind: list[str], whole: bool
) -> tuple[str, str]:
    """Returns what the pattern shows, and what to try."""
    if behind:
        return (
            f": {words.named(behind)} is all zero, so nothing flows back through it",
            "Start that kernel with random numbers (glorot_uniform) rather than zeros.",
        )
    if whole:
        return (
            ": the loss has no slope at all",
            "Look for a clip, round, mask or tf.maximum that the whole loss goes through, and "
            "whether its condition is always met.",
        )
    last = run.variables[loss.variables[max(columns)]]
    layer = f"{last.layer}: " if last.layer else ""
    return (
        f": nothing flows back past {last.layer or last.name}",
        f"{layer}look at the activation behind it (dead ReLUs: a smaller learning rate, "
        "leaky_relu, a bias above zero), or at a mask or multiplication by zero.",
    )


def _zero_kernels(run: RunHistory, loss: LossHistory, columns: list[int]) -> list[str]:
    """Names kernels that are all zero and may stand between these variables and the loss."""
    norms = loss.values[-1, :, Statistic.VARIABLE_NORM]
    return [
        run.variables[loss.variables[column]].name
        for column in range(max(columns), len(loss.variables))
        if norms[column] == 0 and len(run.variables[loss.variables[column]].shape) >= 2
    ]


def _by_mathematics(run: RunHistory, loss: LossHistory, columns: list[int]) -> bool:
    """Tells whether these are biases and gains of layers whose kernels do learn.

    What is the same for all examples may cancel out: the last bias of a critic
    whose loss is a difference of means, or one in front of a normalisation.
    """
    zeros = {int(loss.variables[column]) for column in columns}
    if any(role(run.variables[position]) not in ("bias", "normalization") for position in zeros):
        return False
    layers = {run.variables[position].layer for position in zeros}
    alive = {
        run.variables[position].layer
        for position in loss.variables.tolist()
        if position not in zeros
    }
    return layers <= alive


def _last(loss: LossHistory, column: int, state: State) -> int:
    """Returns in how many of the last records in a row the variable was in a state."""
    states = loss.values[:, column, Statistic.STATE]
    states = states[states != State.ABSENT]
    other = np.flatnonzero(states != state)
    return len(states) - (int(other[-1]) + 1 if len(other) else 0)
