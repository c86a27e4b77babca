"""What the sentinel made records for, and what of it was only an overflowed loss scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose.spikes import Direction, spikes
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import Reason, State, Statistic
from tb_gradscope.view import labels, schema

_NAMED = 3


def marks(of: RunHistory) -> tuple[schema.Mark, ...]:
    """Returns where records of the sentinel show that something began, by step."""
    found = [
        mark
        for loss, name in zip(of.losses, labels.ids(of.losses), strict=True)
        for mark in _marks(of, loss, name)
    ]
    return tuple(sorted(found, key=lambda mark: mark.step))


def overflows(of: RunHistory) -> tuple[schema.Overflow, ...]:
    """Returns the losses whose gradients were not finite at steps that an optimizer skipped."""
    found = []
    for loss, name in zip(of.losses, labels.ids(of.losses), strict=True):
        variables = np.flatnonzero(loss.overflowed)
        if variables.size:
            steps = np.intersect1d(loss.skipped_steps, loss.steps[_broken(loss).any(axis=1)])
            most = int(loss.overflowed.max())
            found.append(schema.Overflow(name, len(variables), most, tuple(steps.tolist())))
    return tuple(found)


def _marks(of: RunHistory, loss: LossHistory, name: str) -> Iterator[schema.Mark]:
    skipped = set(loss.skipped_steps.tolist())
    broken = _broken(loss)
    left = {spike.step: spike for spike in spikes(loss)}
    before = np.concatenate([np.zeros_like(broken[:1]), broken[:-1]])
    for record in np.flatnonzero(loss.reasons >= Reason.NONFINITE).tolist():
        step = int(loss.steps[record])
        if loss.reasons[record] == Reason.NONFINITE:
            # The sentinel also has recorded what became finite again: nothing to be marked.
            about = sorted(loss.variables[broken[record] & ~before[record]].tolist())
            if about:
                yield _mark(of, step, "skipped" if step in skipped else "nonfinite", name, about)
        elif loss.reasons[record] == Reason.SPIKE:
            spike = left.get(step)
            about = list(spike.variables) if spike else []
            yield _mark(of, step, "spike", name, about, spike.direction if spike else "")


def _mark(
    of: RunHistory,
    step: int,
    kind: schema.MarkKind,
    loss: str,
    about: list[int],
    direction: Direction = "",
) -> schema.Mark:
    names = tuple(of.variables[position].name for position in about[:_NAMED])
    return schema.Mark(step, kind, direction, loss, names, max(0, len(about) - _NAMED))


def _broken(loss: LossHistory) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Tells which gradients held NaN or Inf, `[record, variable]`."""
    return np.isin(loss.values[:, :, Statistic.STATE], (State.NAN, State.INF))
