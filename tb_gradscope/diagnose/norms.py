"""Norms over time, as the rules look at them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.history import LossHistory, RunHistory, Steps
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import Reason, State, Statistic

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_OF_NORMAL = 1.4826  # deviation / median absolute deviation


@dataclasses.dataclass(frozen=True, eq=False)
class Norms:
    """The norms of one loss.

    Attributes:
      loss: whose.
      norms: float64 `[record, variable]`; NaN where there is none that is finite.
      weights: float64 `[record, variable]`, norms of the variables themselves; NaN also
        where not measured.
      states: int64 `[record, variable]`.
      regular: bool `[record]`, recorded because their turn had come, and not
        because the sentinel saw something: these show what is usual.
    """

    loss: LossHistory
    norms: Values
    weights: Values
    states: npt.NDArray[np.int64]
    regular: Mask

    @functools.cached_property
    def whole(self) -> Values:
        """L2 norm of the whole gradient, float64 `[record]`; NaN where any part is not finite."""
        broken = np.isin(self.states, (State.NAN, State.INF)).any(axis=1)
        there = np.isfinite(self.norms).any(axis=1)
        norms = np.nan_to_num(self.norms)
        largest = norms.max(axis=1, initial=0)
        scale = np.where(largest > 0, largest, 1)
        whole = scale * np.sqrt(((norms / scale[:, None]) ** 2).sum(axis=1))
        return np.where(there & ~broken, whole, np.nan)


def norms_of(loss: LossHistory) -> Norms:
    """Returns the norms of a loss."""
    values = loss.values.astype(np.float64)
    states = loss.values[:, :, Statistic.STATE].astype(np.int64)
    finite = np.isin(states, (State.OK, State.ZERO))
    regular = np.ones(len(loss.steps), bool)
    if len(loss.reasons) == len(loss.steps):
        regular = np.isin(loss.reasons, (Reason.CADENCE, Reason.PATTERN))
    return Norms(
        loss=loss,
        norms=np.where(finite, values[:, :, Statistic.NORM], np.nan),
        weights=values[:, :, Statistic.VARIABLE_NORM],
        states=states,
        regular=regular,
    )


def unmeasured(values: Floats) -> Mask:
    """Tells of which variables the norm was not measured, bool `[record, variable]`.

    That is so of large ones in records that only the sentinel has chosen. Of those that are
    measured in no record (tensors, large tables with sparse gradients) nothing is missing.

    Args:
      values: `[record, variable, statistic]`.
    """
    there: Mask = values[:, :, Statistic.STATE] != State.ABSENT
    known: Mask = there & ~is_absent(values[:, :, Statistic.VARIABLE_NORM])
    return there & ~known & known.any(axis=0)


def last_weights(values: Floats) -> Floats:
    """Returns the norm of each variable as last measured, `[variable]`; NaN where it never was.

    Args:
      values: `[record, variable, statistic]`.
    """
    there = values[:, :, Statistic.STATE] != State.ABSENT
    known = there & ~unmeasured(values)
    if not len(values):
        return np.full(values.shape[1], np.nan, np.float32)
    last = len(values) - 1 - known[::-1].argmax(axis=0)
    norms = values[last, np.arange(values.shape[1]), Statistic.VARIABLE_NORM]
    return np.where(known.any(axis=0), norms, np.float32(np.nan))


def record_at(steps: Steps, step: int) -> int | None:
    """Returns the index of the record of a step, None where there is none."""
    at = np.flatnonzero(steps == step)
    return int(at[0]) if len(at) else None


def names_of(run: RunHistory, loss: LossHistory, columns: Iterable[int]) -> tuple[str, ...]:
    """Returns the names of the variables of a loss at these columns."""
    return tuple(run.variables[loss.variables[column]].name for column in columns)


def median(values: Values) -> Values:
    """Returns the median over the first axis of what is not NaN; NaN where nothing is."""
    values = np.asarray(values, np.float64)
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    ordered = np.sort(values, axis=0)  # NaN come last
    count = np.sum(~np.isnan(values), axis=0, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)
    high = np.take_along_axis(ordered, np.minimum(count // 2, len(values) - 1), axis=0)
    middle: Values = np.where(count > 0, (low + high) / 2, np.nan)[0]
    return middle


def deviation(values: Values) -> float:
    """Returns the standard deviation that the median absolute deviation stands for.

    Outliers hardly move it. Of normal noise the one is 1 / 0.6745 = 1.4826 times the
    other, 0.6745 being the 75th percentile of the standard normal distribution
    (Rousseeuw and Croux, doi:10.1080/01621459.1993.10476408).
    """
    values = np.asarray(values, np.float64)
    return _OF_NORMAL * float(np.median(np.abs(values - np.median(values))))


def log10(values: Values) -> Values:
    """Returns the logarithm; NaN of what is not positive."""
    with np.errstate(all="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)


def rank_correlation(values: Values) -> float:
    """Returns Spearman's rank correlation of values with their positions; 0 of fewer than 3."""
    values = values[np.isfinite(values)]
    if len(values) < 3 or np.ptp(values) == 0:
        return 0.0
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)
    return float(np.corrcoef(np.arange(len(values)), ranks)[0, 1])
