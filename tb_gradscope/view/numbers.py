"""Numbers that the routes answer: pure functions from histories to float32 arrays."""

from __future__ import annotations

import numpy as np

from tb_gradscope.format.history import (
    ClipHistory,
    LossHistory,
    OptimizerHistory,
    RunHistory,
    Steps,
)
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view import cosines, schema

Columns = tuple[LossHistory | OptimizerHistory, ...]


def matrix(of: RunHistory, step: int) -> Floats:
    """Returns `[loss or optimizer, variable, statistic + 1]` as the route `matrix` describes it."""
    columns: Columns = (*of.losses, *of.optimizers)
    shape = (len(columns), len(of.variables), STATISTIC_COUNT + 1)
    result = np.full(shape, np.nan, np.float32)
    result[:, :, Statistic.STATE] = State.ABSENT
    result[:, :, -1] = -1
    for row, one in zip(result, columns, strict=True):
        positions = latest(one, step)
        known = np.flatnonzero(positions >= 0)
        into, position = one.variables[known], positions[known]
        row[into, :-1] = one.values[position, known]
        row[into, -1] = position
    return result


def latest(of: LossHistory | OptimizerHistory, step: int) -> Steps:
    """Returns, per variable, the position of its latest record at or before a step, or -1."""
    end = int(np.searchsorted(of.steps, step, side="right"))
    positions: Steps = np.full(len(of.variables), end - 1, np.int64)
    if end == 0:
        return positions
    gone = np.flatnonzero(of.values[end - 1, :, Statistic.STATE] == State.ABSENT)
    if gone.size:
        here = of.values[:end, gone, Statistic.STATE] != State.ABSENT
        back = here[::-1].argmax(axis=0)
        positions[gone] = np.where(here.any(axis=0), end - 1 - back, -1)
    return positions


def series(of: RunHistory, variable: int) -> Floats:
    """Returns `[record, statistic]` of each loss and optimizer that has the variable."""
    parts = [np.zeros(0, np.float32)]
    columns: Columns = (*of.losses, *of.optimizers)
    for one in columns:
        for column in np.flatnonzero(one.variables == variable):
            parts.append(one.values[:, column].ravel())
    return np.concatenate(parts)


def whole_norms(of: LossHistory | OptimizerHistory) -> Floats:
    """Returns `[record]`: the L2 norm of the whole gradient; NaN or Inf where any part is.

    NOTHING where every gradient asked for was None, TRACED where only tracing was seen.
    """
    states = of.values[:, :, Statistic.STATE]
    norms = of.values[:, :, Statistic.NORM].astype(np.float64)
    norms[(states == State.NONE) | (states == State.ABSENT)] = 0
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        whole: Floats = np.sqrt(np.square(norms).sum(axis=1)).astype(np.float32)
    asked = (states != State.ABSENT).any(axis=1)
    whole[asked & np.isin(states, (State.NONE, State.ABSENT)).all(axis=1)] = schema.NOTHING
    if isinstance(of, LossHistory) and of.traced_only:
        whole[:] = schema.TRACED
    return whole


def clip(of: ClipHistory) -> Floats:
    """Returns `[record, CLIP_STATISTICS]`, then `[record, variable, 2]`."""
    own = np.stack([getattr(of, name) for name in schema.CLIP_STATISTICS], axis=1)
    return np.concatenate([own.ravel(), of.norms.ravel()]).astype(np.float32)


def optimizer(of: OptimizerHistory) -> Floats:
    """Returns `[record, OPTIMIZER_STATISTICS]`, then `[record, variable, 2]`."""
    own = np.stack([of.loss_scales, of.learning_rates], axis=1)
    norms = np.stack([of.update_norms, variable_norms(of)], axis=2)
    return np.concatenate([own.ravel(), norms.ravel()]).astype(np.float32)


def variable_norms(of: OptimizerHistory) -> Floats:
    """Returns `[record, variable]`: L2 norms before the update, NaN where there is none.

    `is_absent` where it was not measured.
    """
    absent = of.values[:, :, Statistic.STATE] == State.ABSENT
    norms: Floats = np.where(absent, np.nan, of.values[:, :, Statistic.VARIABLE_NORM])
    return norms.astype(np.float32)


def update_ratios(of: OptimizerHistory) -> Floats:
    """Returns `[record, variable]`: norm of the update to that of the variable before it.

    NaN where either is not known, or the variable is nothing but zeros.
    """
    before = variable_norms(of)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratios: Floats = np.where(before > 0, of.update_norms / before, np.nan)
    return ratios.astype(np.float32)


def totals(of: RunHistory) -> Floats:
    """Returns `[record]` of each pair of losses, one after the other: `cosines.total`."""
    parts = [cosines.total(of, pair) for pair in of.cosines]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def shares(of: ClipHistory, position: int) -> Floats:
    """Returns `[variable]`: each one's share of the squared norm before clipping.

    0 for None and for those that the record lacks.
    """
    before = of.norms[position, :, 0].astype(np.float64)
    before[is_absent(of.norms[position, :, 0])] = 0
    if not np.isfinite(before).all():
        # Whoever is not finite has caused all of it.
        culprits = ~np.isfinite(before)
        return np.asarray(culprits / culprits.sum(), np.float32)
    squares = np.square(before)
    total = squares.sum()
    return np.asarray(squares / total if total else squares, np.float32)
