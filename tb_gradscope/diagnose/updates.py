"""`update_ratio`: updates far too large or too small for the variable.

Seen: for each kernel, the L2 norm of what the optimizer added to the norm of the
kernel itself. A thousandth is a rule of thumb (Stanford CS231n, "Ratio of
weights:updates").

Or: each of the first updates of all kernels larger than the kernel was, and larger than
a well-initialised one would be. Later the ratio is small again, since such weights
are too large to be moved.

Usually: a learning rate that is off by orders of magnitude; far too small also
where the gradient vanishes, or a schedule that has reached zero.

Try: a learning rate that brings the ratio near 1e-3.

Far too small is a warning where it has been so in every record and the learning rate
is one and the same: no step ever moved anything, and none will. Where the rate
changes (warm-up, decay to zero) or updates were larger once, it is only said.

Kernels only: biases and gains start at zero, where any update is infinitely large.
Steps that the optimizer left out do not count, nor records in which large variables
were not measured.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, where
from tb_gradscope.diagnose.norms import Mask, Values, median, unmeasured
from tb_gradscope.diagnose.roles import role
from tb_gradscope.diagnose.spans import span_of
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import OptimizerHistory, RunHistory, Steps, Variable
from tb_gradscope.format.statistics import Statistic

_MOSTLY = 0.8
_BEGIN = 3  # records in which a rate that is far too high has done its work
_SMALL_START = 0.1  # of the norm of a well-initialised kernel
_FIRST = 10  # records: Adam's first updates are its largest, before its averages differ
_LEAVES = 20  # records in which such a kernel leaves its start
_SURE = 10  # records after which a constant rate is no part of a warm-up


def update_ratio(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields optimizers whose updates do not fit the variables."""
    for optimizer in run.optimizers:
        columns = [
            column
            for column, position in enumerate(optimizer.variables)
            if role(run.variables[position]) in ("kernel", "recurrent", "attention")
        ]
        if not columns:
            continue
        weights = optimizer.values[:, columns, Statistic.VARIABLE_NORM].astype(np.float64)
        updates = optimizer.update_norms[:, columns].astype(np.float64)
        applied = np.nan_to_num(updates).any(axis=1) | _stands_still(optimizer, columns)
        applied &= ~unmeasured(optimizer.values[:, columns]).any(axis=1)
        steps = optimizer.steps[applied]
        if len(steps) < thresholds.min_records:
            continue
        ratios = np.where(weights > 0, updates / np.where(weights > 0, weights, 1), np.nan)[applied]
        settled = max(1, len(ratios) // 10)
        many = len(ratios) >= _LEAVES
        names = [run.variables[optimizer.variables[column]].name for column in columns]
        large, small = ratios > thresholds.update_large, ratios < thresholds.update_small
        full = np.array([_full_size(run.variables[optimizer.variables[c]]) for c in columns])
        starts_small = weights[applied][0] < _SMALL_START * full
        begins = (updates[applied] > np.maximum(weights[applied][:1], full))[:_BEGIN].all()
        for is_large, mask in ((True, large), (False, small)):
            often = _often(
                mask[_FIRST if is_large and many else settled :], starts_small & is_large
            )
            if is_large and begins and not often.any():
                mask, often = large[:_BEGIN] | True, often | True
            if often.any() if is_large else often.all():
                at = slice(len(mask))
                one = _finding(
                    optimizer, steps[at], ratios[at], mask, often, names, is_large, thresholds
                )
                is_early = is_large and not begins and not many
                yield dataclasses.replace(one, severity="info") if is_early else one


def _stands_still(optimizer: OptimizerHistory, columns: list[int]) -> bool:
    """Tells whether all updates are exactly zero though there is a gradient and a learning rate.

    float32 cannot tell a number from one that is less than 6e-8 of it larger.
    """
    gradients = np.nan_to_num(optimizer.values[:, columns, Statistic.NORM])
    return bool(
        len(optimizer.steps)
        and not np.nan_to_num(optimizer.update_norms[:, columns]).any()
        and gradients.any(axis=1).all()
        and (optimizer.learning_rates > 0).all()
        and optimizer.applied[-1] >= len(optimizer.steps)
    )


def _often(mask: Mask, starts_small: Mask) -> Mask:
    """Tells which kernels are so most of the time.

    Of those that start at or near zero, after what it takes to leave that: the k-th
    of equal updates is a k-th of the norm.
    """
    late = mask[_LEAVES:]
    after: Mask = late.mean(axis=0) >= _MOSTLY if len(late) else np.zeros(mask.shape[1], bool)
    often: Mask = mask.mean(axis=0) >= _MOSTLY
    return np.where(starts_small, after, often)


def _full_size(variable: Variable) -> float:
    """Returns the norm of a kernel that keeps the variance of what passes it (Glorot, He)."""
    return math.sqrt(max(1, abs(variable.shape[-1])))


def _finding(
    optimizer: OptimizerHistory,
    steps: Steps,
    ratios: Values,
    mask: Mask,
    often: Mask,
    names: list[str],
    is_large: bool,
    thresholds: Thresholds,
) -> Finding:
    found = tuple(name for name, here in zip(names, often, strict=True) if here)
    typical = median(ratios)
    worst = int(np.nanargmax(np.where(often, typical if is_large else -typical, np.nan)))
    span = span_of(steps, np.any(mask[:, often], axis=1))
    word = "large" if is_large else "small"
    rates = optimizer.learning_rates.astype(np.float64)
    rate = float(median(rates))
    is_steady = len(steps) >= _SURE and bool(mask.all()) and float(np.ptp(rates)) == 0
    when = "in the first steps" if len(steps) == _BEGIN else words.when(span)
    text = (
        f"The updates of {optimizer.name} are far too {word} {when}: that of "
        f"{names[worst]} is {words.amount(float(typical[worst]))} of the variable's norm, 1e-3 is "
        "usual"
    )
    if len(found) > 1:
        text += f"; so for {len(found)} kernels of {len(names)}"
    advice = f"{'Lower' if is_large else 'Raise'} the learning rate"
    if np.isfinite(rate):
        advice += f", now {words.amount(rate)}"
    return Finding(
        kind="update_ratio",
        severity="warning" if is_large or is_steady else "info",
        loss=None,
        variables=found,
        span=span,
        message=text + ".",
        advice=advice + ", until the ratio is near 1e-3.",
        where=where(optimizer.where),
        evidence={
            **thresholds.evidence("update_large" if is_large else "update_small"),
            "optimizer": optimizer.name,
            "ratio": float(typical[worst]),
            "learning_rate": rate if np.isfinite(rate) else None,
        },
    )
