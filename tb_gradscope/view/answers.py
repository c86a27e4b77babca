"""What the routes answer: pure functions from histories to `schema` or to float32 arrays."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tb_gradscope.format import history
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view import meaning, schema
from tb_gradscope.view.fates import Fate, fates


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
        missing=tuple(_missing(fate) for fate in fates(of, State.NONE)),
        nonfinite=nonfinite(of),
        problems=of.problems,
    )


def nonfinite(of: history.RunHistory) -> tuple[schema.Nonfinite, ...]:
    """Returns all gradients that ever held NaN or Inf, those of one loss and fate as one entry."""
    found = [*fates(of, State.NAN), *fates(of, State.INF)]
    found.sort(key=lambda fate: (fate.first_step, fate.columns[0], fate.state))
    return tuple(_nonfinite(fate) for fate in found)


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
    """Returns `[record]`: the L2 norm of the whole gradient; NaN or Inf where any part is.

    NOTHING where every gradient asked for was None, TRACED where only tracing was seen.
    """
    states = loss.values[:, :, Statistic.STATE]
    norms = loss.values[:, :, Statistic.NORM].astype(np.float64)
    norms[(states == State.NONE) | (states == State.ABSENT)] = 0
    with np.errstate(over="ignore"):  # beyond float32 is infinite
        whole: Floats = np.sqrt(np.square(norms).sum(axis=1)).astype(np.float32)
    asked = (states != State.ABSENT).any(axis=1)
    whole[asked & np.isin(states, (State.NONE, State.ABSENT)).all(axis=1)] = schema.NOTHING
    if loss.traced_only:
        whole[:] = schema.TRACED
    return whole


def clip(of: history.ClipHistory) -> Floats:
    """Returns `[record, CLIP_STATISTICS]`, then `[record, variable, 2]`."""
    own = np.stack([getattr(of, name) for name in schema.CLIP_STATISTICS], axis=1)
    return np.concatenate([own.ravel(), of.norms.ravel()]).astype(np.float32)


def shares(of: history.ClipHistory, position: int) -> Floats:
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


def _missing(fate: Fate) -> schema.Missing:
    return schema.Missing(
        loss=fate.loss.name,
        variables=fate.variables,
        first_step=fate.first_step,
        last_step=fate.last_step,
        # One None is a None that comes and goes: "once" is for what is not finite.
        pattern="on_and_off" if fate.pattern == "once" else fate.pattern,
        count=fate.count,
        asked=fate.asked,
        where=_place(fate.loss.where),
    )


def _nonfinite(fate: Fate) -> schema.Nonfinite:
    return schema.Nonfinite(
        loss=fate.loss.name,
        variables=fate.variables,
        state="nan" if fate.state is State.NAN else "inf",
        first_step=fate.first_step,
        last_step=fate.last_step,
        pattern=fate.pattern,
        count=fate.count,
        asked=fate.asked,
        where=_place(fate.loss.where),
    )


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
