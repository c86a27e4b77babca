"""Slow, plain float64 NumPy: what the fast numerics are held against."""

from __future__ import annotations

import numpy as np

from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic


def gradient_statistics(gradient, variable):
    """Statistics of one dense gradient as float64 `[statistic]`; None is a gradient too."""
    row = np.full(STATISTIC_COUNT, np.nan)
    row[Statistic.VARIABLE_NORM] = norm(variable)
    if gradient is None:
        row[Statistic.STATE] = State.NONE
        return row
    wide = np.complex128 if np.iscomplexobj(gradient) else np.float64
    flat = np.asarray(gradient).astype(wide).ravel()
    with np.errstate(invalid="ignore"):
        return _measured(row, flat)


def _measured(row, flat):
    nan, inf = np.isnan(flat).sum(), (np.isinf(flat) & ~np.isnan(flat)).sum()
    zeros = (flat == 0).sum()
    row[Statistic.STATE] = state(flat.size, nan, inf, zeros)
    row[Statistic.NORM] = norm(flat)
    row[Statistic.MAX_ABS] = np.abs(flat).max(initial=0)
    row[Statistic.MEAN] = flat.mean().real if flat.size else 0
    row[Statistic.STD] = np.sqrt((np.abs(flat - flat.mean()) ** 2).mean()) if flat.size else 0
    row[Statistic.ZERO_FRACTION] = zeros / flat.size if flat.size else 0
    row[Statistic.NAN_COUNT], row[Statistic.INF_COUNT] = nan, inf
    return row


def state(size, nan, inf, zeros):
    if nan:
        return State.NAN
    if inf:
        return State.INF
    return State.ZERO if size and zeros == size else State.OK


def norm(values):
    flat = np.abs(np.asarray(values)).astype(np.float64).ravel()
    scale = flat.max(initial=0)
    if not np.isfinite(scale) or scale == 0:
        return np.sqrt((flat**2).sum())
    return scale * np.sqrt(((flat / scale) ** 2).sum())


def densify(values, indices, rows):
    """What an IndexedSlices means: rows of the same index are summed."""
    dense = np.zeros((rows, *np.shape(values)[1:]), np.asarray(values).dtype)
    np.add.at(dense, np.asarray(indices), values)
    return dense
