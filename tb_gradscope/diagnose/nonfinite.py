"""`nan` and `inf`: gradients that are no numbers any more.

Seen: the first step with a NaN or Inf, and which variables had it: of those, the
last in the order of the forward pass is the first that the backward pass reached.

Usually: a logarithm or a division by zero, a square root at zero (its slope is
infinite), an overflow of float16, or weights that an earlier explosion ruined.

Try: an epsilon inside the logarithm, division or root; the `from_logits` form
of the loss; `tf.debugging.enable_check_numerics()` for the operation itself; for
float16 a loss scale.

Not a fault, and not reported: steps that an optimizer with a loss scale left out
because the scale had overflowed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Kind, Severity, Span, where
from tb_gradscope.diagnose.norms import Mask
from tb_gradscope.diagnose.spans import state_span
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.record import COUNTED, is_absent
from tb_gradscope.format.statistics import State, Statistic

_STATES: tuple[tuple[State, Kind, str], ...] = (
    (State.NAN, "nan", "NaN"),
    (State.INF, "inf", "Inf"),
)


def nonfinite(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields losses whose gradients held NaN or Inf: one finding for each, of the first to come."""
    for loss in run.losses:
        found = [
            (column, state, span)
            for column in range(len(loss.variables))
            for state, _, _ in _STATES
            if (span := state_span(loss, column, state)) is not None
        ]
        if found and not _overflowed(run, loss):
            yield _finding(run, loss, found)


def _finding(run: RunHistory, loss: LossHistory, found: list[tuple[int, State, Span]]) -> Finding:
    onset = min(span.first for _, _, span in found)
    first = [(column, state) for column, state, span in found if span.first == onset]
    columns = sorted({column for column, _ in first})
    # Inf becomes NaN on its way; where one step has both, Inf came first.
    state = State.INF if any(state == State.INF for _, state in first) else State.NAN
    kind, word = next((kind, word) for each, kind, word in _STATES if each == state)
    last = max(span.last for _, _, span in found)
    span = _span(loss, found, onset, last)
    names = [run.variables[loss.variables[column]].name for column in columns]
    finite = [
        run.variables[position].name
        for column, position in enumerate(loss.variables)
        if column not in columns and loss.asked[column]
    ]
    severity: Severity = "error" if span.pattern in ("all", "from") else "warning"
    reached = names[-1]
    exact = loss.watched or loss.records == (loss.calls[-1] if len(loss.calls) else 0)
    what = f"{'first ' if exact else ''}{word} {'' if exact else 'seen '}"
    text = f"The gradient of {words.loss_name(loss)} is not finite: {what}at step {onset}"
    if finite:
        text += f", in {words.named(names)}; the other {len(finite)} were finite"
    else:
        text += f", in all {len(names)} variables" if len(names) > 1 else f", in {names[0]}"
    text += {
        "all": ", and in every record.",
        "from": ", and ever since.",
        "once": ", and in no other record.",
        "intermittent": f", in {span.count} records in all, the last at step {last}.",
    }[span.pattern]
    spread = _spread(run, onset)
    return Finding(
        kind=kind,
        severity=severity,
        loss=loss.name,
        variables=tuple(names),
        span=span,
        message=text + (f" {spread}" if spread else ""),
        advice=_advice(loss, reached, bool(finite), word),
        where=where(loss.where),
        evidence={
            "threshold": None,
            "first_in_backward_order": reached,
            "nan_count": _count(loss, columns, onset, Statistic.NAN_COUNT),
            "inf_count": _count(loss, columns, onset, Statistic.INF_COUNT),
        },
    )


def _span(loss: LossHistory, found: list[tuple[int, State, Span]], onset: int, last: int) -> Span:
    """Returns when any variable was not finite."""
    broken = _broken(loss)
    columns = [COUNTED.index(State.NAN), COUNTED.index(State.INF)]
    count = int(loss.state_counts[:, columns].sum(axis=1).max())
    if count >= loss.records:
        return Span(onset, last, "all", count)
    after = broken[loss.steps >= onset]
    # A last record alone that is broken may be the beginning of the end.
    if bool(after.size) and bool(after.all()):
        return Span(onset, last, "from", count)
    return Span(onset, last, "once" if count == 1 else "intermittent", count)


def _broken(loss: LossHistory) -> Mask:
    """Tells which records held NaN or Inf."""
    states = loss.values[:, :, Statistic.STATE]
    return np.any(np.isin(states, (State.NAN, State.INF)), axis=1)  # type: ignore[no-any-return]


def _overflowed(run: RunHistory, loss: LossHistory) -> bool:
    """Tells whether all that was not finite are steps left out for their loss scale."""
    if loss.label.stage != "unscaled":
        return False
    broken = _broken(loss)
    skipped = [len(one.skipped_steps) or int(one.skipped[-1:].sum()) for one in run.optimizers]
    if any(skipped):
        # An overflow halves the scale; a fault keeps coming back whatever the scale.
        return not broken[-3:].all() or len(broken) < 3
    return False


def _spread(run: RunHistory, onset: int) -> str:
    """Says whether clipping carried it from some gradients into all."""
    for clip in run.clips:
        at = np.flatnonzero(clip.steps == onset)
        if not len(at) or clip.method != "global_norm":
            continue
        before, after = clip.norms[at[0], :, 0], clip.norms[at[0], :, 1]
        there = ~is_absent(before)
        broken = there & ~np.isfinite(before)
        if 0 < broken.sum() < there.sum() and not np.isfinite(after[there]).any():
            culprits = [clip.variables[row] for row in np.flatnonzero(broken)]
            return (
                f"{clip.name} spread it to all {int(there.sum())} gradients: only "
                f"{words.named(culprits)} had it before."
            )
    return ""


def _count(loss: LossHistory, columns: list[int], step: int, statistic: Statistic) -> int | None:
    at = np.flatnonzero(loss.steps == step)
    if not len(at):
        return None
    return int(np.nan_to_num(loss.values[at[0], columns, statistic]).sum())


def _advice(loss: LossHistory, reached: str, some_finite: bool, word: str) -> str:
    if some_finite:
        return (
            f"Look at what stands between {reached} and the loss: a log, a division, a sqrt or a "
            "power at zero; tf.debugging.enable_check_numerics() names the operation."
        )
    return (
        f"All are {word} at once, so look at the loss itself: a log, a division or a sqrt at "
        "zero, or NaN in the data; tf.debugging.enable_check_numerics() names the operation."
    )
