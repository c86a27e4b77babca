"""`nan` and `inf` that a loss scale hides: step after step is left out, for ever.

Seen: steps that an optimizer with a loss scale left out though the scale cannot be
to blame: it was 1 or less already, or the loss itself was NaN (an overflow makes
Inf), and this up to the last record.

Usually: NaN in the data, or a logarithm, division or root without an epsilon. The
optimizer takes it for an overflow, halves its scale and goes on; no weight ever
changes again, and no NaN is ever shown.

Try: look at what the loss is computed from at the first of these steps.

Where training has gone on since, it is only said: the step that was left out has
kept the weights whole.
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
    good = np.flatnonzero(~blamed)
    begin = int(good[-1]) + 1 if len(good) else 0
    for_good = begin < len(blamed)
    at = np.flatnonzero(blamed)
    first = begin if for_good else int(at[0])
    states = loss.values[first, :, Statistic.STATE]
    is_nan = bool((states == State.NAN).any())
    kind: Kind = "nan" if is_nan else "inf"
    columns = np.flatnonzero(states == (State.NAN if is_nan else State.INF)).tolist()
    count = len(blamed) - begin if for_good else len(at)
    pattern: Pattern = "all" if for_good and not begin else "from" if for_good else "intermittent"
    if len(at) == 1 and not for_good:
        pattern = "once"
    span = Span(int(loss.steps[first]), int(loss.steps[at[-1]]), pattern, count)
    word = words.amount(np.nan if is_nan else np.inf)
    value, scale = float(loss.loss_values[first]), float(loss.loss_scales[first])
    reason = "the loss itself is NaN" if np.isnan(value) else f"the scale is {scale:g} already"
    so_what = "no weight changes any more" if for_good else "training has gone on since"
    return Finding(
        kind=kind,
        severity="error" if for_good and count > 1 else "info",
        loss=loss.name,
        label=loss.label,
        variables=names_of(run, loss, columns),
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} is {word} {words.when(span)}, and "
            f"the optimizer leaves the step out as an overflow of its "
            f"loss scale; but {reason}, so {so_what}."
        ),
        advice=(
            "Look for NaN in the data, or for a log, a division or a sqrt at zero in the loss; "
            "tf.debugging.enable_check_numerics() names the operation."
        ),
        where=where((np.isnan(value) and loss.computed) or loss.where),
        evidence={"threshold": None, "loss": words.amount(value), "loss_scale": scale},
    )
