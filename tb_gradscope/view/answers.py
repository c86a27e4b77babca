"""What the routes answer: pure functions from histories to `schema` or to float32 arrays."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tb_gradscope.format import history
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import COUNTED, is_none
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view import meaning, schema


def run(of: history.RunHistory, token: str) -> schema.Run:
    """Returns all of a run but its numbers."""
    steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(loss.steps for loss in of.losses)]))
    return schema.Run(
        name=of.name,
        token=token,
        statistics=schema.STATISTICS,
        steps=_whole(steps),
        losses=tuple(_loss(loss) for loss in of.losses),
        variables=tuple(_variable(variable) for variable in of.variables),
        clips=tuple(_clip(clip) for clip in of.clips),
        missing=missing(of),
        nonfinite=(),
        problems=of.problems,
    )


def missing(of: history.RunHistory) -> tuple[schema.Missing, ...]:
    """Returns all gradients that were ever None, those of one loss and fate as one entry."""
    groups: dict[tuple[int, str, int, int, int, int], list[str]] = {}
    for number, loss in enumerate(of.losses):
        for column in np.flatnonzero(loss.first_none >= 0):
            count = int(loss.state_counts[column, COUNTED.index(State.NONE)])
            key = (
                number,
                _pattern(loss, int(column), count),
                int(loss.first_none[column]),
                int(loss.last_none[column]),
                count,
                int(loss.asked[column]),
            )
            groups.setdefault(key, []).append(of.variables[loss.variables[column]].name)
    return tuple(
        schema.Missing(
            loss=of.losses[number].name,
            variables=tuple(names),
            first_step=first,
            last_step=last,
            pattern=pattern,  # type: ignore[arg-type]
            count=count,
            asked=asked,
            where=_place(of.losses[number].where),
        )
        for (number, pattern, first, last, count, asked), names in groups.items()
    )


def matrix(of: history.RunHistory, step: int) -> Floats:
    """Returns `[loss, variable, statistic + 1]` as the route `matrix` describes it."""
    shape = (len(of.losses), len(of.variables), STATISTIC_COUNT + 1)
    result = np.full(shape, np.nan, np.float32)
    result[:, :, Statistic.STATE] = State.ABSENT
    result[:, :, -1] = -1
    for row, loss in zip(result, of.losses, strict=True):
        positions = latest(loss, step)
        known = np.flatnonzero(positions >= 0)
        into, position = loss.variables[known], positions[known]
        row[into, :-1] = loss.values[position, known]
        row[into, -1] = position
    return result


def latest(loss: history.LossHistory, step: int) -> history.Steps:
    """Returns, per variable, the position of its latest record at or before a step, or -1."""
    end = int(np.searchsorted(loss.steps, step, side="right"))
    positions: history.Steps = np.full(len(loss.variables), end - 1, np.int64)
    if end == 0:
        return positions
    gone = np.flatnonzero(loss.values[end - 1, :, Statistic.STATE] == State.ABSENT)
    if gone.size:
        here = loss.values[:end, gone, Statistic.STATE] != State.ABSENT
        back = here[::-1].argmax(axis=0)
        positions[gone] = np.where(here.any(axis=0), end - 1 - back, -1)
    return positions


def series(of: history.RunHistory, variable: int) -> Floats:
    """Returns, for each loss that has the variable, `[record, statistic]`, one after the other."""
    parts = [np.zeros(0, np.float32)]
    for loss in of.losses:
        for column in np.flatnonzero(loss.variables == variable):
            parts.append(loss.values[:, column].ravel())
    return np.concatenate(parts)


def loss_norms(loss: history.LossHistory) -> Floats:
    """Returns `[record]`: the L2 norm of the whole gradient; NaN or Inf where any part is."""
    states = loss.values[:, :, Statistic.STATE]
    norms = loss.values[:, :, Statistic.NORM].astype(np.float64)
    norms[(states == State.NONE) | (states == State.ABSENT)] = 0
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        whole: Floats = np.sqrt(np.square(norms).sum(axis=1)).astype(np.float32)
    return whole


def clip(of: history.ClipHistory) -> Floats:
    """Returns `[record, CLIP_STATISTICS]`, then `[record, variable, 2]`."""
    own = np.stack([getattr(of, name) for name in schema.CLIP_STATISTICS], axis=1)
    return np.concatenate([own.ravel(), of.norms.ravel()]).astype(np.float32)


def shares(of: history.ClipHistory, position: int) -> Floats:
    """Returns `[variable]`: each one's share of the squared norm before clipping, 0 for None."""
    before = of.norms[position, :, 0].astype(np.float64)
    before[is_none(of.norms[position, :, 0])] = 0
    if not np.isfinite(before).all():
        # Whoever is not finite has caused all of it.
        culprits = ~np.isfinite(before)
        return np.asarray(culprits / culprits.sum(), np.float32)
    squares = np.square(before)
    total = squares.sum()
    return np.asarray(squares / total if total else squares, np.float32)


def _pattern(loss: history.LossHistory, column: int, count: int) -> str:
    if loss.traced_only or count == loss.asked[column]:
        return "always"
    states = loss.values[:, column, Statistic.STATE]
    after = states[loss.steps >= loss.first_none[column]]
    here = loss.steps[states != State.ABSENT]
    since = bool(here.size and loss.first_none[column] > here[0])
    if since and np.isin(after, (State.NONE, State.ABSENT)).all():
        return "from"
    return "on_and_off"


def _loss(of: history.LossHistory) -> schema.Loss:
    return schema.Loss(
        name=of.name,
        where=_place(of.where),
        label=_label(of.label, ", before clipping"),
        variables=_whole(of.variables),
        steps=_whole(of.steps),
        calls=_whole(of.calls),
        records=int(of.records),
        traced_only=bool(of.traced_only),
    )


def _clip(of: history.ClipHistory) -> schema.Clip:
    return schema.Clip(
        name=of.name,
        method=of.method,  # type: ignore[arg-type]
        after=of.after,
        where=_place(of.where),
        label=_label(of.label, ", before and after clipping"),
        variables=of.variables,
        steps=_whole(of.steps),
        calls=_whole(of.calls),
        clipped=_whole(of.clipped),
        nonfinite=_whole(of.nonfinite),
    )


def _variable(of: history.Variable) -> schema.Variable:
    return schema.Variable(
        name=of.name,
        layer=of.layer,
        dtype=of.dtype,
        shape=of.shape,
        kind=of.kind,  # type: ignore[arg-type]
        trainable=of.trainable,
        size=-1 if min(of.shape, default=0) < 0 else math.prod(of.shape),
    )


def _label(of: history.Label, clipping: str) -> schema.Label:
    return schema.Label(**dataclasses.asdict(of), text=meaning.sentence(of) + clipping)


def _place(of: history.Place | None) -> schema.Place | None:
    return None if of is None else schema.Place(**dataclasses.asdict(of))


def _whole(numbers: history.Steps) -> tuple[int, ...]:
    return tuple(numbers.tolist())
