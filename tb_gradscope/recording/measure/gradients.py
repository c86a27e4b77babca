"""Large gradients of a graph, measured apart: each as soon as it is there.

What records a whole call of which the sentinel decides must wait until the last
gradient is there. Until then it holds the others, and TensorFlow, which frees each as
soon as the optimizer has used it, could not. So only small gradients wait for each
other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.measure import statistics
from tb_gradscope.recording.store.description import UNMEASURED_MARK

HELD_BYTES = 1 << 24
"""Gradients of so many bytes may wait for each other on steps that are not recorded."""


def _apart(gradients: Sequence[Any]) -> tuple[int, ...]:
    """Returns the positions of the gradients that are too large to wait for the others.

    None, where all together are small enough. Never sparse ones: they are the rows of one
    batch, and their norm is not that of the rows as they are.
    """
    sizes = {
        position: _bytes_of(gradient)
        for position, gradient in enumerate(gradients)
        if isinstance(gradient, tf.Tensor)
    }
    if sum(sizes.values()) <= HELD_BYTES:
        return ()
    held = 0.0
    apart = []
    for position in sorted(sizes, key=lambda position: (sizes[position], position)):
        held += sizes[position]
        if held > HELD_BYTES / 2:
            apart.append(position)
    return tuple(sorted(apart))


def _bytes_of(tensor: Any) -> float:
    count = tensor.shape.num_elements()
    return float("inf") if count is None else count * tensor.dtype.size


class Gradients:
    """The gradients of one call, and how they are measured.

    Attributes:
      values: the gradients as they are; None is data.
      apart: positions of those that are measured apart from the others; none in eager code,
        where the program holds them all.
    """

    def __init__(
        self,
        values: Sequence[Any],
        sources: Sequence[Any],
        scale: Any = None,
        true: Callable[[Any], Any] = lambda gradient: gradient,
    ) -> None:
        """Takes note of them.

        Args:
          values: the gradients.
          sources: one for each.
          scale: the loss scale that is in them, None for none.
          true: returns a gradient without it.
        """
        self.values = values
        self.apart = () if tf.executing_eagerly() else _apart(values)
        self._sources, self._scale, self._true = sources, scale, true
        self._rows: Any = None

    def measure_apart(self, is_due: Any, seen: Sequence[tuple[Any, Any]] | None) -> None:
        """Measures each of those apart if the call is due, or it is odd itself; in a graph.

        Args:
          is_due: bool scalar that needs no gradient.
          seen: by a sentinel, of each half its squared norm, as it is, and a bool scalar:
            more than its norm must be known. None where none looks.
        """
        nothing = tf.constant(0.0), tf.constant(False)
        rows = [
            tf.cond(
                tf.logical_or(is_due, is_odd),
                functools.partial(self._measured, position),
                functools.partial(self._norm_alone, half),
            )
            for position, (half, is_odd) in zip(
                self.apart, seen or [nothing] * len(self.apart), strict=True
            )
        ]
        self._rows = tf.stack(rows)

    def _measured(self, position: int) -> Any:
        gradient = self._true(self.values[position])
        return statistics.compiled_statistics([gradient], [self._sources[position]])[0]

    def _norm_alone(self, half: Any) -> Any:
        norm = np.float32(np.sqrt(2.0)) * tf.sqrt(half)
        if self._scale is not None:
            norm /= tf.cast(self._scale, tf.float32)
        known = {
            Statistic.STATE: tf.where(tf.math.is_nan(half), float(State.NAN), float(State.OK)),
            Statistic.NORM: norm,
            Statistic.MAX_ABS: tf.constant(UNMEASURED_MARK),
        }
        return tf.stack([known.get(statistic, tf.constant(0.0)) for statistic in Statistic])

    def are_finite_apart(self) -> list[Any]:
        """Returns a bool scalar of each that was measured apart: no NaN or infinity in it."""
        states = tf.unstack(self._rows[:, Statistic.STATE])
        return [(state != float(State.NAN)) & (state != float(State.INF)) for state in states]

    def statistics(self) -> Any:
        """Returns the statistics of all, float32 `[gradient, statistic]`.

        Of those apart as they were measured, if they were; run where a call is recorded.
        """
        every = range(len(self.values))
        if self._rows is None:
            return self._statistics(every)
        others = [position for position in every if position not in set(self.apart)]
        rows = [self._statistics(others), self._rows] if others else [self._rows]
        order = np.argsort([*others, *self.apart]).astype(np.int32)
        return tf.gather(tf.concat(rows, 0), order)

    def _statistics(self, positions: Iterable[int]) -> Any:
        pairs = [(self._true(self.values[at]), self._sources[at]) for at in positions]
        return statistics.gradient_statistics(*map(list, zip(*pairs, strict=True)))
