"""`nan` and `inf` that a loss scale hides: step after step is left out, for ever.

Seen: steps that an optimizer with a loss scale left out though the scale cannot be
to blame: it was 1 or less already, or the loss itself was NaN (an overflow makes
Inf), and this up to the last record; since the first that was left out in that row.

Usually: NaN in the data, or a logarithm, division or root without an epsilon. The
optimizer takes it for an overflow, halves its scale and goes on; no weight ever
changes again, and no NaN is ever shown.

Try: look at what the loss is computed from at the first of these steps.

Where training has gone on since, or no more than two such steps are the last ones, it
is only said: the step that was left out has kept the weights whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Kind, Pattern, Span, where
from tb_gradscope.diagnose.norms import Mask, names_of
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import State, Statistic

_SURE = 3  # steps in a row: what is left of a scale that was far too high is halved away
_AT_LAST = (
    "Look for NaN in the data, or for a log, a division or a sqrt at zero in the loss; "
    "tf.debugging.enable_check_numerics() names the operation."
)
_IN_PASSING = "Nothing is to be done if it stays at that. Else look for NaN in the data."


def left_out(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields losses whose steps are left out as overflows that are none."""
    for loss in run.losses:
        blamed = _blamed(loss)
        if blamed.any():
            yield _finding(run, loss, blamed)


def _blamed(loss: LossHistory) -> Mask:
    """Tells which records were left out for something that no smaller scale mends."""
    skipped: Mask = np.isin(loss.steps, loss.skipped_steps)
    is_nan = np.isnan(loss.loss_values) & bool(np.isfinite(loss.loss_values).any())
    return skipped & (is_nan | (loss.loss_scales <= 1))


def _finding(run: RunHistory, loss: LossHistory, blamed: Mask) -> Finding:
    at = np.flatnonzero(blamed)
    kept = np.flatnonzero(~np.isin(loss.steps, loss.skipped_steps))
    begin = int(kept[-1]) + 1 if len(kept) else 0
    # What was left out before the scale was low was no overflow either: it has not helped.
    for_good = int(blamed[begin:].sum()) >= _SURE
    records = np.arange(begin, len(blamed)) if for_good else at
    states = loss.values[records[0], :, Statistic.STATE]
    is_nan = bool((states == State.NAN).any())
    kind: Kind = "nan" if is_nan else "inf"
    columns = np.flatnonzero(states == (State.NAN if is_nan else State.INF)).tolist()
    pattern: Pattern = "once" if len(records) == 1 else "intermittent"
    if for_good:
        pattern = "from" if begin else "all"
    steps = loss.steps[records]
    span = Span(int(steps[0]), int(steps[-1]), pattern, len(records))
    word = words.amount(np.nan if is_nan else np.inf)
    value, scale = float(loss.loss_values[at[-1]]), float(loss.loss_scales[at[-1]])
    reason = f"the scale {'is' if for_good else 'was'} {words.amount(scale)} already"
    if np.isnan(value):
        reason = f"the loss itself {'is' if for_good else 'was'} NaN"
    return Finding(
        kind=kind,
        severity="error" if for_good else "info",
        loss=loss.name,
        label=loss.label,
        variables=names_of(run, loss, columns),
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} {'is' if for_good else 'was'} {word} "
            f"{words.when(span)}, and the optimizer {'leaves' if for_good else 'left'} "
            f"{'each step' if for_good else 'that'} out as an overflow of its loss scale; but "
            f"{reason}{_since(loss, span, for_good)}."
        ),
        advice=_AT_LAST if for_good else _IN_PASSING,
        where=where((np.isnan(value) and loss.computed) or loss.where),
        evidence={"threshold": None, "loss": words.amount(value), "loss_scale": scale},
    )


def _since(loss: LossHistory, span: Span, for_good: bool) -> str:
    """Says what has come of it."""
    if for_good:
        return ", so no weight changes any more"
    goes_on = span.last < loss.steps[-1]
    return ". Training has gone on since" if goes_on else ". No later record shows how it went on"
