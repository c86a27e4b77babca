"""Variables that are not finite themselves: since when, and which loss has ruined them.

A gradient of such a variable is not finite either, whatever loss it is of: of all
losses that are NaN by then, one is the fault, and the others follow from it.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tb_gradscope.diagnose.norms import Mask, last_weights, names_of, record_at
from tb_gradscope.diagnose.spans import last_stretch
from tb_gradscope.format.history import LossHistory, OptimizerHistory, RunHistory, Steps
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic


@dataclasses.dataclass(frozen=True)
class Ruin:
    """Variables that held finite numbers once, and at last do not.

    Attributes:
      names: of the variables, in the run's order.
      step: of the first record in which one of them is so.
      exact: it was finite in the step before, or in the same one.
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
    """Returns the variables of a loss that are not finite any more, None for none.

    Since when, all records of the run tell that show them.
    """
    if not len(loss.values):
        return None
    first, last = last_weights(loss.values[::-1]), last_weights(loss.values)
    asked = loss.values[-1, :, Statistic.STATE] != State.ABSENT
    columns = np.flatnonzero(~np.isfinite(last) & np.isfinite(first) & asked)
    if not columns.size:
        return None
    begins = [_since(run, int(position)) for position in loss.variables[columns]]
    step, exact = min(begins, key=lambda one: (one[0], one[1]))
    return Ruin(
        names=names_of(run, loss, columns.tolist()),
        step=step,
        exact=exact,
        together=all(begin == step for begin, _ in begins),
    )


def not_finite_before(run: RunHistory, loss: LossHistory, step: int) -> npt.NDArray[np.int64]:
    """Returns the variables that were not finite when a loss was not for the first time.

    As its own record of that step shows it: what others show there may have come after.
    Positions in `RunHistory.variables`; none where the loss was so in its record before.
    """
    if _stretch(loss, step - 1) is not None:
        return np.zeros(0, np.int64)
    broken = broken_weights(loss)[loss.steps == step].any(axis=0)
    positions: npt.NDArray[np.int64] = loss.variables[broken]
    return positions


def culprit(run: RunHistory, loss: LossHistory, step: int) -> Culprit | None:
    """Returns which other loss has ruined the variables before a loss was not finite itself.

    Its gradient was not finite for one of them while that still was, and ever since; or,
    where micro-batches are accumulated, was so in one of these.

    Args:
      run: of the loss.
      loss: whose gradient was not finite next.
      step: the first at which it was not.
    """
    positions = not_finite_before(run, loss, step)
    found = []
    for number, other in enumerate(run.losses):
        if other.name == loss.name or not len(positions):
            continue
        for begin in (_stretch(other, step), _accumulated(run, other, step)):
            if begin is None or not _is_known(loss, other, int(other.steps[begin]), step):
                continue
            states = other.values[begin, :, Statistic.STATE]
            broken = np.isin(states, (State.NAN, State.INF)) & finite_weights(other)[begin]
            if np.isin(other.variables[broken], positions).any():
                # The part of a sum says more than the sum.
                found.append((int(other.steps[begin]), not other.part_of, number))
    if not found:
        return None
    began, _, number = min(found)
    return Culprit(run.losses[number], began)


def is_exact(loss: LossHistory, step: int) -> bool:
    """Tells whether nothing can have been before a step that is the first known of something."""
    at = record_at(loss.steps, step)
    next_to_it = at is not None and at > 0 and int(loss.steps[at - 1]) == step - 1
    return sees_every_call(loss) or next_to_it or step == 0


def sees_every_call(loss: LossHistory) -> bool:
    """Tells whether all calls of a loss were recorded, or looked at."""
    return loss.watched or loss.records == (int(loss.calls[-1]) if len(loss.calls) else 0)


def broken_records(loss: LossHistory) -> Mask:
    """Tells which records held NaN or Inf, but for steps left out for their loss scale."""
    states = loss.values[:, :, Statistic.STATE]
    broken: Mask = np.any(np.isin(states, (State.NAN, State.INF)), axis=1)
    return broken & ~np.isin(loss.steps, loss.skipped_steps)


def _stretch(loss: LossHistory, step: int) -> int | None:
    """Returns the record from which on a loss was not finite up to a step; None if it was."""
    return last_stretch(broken_records(loss)[loss.steps <= step])


def _accumulated(run: RunHistory, loss: LossHistory, step: int) -> int | None:
    """Returns the first micro-batch of those last accumulated before a step that was not finite."""
    if loss.label.batch != "micro_batch":
        return None
    micro_batches = max((one.accumulation for one in run.optimizers), default=1)
    recent = (loss.steps >= step - micro_batches) & (loss.steps < step)
    at = np.flatnonzero(broken_records(loss) & recent)
    return int(at[0]) if len(at) else None


def _is_known(loss: LossHistory, other: LossHistory, began: int, step: int) -> bool:
    """Tells whether nothing can have happened unseen between what began and what followed."""
    return step - began <= 1 or is_exact(loss, step) or other.watched


def _since(run: RunHistory, position: int) -> tuple[int, bool]:
    """Returns from which step on a variable is not finite, and whether it was right before."""
    steps, finite = _steps_of(run, position)
    # What passed, such as before a checkpoint was restored, is not what is there at last.
    last = int(finite.max(initial=-1))
    after = steps[steps >= last]
    step = int(after.min() if after.size else steps.max())
    return step, last >= 0 and step - last <= 1


def is_ruined(run: RunHistory, position: int) -> bool:
    """Tells whether the last record of a variable shows it not finite."""
    broken, finite = _steps_of(run, position)
    return bool(broken.size) and bool(broken.max() >= finite.max(initial=-1))


def _steps_of(run: RunHistory, position: int) -> tuple[Steps, Steps]:
    """Returns the steps at which a variable was not finite, and was, as all records tell."""
    broken, finite = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    everyone: tuple[LossHistory | OptimizerHistory, ...] = (*run.losses, *run.optimizers)
    for one in everyone:
        for column in np.flatnonzero(one.variables == position):
            broken.append(one.steps[broken_weights(one)[:, column]])
            finite.append(one.steps[finite_weights(one)[:, column]])
    return np.concatenate(broken), np.concatenate(finite)


def broken_weights(of: LossHistory | OptimizerHistory) -> Mask:
    """Tells which variables were measured and not finite, `[record, variable]`."""
    norms, known = _weights(of)
    return known & ~np.isfinite(norms)


def finite_weights(of: LossHistory | OptimizerHistory) -> Mask:
    """Tells which variables were measured and finite, `[record, variable]`."""
    norms, known = _weights(of)
    return known & np.isfinite(norms)


def _weights(of: LossHistory | OptimizerHistory) -> tuple[npt.NDArray[np.float32], Mask]:
    """Returns the norms of variables, and which of them were measured."""
    norms: npt.NDArray[np.float32] = of.values[:, :, Statistic.VARIABLE_NORM]
    there: Mask = of.values[:, :, Statistic.STATE] != State.ABSENT
    return norms, there & ~is_absent(norms)
