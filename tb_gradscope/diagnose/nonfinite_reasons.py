"""What to try where a gradient is not finite: which of the usual reasons the pattern shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.between import broken_rates
from tb_gradscope.diagnose.norms import names_of, norms_of, record_at
from tb_gradscope.diagnose.roles import role
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import State, Statistic

_BEFORE = 4  # records that show a growth
_GROWN = 100
_LEAPT = 1e6  # losses of a training that still works stay far below


def advice(
    run: RunHistory,
    loss: LossHistory,
    columns: list[int],
    step: int,
    word: str,
    some_finite: bool,
    ill: Sequence[str],
) -> str:
    """Says what to try where the gradient of a loss is not finite.

    Args:
      run: of the loss.
      loss: whose gradient.
      columns: of the variables in which it began, in the order of the forward pass.
      step: at which it began.
      word: "NaN" or "Inf".
      some_finite: the gradients of others were finite then.
      ill: names of variables that were not finite themselves by then.
    """
    whole = norms_of(loss).whole[loss.steps < step]
    whole = whole[np.isfinite(whole) & (whole > 0)]
    grew = len(whole) >= _BEFORE and whole[-1] >= _GROWN * np.median(whole[: len(whole) // 2])
    if grew or _has_leapt(loss, step):
        return (
            "The gradients had grown without bounds before, so lower the learning rate (or warm it "
            "up), and clip with gs.clip_by_global_norm."
        )
    if ill:
        return _of_update(run, ill, step)
    if layer := _fed(run, loss, columns[-1], step):
        if _is_finite(loss, step):
            return (
                f"Either the input of {layer} was not finite where it takes no part in the loss, "
                f"such as behind a mask, or its kernel's gradient has overflowed (its "
                f"bias's has not): look at the data of step {step}."
            )
        return (
            f"The input of {layer} was not finite, since its kernel's gradient is not and its "
            f"bias's is: look at the data of step {step}, or at what is computed in front of "
            "that layer."
        )
    if some_finite:
        (reached,) = names_of(run, loss, columns[-1:])
        return (
            f"Look at what stands between {reached} and the loss: a log, a division, a sqrt or a "
            "power at zero; tf.debugging.enable_check_numerics() names the operation."
        )
    return (
        f"All are {word} at once, so look at the loss itself: a log, a division or a sqrt at "
        "zero, or NaN in the data; tf.debugging.enable_check_numerics() names the operation."
    )


def _of_update(run: RunHistory, ill: Sequence[str], step: int) -> str:
    """Says what may have changed variables so that they are not finite any more."""
    for optimizer in run.optimizers:
        at = np.flatnonzero(broken_rates(optimizer) & (optimizer.steps <= step))
        if at.size:
            rate = words.amount(float(optimizer.learning_rates[at[0]]))
            return (
                f"The learning rate of {optimizer.name} is {rate} at step "
                f"{optimizer.steps[at[0]]}: look at what sets it."
            )
    return (
        f"So look at what changed {words.named(ill)} in the step before: an update that was not "
        "finite (a gradient that was clipped or changed, a learning rate or an epsilon of the "
        "optimizer), or an assignment."
    )


def _is_finite(loss: LossHistory, step: int) -> bool:
    """Tells whether the loss itself is known to have been finite."""
    at = record_at(loss.steps, step)
    return at is not None and bool(np.isfinite(loss.loss_values[at]))


def _has_leapt(loss: LossHistory, step: int) -> bool:
    """Tells whether the loss was finite to the end, and far from where it began: overshot."""
    values = np.abs(loss.loss_values[loss.steps <= step].astype(np.float64))
    return len(values) > 1 and bool(0 < _LEAPT * values[0] <= values[-1] < np.inf)


def _fed(run: RunHistory, loss: LossHistory, column: int, step: int) -> str:
    """Returns the layer that was fed with it: its bias is finite, its kernel is not, else ""."""
    at = record_at(loss.steps, step)
    kernel = run.variables[loss.variables[column]]
    if at is None or not kernel.layer or role(kernel) != "kernel":
        return ""
    states = loss.values[at, :, Statistic.STATE]
    for column, position in enumerate(loss.variables.tolist()):
        one = run.variables[position]
        if one.layer == kernel.layer and role(one) == "bias" and states[column] == State.OK:
            return str(kernel.layer)
    return ""
