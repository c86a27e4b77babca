"""`conflict` and `domination`: two losses that pull one variable in different ways.

Seen: for each pair of losses the cosine of their gradients over all variables
that they share, and the ratio of the two norms there.

A negative cosine alone is no fault (PCGrad, arXiv 2001.06782): two losses in
balance must oppose each other, and where their sum has reached its minimum the
cosine is -1. It is a warning where it is strongly negative from the first records
on, while both losses matter in size.

Of domination the smaller loss says nothing: with a thousandth of the other's norm
it takes no part in what the shared variables learn.

Neither is a warning in the first records, where a loss may still start at its
minimum (a divergence, a penalty), nor domination that is over in the second half, nor
that of a penalty: weight decay, told by a gradient that is the variables themselves
times one number, and what the layers of a Keras model add. These are meant to be small.

Try: weights that bring the norms within a factor of ten (GradNorm, arXiv
1711.02257), separate heads or optimizers, or projecting one gradient off the other
(PCGrad).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Severity, where
from tb_gradscope.diagnose.norms import Mask, Values, median
from tb_gradscope.diagnose.spans import span_of
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import (
    PENALTIES,
    CosineHistory,
    LossHistory,
    RunHistory,
    Steps,
    identity,
)
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic

_MATTERS = 0.1  # ratio of norms from which on a conflict can change anything
_STRONG = -0.7
_SURE = 20  # records: a divergence or penalty that starts at its minimum has grown by then
_SAME = 0.01  # how far one number may stray, that gradients are of their variables


def balance(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields pairs of losses in conflict, and losses that dominate others."""
    losses = {(loss.name, identity(loss.label)): loss for loss in run.losses}
    for pair in run.cosines:
        one, other = (losses.get((name, identity(pair.label))) for name in pair.losses)
        if one is None or other is None or len(pair.steps) < thresholds.min_records:
            continue
        shared = _Shared(run, pair, one, other)
        if len(shared.steps) >= thresholds.min_records:
            yield from _conflict(shared, thresholds)
            yield from _domination(shared, thresholds)


class _Shared:
    """Two losses on the variables they share, at the steps that have both.

    Steps at which a cosine was not measured are left out: the other variables
    would stand for the whole.

    Attributes:
      steps: int64 `[record]`.
      norms: float64 `[2, record, variable]`.
      cosines: float64 `[record, variable]`.
      names: of the variables.
    """

    def __init__(
        self, run: RunHistory, pair: CosineHistory, one: LossHistory, other: LossHistory
    ) -> None:
        self.losses = (one, other)
        common = np.intersect1d(np.intersect1d(one.steps, other.steps), pair.steps)
        positions = [
            position
            for position in pair.variables.tolist()
            if position in one.variables and position in other.variables
        ]
        self.names = tuple(run.variables[position].name for position in positions)
        columns = [pair.variables.tolist().index(position) for position in positions]
        states = np.stack([_at(Statistic.STATE, loss, common, positions) for loss in self.losses])
        common = common[~_unmeasured(pair, common, columns, states).any(axis=1)]
        self.steps = common
        self.norms, weights = (
            np.stack([_at(statistic, loss, common, positions) for loss in self.losses])
            for statistic in (Statistic.NORM, Statistic.VARIABLE_NORM)
        )
        rows = np.searchsorted(pair.steps, common)
        self.cosines = pair.cosines[np.ix_(rows, columns)].astype(np.float64)
        there = np.isfinite(self.cosines) & np.isfinite(self.norms).all(axis=0)
        self.norms = np.where(there, self.norms, 0)
        self.cosines = np.where(there, self.cosines, 0)
        self._weights = weights

    @property
    def whole(self) -> Values:
        """L2 norms over the shared variables, float64 `[2, record]`."""
        norms: Values = np.sqrt((self.norms**2).sum(axis=2))
        return norms

    @property
    def cosine(self) -> Values:
        """Cosine over all shared variables together, float64 `[record]`; NaN where one is 0."""
        dots = (self.cosines * self.norms[0] * self.norms[1]).sum(axis=1)
        product = self.whole[0] * self.whole[1]
        return np.where(product > 0, dots / np.where(product > 0, product, 1), np.nan)

    def is_decay(self, index: int) -> bool:
        """Tells a loss whose gradient is, as far as norms show, its variables times one number."""
        weights, norms = self._weights[index], self.norms[index]
        known = (weights > 0) & (norms > 0)
        if not known.any():
            return False
        # Numbers that never move show nothing, unless several agree.
        moves = np.ptp(weights[known]) > 2 * _SAME * np.max(weights[known])
        factors = norms[known] / weights[known]
        return bool(moves and np.ptp(factors) <= _SAME * np.max(factors))


def _at(statistic: Statistic, loss: LossHistory, steps: Steps, positions: list[int]) -> Values:
    where_is = {position: column for column, position in enumerate(loss.variables.tolist())}
    columns = [where_is[position] for position in positions]
    at = loss.values[np.searchsorted(loss.steps, steps)]
    return at[:, columns, statistic].astype(np.float64)


def _unmeasured(pair: CosineHistory, steps: Steps, columns: list[int], states: Values) -> Mask:
    """Tells which cosines were not measured, bool `[record, variable]`.

    That is so of large variables at steps that only the sentinel has chosen. Where a loss
    has no gradient of a variable, or the two were never compared there, nothing is missing.

    Args:
      pair: whose cosines.
      steps: of the records, each one of the pair's.
      columns: of the variables in the pair.
      states: of the gradients of both losses, `[2, record, variable]`.
    """
    absent = is_absent(pair.cosines)[:, columns]
    lacking = np.isin(states, (State.NONE, State.ABSENT)).any(axis=0)
    missing: Mask = absent[np.searchsorted(pair.steps, steps)] & ~lacking & ~absent.all(axis=0)
    return missing


def _conflict(shared: _Shared, thresholds: Thresholds) -> Iterator[Finding]:
    cosine = shared.cosine
    negative = cosine < thresholds.conflict
    if not negative.any() or np.mean(negative) < thresholds.conflict_fraction:
        return
    small, large = np.sort(median(np.moveaxis(shared.whole, 0, 1)))
    if not small >= _MATTERS * large:
        return
    one, other = (loss.name for loss in shared.losses)
    typical = float(median(cosine))
    early = cosine[: thresholds.min_records]
    is_strong = len(shared.steps) >= _SURE and float(median(early)) <= _STRONG
    severity: Severity = "warning" if is_strong else "info"
    per_variable = median(np.where(shared.norms.all(axis=0), shared.cosines, np.nan))
    against = [i for i in np.argsort(per_variable) if per_variable[i] < thresholds.conflict]
    names = tuple(shared.names[i] for i in sorted(against))
    span = span_of(shared.steps, negative)
    yield Finding(
        kind="conflict",
        severity=severity,
        loss=one,
        label=shared.losses[0].label,
        variables=names,
        span=span,
        message=(
            f"{one} and {other} pull against each other {words.when(span)}: the cosine of their "
            f"gradients is {typical:.2f} over the {len(shared.names)} variables they share"
            + (f", most of all on {shared.names[against[0]]}." if against else ".")
        ),
        advice=(
            "Where both are to improve, weight them, give them separate layers, or project one "
            "gradient off the other (PCGrad); near the minimum of their sum this is normal."
        ),
        other_loss=other,
        where=where(shared.losses[0].where),
        evidence={
            **thresholds.evidence("conflict"),
            "cosine": typical,
            "fraction": float(np.mean(negative)),
        },
    )


def _domination(shared: _Shared, thresholds: Thresholds) -> Iterator[Finding]:
    first, second = shared.whole
    there = (first > 0) & (second > 0)
    if np.count_nonzero(there) < thresholds.min_records:
        return
    logs = np.log10(first[there]) - np.log10(second[there])
    typical = float(median(logs))
    above = np.sign(typical) * logs >= np.log10(thresholds.domination)
    if not above.any() or np.mean(above) < thresholds.conflict_fraction:
        return
    big, little = (0, 1) if typical > 0 else (1, 0)
    large, small = (shared.losses[i] for i in (big, little))
    ratio = float(10 ** abs(typical))
    span = span_of(shared.steps[there], above)
    lately = abs(float(median(logs[len(logs) // 2 :]))) >= np.log10(thresholds.domination)
    is_penalty = small.name in PENALTIES or shared.is_decay(little)
    is_sure = len(logs) >= _SURE and lately and not is_penalty
    severity: Severity = "warning" if is_sure else "info"
    yield Finding(
        kind="domination",
        severity=severity,
        loss=large.name,
        label=large.label,
        variables=shared.names,
        span=span,
        message=(
            f"{large.name} drowns {small.name}: on the {len(shared.names)} variables they share "
            f"its gradient is {words.times(ratio)} as large {words.when(span)}."
        ),
        advice=(
            f"If {small.name} is to count, weight the losses so that their norms come within a "
            f"factor of ten; about {words.amount(ratio / 10)} on {small.name}."
        ),
        other_loss=small.name,
        where=where(small.where),
        evidence={**thresholds.evidence("domination"), "ratio": ratio},
    )
