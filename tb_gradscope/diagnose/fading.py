"""`vanishing` over time: gradients that fade to nothing while the loss does not fall.

Seen: the gradients of all kernels are a thousandth (`vanishing`) of what they were when
they were largest, and the loss is not at half of what it was then. With batches that
differ this is no convergence: where the errors are as large as ever and vary from batch
to batch, the gradients can only be so small if nothing flows back from those errors.

Usually: a sigmoid or softmax that was driven to its limit on the wrong side, weight
decay that has eaten up the weights, or a generator whose discriminator has won
(Arjovsky and Bottou, arXiv 1701.04862).

Try: a loss of the logits (`from_logits`), less weight decay, a smaller learning rate
before it happens; for GANs the loss that does not saturate.

Only said, no warning, where it may be convergence all the same: all steps have one
and the same batch and the loss stays where it was (nothing was to be learned), or a
loss below zero rises towards zero (rewards for which nothing is left to be done).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Severity, Span, where
from tb_gradscope.diagnose.norms import Norms, Values, deviation, log10, median, names_of
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import RunHistory

_FALLEN = 0.5  # of what the loss was
_LIVELY = 0.01  # of how much it varied from batch to batch; learned errors fall like gradients
_NOISE = 1e-5  # of the loss itself, what rounding cannot do
_RISEN = 3.0  # deviations


def fading(
    run: RunHistory, norms: Norms, columns: list[int], thresholds: Thresholds
) -> Iterator[Finding]:
    """Yields a loss whose gradients have faded.

    Args:
      run: of the loss.
      norms: of the loss.
      columns: of its kernels.
      thresholds: what numbers are compared with.
    """
    loss, regular = norms.loss, norms.regular
    steps, values = loss.steps[regular], loss.loss_values[regular].astype(np.float64)
    if not columns:
        return
    table = norms.norms[regular][:, columns]
    few, part = thresholds.min_records, max(thresholds.min_records, len(steps) // 5)
    if len(steps) < few + part:
        return
    whole = np.sqrt((np.nan_to_num(table) ** 2).sum(axis=1))
    begin, late = int(np.argmax(whole[: len(whole) - part])), slice(-part, None)
    logs = log10(table)
    fall = float(np.min(logs[begin] - median(logs[late])))
    # What is exactly zero by now is another kind of finding.
    if not median(table[late]).all() or not fall >= np.log10(thresholds.vanishing):
        return
    severity = _severity(values[begin : begin + few], values[late])
    if severity is None:
        return
    norm_before, norm_after = float(whole[begin]), float(np.median(whole[late]))
    above = np.flatnonzero(whole >= norm_before / thresholds.vanishing)
    onset = min(int(above[-1]) + 1, len(steps) - part)
    span = Span(int(steps[onset]), int(steps[-1]), "from", len(steps) - onset)
    before, after = float(values[begin]), float(np.median(values[late]))
    yield Finding(
        kind="vanishing",
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=names_of(run, loss, columns),
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} fades while the loss does not fall: its norm "
            f"went from {words.amount(norm_before)} to {words.amount(norm_after)}, the loss from "
            f"{words.amount(before)} to {words.amount(after)}."
        ),
        advice=(
            "Look for a sigmoid, tanh or softmax that has saturated on the wrong side (use the "
            "from_logits form of the loss), or for weight decay that shrinks all weights away."
            if severity == "warning"
            else "Fine if there is nothing left to learn. Else look for a saturated output."
        ),
        where=where(loss.where),
        evidence={
            **thresholds.evidence("vanishing"),
            "ratio": float(10**fall),
            "loss_before": before,
            "loss": after,
        },
    )


def _severity(before: Values, after: Values) -> Severity | None:
    """Tells vanishing from convergence by the loss; None for convergence.

    Args:
      before: from the largest gradient on.
      after: the last ones.
    """
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    first, last = float(before[0]), float(np.median(after))
    if last < first - _FALLEN * abs(first):
        return None
    spread, spread_before = deviation(after), deviation(before)
    if first < 0 and last > _FALLEN * first:
        return "info"
    has_risen = last - first >= max(_FALLEN * abs(first), _RISEN * spread_before)
    is_lively = spread >= max(_LIVELY * spread_before, _NOISE * abs(last))
    if has_risen or is_lively:
        return "warning"
    # What varied and does not any more has been learned; what never did shows nothing.
    return "info" if spread_before <= _NOISE * abs(first) else None
