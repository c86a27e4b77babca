"""`nan` and `inf` that a loss scale hides: step after step is left out, for ever.

Seen: steps that an optimizer with a loss scale left out though the scale cannot be
to blame: it was 1 or less already, the loss itself was NaN (an overflow makes Inf), or
the scale has fallen a thousandfold since the last step that was taken; and this up to
the last record; since the first that was left out in that row.

Usually: NaN in the data, or a logarithm, division or root without an epsilon. The
optimizer takes it for an overflow, halves its scale and goes on; no weight ever
changes again, and no NaN is ever shown.

Try: look at what the loss is computed from at the first of these steps.

A warning where the last record is one of them, be they few: what was watched would have
been recorded when it ended, so training has ended there or is stuck. Also where training
goes on, but has lost many steps by it. Else it is only said: the step that was left out
has kept the weights whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Kind, Pattern, Severity, Span, where
from tb_gradscope.diagnose.norms import Mask, names_of
from tb_gradscope.diagnose.ruined import sees_every_call
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory, Steps
from tb_gradscope.format.statistics import State, Statistic

_SURE = 3  # steps in a row: what is left of a scale that was far too high is halved away
_OFTEN = 0.05  # of the steps, from the first to the last of them
_FALLEN = 1024  # times: ten halvings of a scale that was right before
_LOOK = (
    "Look for NaN in the data, or for a log, a division or a sqrt at zero in the loss; "
    "tf.debugging.enable_check_numerics() names the operation."
)
_AT_LAST = (
    "If training ended there, no more than these steps were lost; else it is stuck, and no weight "
    "changes any more. Look for NaN in the data, or for a log, a division or a sqrt at zero in the "
    "loss; if the loss had grown before, lower the learning rate."
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
    return skipped & (is_nan | (loss.loss_scales <= 1) | _fallen(loss, skipped))


def _fallen(loss: LossHistory, skipped: Mask) -> Mask:
    """Tells which of the last records show a scale far below that of the last step taken."""
    kept = np.flatnonzero(~skipped)
    fallen = np.zeros(len(skipped), bool)
    if len(kept):
        since = slice(int(kept[-1]) + 1, None)
        fallen[since] = loss.loss_scales[kept[-1]] >= _FALLEN * loss.loss_scales[since]
    return fallen


def _finding(run: RunHistory, loss: LossHistory, blamed: Mask) -> Finding:
    at = np.flatnonzero(blamed)
    kept = np.flatnonzero(~np.isin(loss.steps, loss.skipped_steps))
    begin = int(kept[-1]) + 1 if len(kept) else 0
    # What was left out before the scale was low was no overflow either: it has not helped.
    for_good, at_last = int(blamed[begin:].sum()) >= _SURE, bool(blamed[-1])
    records = np.arange(begin, len(blamed)) if for_good or at_last else at
    states = loss.values[records[0], :, Statistic.STATE]
    is_nan = bool((states == State.NAN).any())
    kind: Kind = "nan" if is_nan else "inf"
    columns = np.flatnonzero(states == (State.NAN if is_nan else State.INF)).tolist()
    pattern: Pattern = "once" if len(records) == 1 else "intermittent"
    if for_good:
        pattern = "from" if begin else "all"
    steps = loss.steps[records]
    span = Span(int(steps[0]), int(steps[-1]), pattern, len(records))
    lost = "" if for_good or at_last else _lost(loss, at)
    severity: Severity = "warning" if lost or (at_last and sees_every_call(loss)) else "info"
    gradient = f"The gradient of {words.loss_name(loss)} {'is' if for_good else 'was'} "
    gradient += words.amount(np.nan if is_nan else np.inf)
    reason = _reason(loss, int(at[-1]), begin, "is" if for_good else "was")
    if for_good:
        text = (
            f"{gradient} {words.when(span)}, and the optimizer leaves each step out as an overflow "
            f"of its loss scale; but {reason}, so no weight changes any more."
        )
    elif at_last:
        when = f"at step {span.first}" if span.count == 1 else words.when(span)
        text = (
            f"{gradient} {when}, and no record since shows it finite again. The optimizer left "
            f"that out as an overflow of its loss scale; but {reason}."
        )
    else:
        text = (
            f"{gradient} {words.when(span)}, and the optimizer left that out as an overflow of its "
            f"loss scale; but {reason}. {lost}Training has gone on since."
        )
    value, scale = float(loss.loss_values[at[-1]]), float(loss.loss_scales[at[-1]])
    return Finding(
        kind=kind,
        severity="error" if for_good else severity,
        loss=loss.name,
        label=loss.label,
        variables=names_of(run, loss, columns),
        span=span,
        message=text,
        advice=_LOOK if for_good or lost else _AT_LAST if at_last else _IN_PASSING,
        where=where((np.isnan(value) and loss.computed) or loss.where),
        evidence={"threshold": None, "loss": words.amount(value), "loss_scale": scale},
    )


def _reason(loss: LossHistory, record: int, begin: int, be: str) -> str:
    """Says why the scale cannot be to blame."""
    scale = float(loss.loss_scales[record])
    if np.isnan(loss.loss_values[record]):
        return f"the loss itself {be} NaN"
    if scale <= 1:
        return f"the scale {be} {words.amount(scale)} already"
    before = float(loss.loss_scales[begin - 1])
    return f"the scale has fallen from {before:g} to {scale:g} since the last step that it took"


def _lost(loss: LossHistory, at: Steps) -> str:
    """Says how many steps were lost, if they are many; "" if not."""
    counted = loss.calls if sees_every_call(loss) else np.arange(len(loss.steps))
    calls = int(counted[at[-1]] - counted[at[0]]) + 1
    if len(at) < _SURE or len(at) < _OFTEN * calls:
        return ""
    what = "calls" if sees_every_call(loss) else "records"
    first, last = (float(loss.loss_scales[record]) for record in (at[0], at[-1]))
    fallen = f", and the scale has fallen from {first:g} to {last:g}" if last < first else ""
    return f"So {len(at)} of {calls} {what} were lost{fallen}. "
