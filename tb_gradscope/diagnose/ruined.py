"""Variables that are not finite themselves: since when, and which loss has ruined them.

A gradient of such a variable is not finite either, whatever loss it is of: of all
losses that are NaN by then, one is the fault, and the others follow from it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tb_gradscope.diagnose.norms import Mask, last_weights, names_of
from tb_gradscope.format.history import LossHistory, OptimizerHistory, RunHistory
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic


@dataclasses.dataclass(frozen=True)
class Ruin:
    """Variables that held finite numbers once, and at last do not.

    Attributes:
      names: of the variables, in the run's order.
      step: of the first record in which one of them is so.
      exact: it was finite in the step before.
      together: so are all of them at that step.
    """

    names: tuple[str, ...]
    step: int
    exact: bool
    together: bool


@dataclasses.dataclass(frozen=True)
class Culprit:
    """Whose gradient has ruined variables: the loss, and the step at which it was not finite."""

    loss: LossHistory
    step: int


def ruined(run: RunHistory, loss: LossHistory) -> Ruin | None:
    """Returns the variables of a loss that are not finite any more, None for none."""
    if not len(loss.values):
        return None
    first, last = last_weights(loss.values[::-1]), last_weights(loss.values)
    asked = loss.values[-1, :, Statistic.STATE] != State.ABSENT
    columns = np.flatnonzero(~np.isfinite(last) & np.isfinite(first) & asked)
    if not columns.size:
        return None
    broken, finite = _broken_weights(loss)[:, columns], _finite_weights(loss)[:, columns]
    # What passed, such as before a checkpoint was restored, is not what is there at last.
    since = len(broken) - np.where(finite.any(axis=0), finite[::-1].argmax(axis=0), len(broken))
    begins = [int(start) + int(broken[start:, i].argmax()) for i, start in enumerate(since)]
    begin = min(begins)
    before = int(min(since[i] for i, one in enumerate(begins) if one == begin)) - 1
    step = int(loss.steps[begin])
    return Ruin(
        names=names_of(run, loss, columns.tolist()),
        step=step,
        exact=before >= 0 and int(loss.steps[before]) == step - 1,
        together=max(begins) == begin,
    )


def not_finite_before(run: RunHistory, loss: LossHistory, step: int) -> npt.NDArray[np.int64]:
    """Returns the variables that were not finite when a loss was not for the first time.

    Those of the loss itself, where there are such; else those that others show at that
    step. Positions in `RunHistory.variables`; none where the loss was so in its record
    before.
    """
    if _stretch(loss, step - 1) is not None:
        return np.zeros(0, np.int64)
    own = _broken_positions(loss, step)
    if len(own):
        return own
    everyone: tuple[LossHistory | OptimizerHistory, ...] = (*run.losses, *run.optimizers)
    return np.unique(np.concatenate([own, *(_broken_positions(one, step) for one in everyone)]))


def culprit(run: RunHistory, loss: LossHistory, step: int, exact: bool) -> Culprit | None:
    """Returns which other loss has ruined the variables before a loss was not finite itself.

    Its gradient was not finite for one of them while that still was, and ever since.

    Args:
      run: of the loss.
      loss: whose gradient was not finite next.
      step: the first at which it was not.
      exact: none can have been before.
    """
    positions = not_finite_before(run, loss, step)
    found = []
    for number, other in enumerate(run.losses):
        if other.name == loss.name or not len(positions):
            continue
        begin = _stretch(other, step)
        if begin is None or not (exact or other.watched):
            continue
        states = other.values[begin, :, Statistic.STATE]
        broken = np.isin(states, (State.NAN, State.INF)) & _finite_weights(other)[begin]
        if np.isin(other.variables[broken], positions).any():
            # The part of a sum says more than the sum.
            found.append((int(other.steps[begin]), not other.part_of, number))
    if not found:
        return None
    began, _, number = min(found)
    return Culprit(run.losses[number], began)


def broken_records(loss: LossHistory) -> Mask:
    """Tells which records held NaN or Inf, but for steps left out for their loss scale."""
    states = loss.values[:, :, Statistic.STATE]
    broken: Mask = np.any(np.isin(states, (State.NAN, State.INF)), axis=1)
    return broken & ~np.isin(loss.steps, loss.skipped_steps)


def _stretch(loss: LossHistory, step: int) -> int | None:
    """Returns the record from which on a loss was not finite up to a step; None if it was."""
    broken = broken_records(loss)[loss.steps <= step]
    if not len(broken) or not broken[-1]:
        return None
    finite = np.flatnonzero(~broken)
    return int(finite[-1]) + 1 if len(finite) else 0


def _broken_positions(of: LossHistory | OptimizerHistory, step: int) -> npt.NDArray[np.int64]:
    broken = _broken_weights(of)[of.steps == step].any(axis=0)
    positions: npt.NDArray[np.int64] = of.variables[broken]
    return positions


def _broken_weights(of: LossHistory | OptimizerHistory) -> Mask:
    """Tells which variables were measured and not finite, `[record, variable]`."""
    norms, known = _weights(of)
    return known & ~np.isfinite(norms)


def _finite_weights(of: LossHistory | OptimizerHistory) -> Mask:
    """Tells which variables were measured and finite, `[record, variable]`."""
    norms, known = _weights(of)
    return known & np.isfinite(norms)


def _weights(of: LossHistory | OptimizerHistory) -> tuple[npt.NDArray[np.float32], Mask]:
    """Returns the norms of variables, and which of them were measured."""
    norms: npt.NDArray[np.float32] = of.values[:, :, Statistic.VARIABLE_NORM]
    there: Mask = of.values[:, :, Statistic.STATE] != State.ABSENT
    return norms, there & ~is_absent(norms)
