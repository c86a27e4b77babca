"""The statistics of one large gradient, which does not wait for the others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.measure.arguments import concrete
from tb_gradscope.recording.measure.statistics import gradient_row, variable_norms
from tb_gradscope.recording.optimizer.scaling import unscaled
from tb_gradscope.recording.store.description import UNMEASURED_MARK


def unseen(count: int) -> list[tuple[Any, Any]]:
    """Returns what stands for `Glance.apart` of so many gradients where no sentinel looks."""
    return [(tf.constant(0.0), tf.constant(False))] * count


def row_if(is_wanted: Any, gradient: Any, half: Any, scale: Any = None) -> Any:
    """Returns the statistics of a dense gradient, or its norm alone, in a graph.

    Args:
      is_wanted: bool scalar: all statistics.
      gradient: as it is.
      half: half its squared norm.
      scale: the loss scale that is in it, None for none.
    """
    function = _row(gradient.dtype, scale is not None)
    scales = [] if scale is None else [tf.cast(scale, tf.float32)]
    return function(is_wanted, gradient, half, *scales)


@functools.cache
def _row(dtype: Any, has_scale: bool) -> Any:
    # Traced once, and called once for each gradient: two branches of its own for each
    # take most of the first call of a function with a hundred of them.
    def function(is_wanted: Any, gradient: Any, half: Any, scale: Any = None) -> Any:
        return tf.cond(
            is_wanted,
            lambda: gradient_row(unscaled(gradient, scale)),
            lambda: norm_alone(half, scale),
        )

    number = tf.TensorSpec([], tf.float32)
    specs = [tf.TensorSpec([], tf.bool), tf.TensorSpec(None, dtype), number]
    return concrete(function, [*specs, number] if has_scale else specs, inline=False)


def norm_alone(half: Any, scale: Any = None) -> Any:
    """Returns what stands for the statistics of a gradient of which only the norm is known.

    Args:
      half: half its squared norm as it is; not infinite, as a gradient of which that is so
        is measured in full.
      scale: the loss scale that is in it, None for none.
    """
    norm = np.float32(np.sqrt(2.0)) * tf.sqrt(half)
    if scale is not None:
        norm /= tf.cast(scale, tf.float32)
    known = {
        Statistic.STATE: tf.where(tf.math.is_nan(half), float(State.NAN), float(State.OK)),
        Statistic.NORM: norm,
        Statistic.MAX_ABS: tf.constant(UNMEASURED_MARK),
    }
    return tf.stack([known.get(statistic, tf.constant(0.0)) for statistic in Statistic])


def rows_apart(
    is_due: Any,
    positions: Sequence[int],
    seen: Sequence[tuple[Any, Any]],
    row: Callable[[Any, int, Any], Any],
    sources: list[Any],
) -> Any:
    """Returns the rows of gradients that do not wait for each other, `[gradient, ...]`.

    Args:
      is_due: bool scalar: measure all, and the norms of the variables.
      positions: of the gradients.
      seen: by a sentinel, of each half its squared norm, as it is, and a bool scalar:
        measure it in any case.
      row: returns that of a position; all of it if a bool scalar says so, else what half
        its squared norm tells.
      sources: of the gradients.
    """
    rows = [
        row(tf.logical_or(is_due, is_odd), position, half)
        for position, (half, is_odd) in zip(positions, seen, strict=True)
    ]
    unmeasured = np.full(len(sources), UNMEASURED_MARK, np.float32)
    # Not beside the rows: what reads a variable where its gradient is holds up its update.
    norms = tf.cond(is_due, lambda: variable_norms(sources), lambda: tf.constant(unmeasured))
    return with_norms(tf.stack(rows), norms)


def with_norms(rows: Any, norms: Any) -> Any:
    """Returns statistics `[gradient, statistic, or more]` with the norms of the variables."""
    before, after = rows[:, : Statistic.VARIABLE_NORM], rows[:, Statistic.VARIABLE_NORM + 1 :]
    return tf.concat([before, norms[:, None], after], 1)


def are_finite(rows: Any) -> Any:
    """Returns bool `[gradient]` of statistics `[gradient, statistic]`: no NaN, no infinity."""
    states = rows[:, Statistic.STATE]
    return (states != float(State.NAN)) & (states != float(State.INF))
