"""Cosine series as pairs of losses: how their gradients lie to each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from tb_gradscope.format import meaning
from tb_gradscope.format.cosine import decode_cosines
from tb_gradscope.format.history import (
    CosineHistory,
    Identity,
    LossHistory,
    RunHistory,
    Steps,
    Times,
    identity,
)
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import absent_norm, is_absent
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view.joined import Joined, columns_of
from tb_gradscope.view.provider import Column
from tb_gradscope.view.series import Series, at_steps, describe_errors

Pair = tuple[str, str, Identity]
"""Names of two losses, and what of their label tells them apart from others."""


@dataclasses.dataclass(frozen=True)
class CosineSeries:
    """One cosine series. `cosines` is float32 `[record, loss, variable]`."""

    series: Series
    steps: Steps
    wall_times: Times
    cosines: Floats


@dataclasses.dataclass(frozen=True)
class _Beside:
    """What of a cosine series is of one other loss: float32 `[record, variable]`."""

    series: Series
    steps: Steps
    wall_times: Times
    cosines: Floats


def read_cosines(series: Series, column: Column, problems: list[str]) -> CosineSeries:
    """Makes the arrays of one series.

    Args:
      series: the series, of kind COSINE.
      column: its records.
      problems: gets a sentence for each thing that cannot be read.
    """
    schema = series.schema
    decoded = decode_cosines(column.values, len(schema.losses), len(schema.variables))
    problems += describe_errors(
        series.title, "records", len(column.steps), at_steps(decoded.errors, column.steps)
    )
    return CosineSeries(
        series, column.steps[decoded.kept], column.wall_times[decoded.kept], decoded.cosines
    )


def pairs_of(schema: object, order: dict[str, int]) -> Iterator[Pair]:
    """Yields the pairs that a cosine schema is of, each in the run's order of losses."""
    name, label = schema.name, identity(meaning.label(schema))  # type: ignore[attr-defined]
    for other in schema.losses:  # type: ignore[attr-defined]
        one, two = sorted((name, other), key=lambda loss: (order.get(loss, len(order)), loss))
        yield one, two, label


def merge_cosines(
    found: Sequence[CosineSeries], positions: dict[str, int], order: dict[str, int]
) -> tuple[CosineHistory, ...]:
    """Makes a history of each pair of losses that was ever compared.

    Args:
      found: the series, in the order first seen.
      positions: of each variable's name in `RunHistory.variables`.
      order: of each loss's name in the run.
    """
    pairs: dict[Pair, list[_Beside]] = {}
    for one in found:
        for position, pair in enumerate(pairs_of(one.series.schema, order)):
            cosines = one.cosines[:, position]
            here = ~is_absent(cosines).all(axis=1)
            beside = _Beside(one.series, one.steps[here], one.wall_times[here], cosines[here])
            pairs.setdefault(pair, []).append(beside)
    return tuple(_merge(pair, parts, positions) for pair, parts in pairs.items())


def loss_of(run: RunHistory, pair: CosineHistory, side: int) -> LossHistory | None:
    """Returns the loss on one side of a pair, None where none of that name was recorded."""
    for loss in run.losses:
        if loss.name == pair.losses[side] and identity(loss.label) == identity(pair.label):
            return loss
    return None


def total(run: RunHistory, pair: CosineHistory) -> Floats:
    """Returns the cosine of both gradients over all variables that both have, `[record]`.

    That is the mean of the variables' cosines, weighted by the norms. NaN where
    it is not known: a norm is missing at that very step, zero or not finite, or the
    cosine of a variable was not measured though both have a gradient.
    """
    sides = [_norms(loss_of(run, pair, side), pair) for side in (0, 1)]
    shared = np.ones(pair.cosines.shape, bool)
    for norms in sides:
        shared &= ~is_absent(norms)
    one, two = (np.where(shared, norms, 0).astype(np.float64) for norms in sides)
    weights = one * two
    cosines = np.where(shared & (weights > 0), pair.cosines, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        lengths = np.sqrt(np.square(one).sum(axis=1)) * np.sqrt(np.square(two).sum(axis=1))
        result: Floats = ((cosines * weights).sum(axis=1) / lengths).astype(np.float32)
    result[~(lengths > 0) | ~np.isfinite(lengths)] = np.nan
    return np.clip(result, -1, 1)


def _norms(loss: LossHistory | None, pair: CosineHistory) -> Floats:
    """Returns norms `[record, variable]` of a loss at a pair's steps; absent where none is."""
    norms: Floats = np.full(pair.cosines.shape, absent_norm(), np.float32)
    if loss is None or not len(loss.steps):
        return norms
    column_of = {int(position): column for column, position in enumerate(loss.variables)}
    into = np.array([i for i, one in enumerate(pair.variables.tolist()) if one in column_of], int)
    columns = np.array([column_of[int(pair.variables[i])] for i in into], int)
    rows = np.minimum(np.searchsorted(loss.steps, pair.steps), len(loss.steps) - 1)
    here = np.flatnonzero(loss.steps[rows] == pair.steps)
    values = loss.values[np.ix_(rows[here], columns)]
    there = ~np.isin(values[:, :, Statistic.STATE], (State.NONE, State.ABSENT))
    norms[np.ix_(here, into)] = np.where(there, values[:, :, Statistic.NORM], absent_norm())
    return norms


def _merge(pair: Pair, parts: Sequence[_Beside], positions: dict[str, int]) -> CosineHistory:
    variables, columns = columns_of([part.series.names for part in parts], positions)
    joined = Joined(parts, columns, len(variables))
    present = [~is_absent(part.cosines) for part in parts]
    latest = max(parts, key=lambda part: part.series.last_seen).series.schema
    cosines = joined.cells([part.cosines for part in parts], present, absent_norm())
    shared = ~is_absent(cosines).all(axis=0)
    return CosineHistory(
        losses=pair[:2],
        label=meaning.label(latest),
        variables=variables[shared],
        steps=joined.steps,
        cosines=cosines[:, shared],
    )
