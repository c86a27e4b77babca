"""Large gradients of a graph, measured apart: each as soon as it is there.

What records a whole call of which the sentinel decides must wait until the last
gradient is there. Until then it holds the others, and TensorFlow, which frees each as
soon as the optimizer has used it, could not. So only small gradients wait for each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.measure import statistics
from tb_gradscope.recording.measure.alone import (
    are_finite,
    row_if,
    rows_apart,
    unseen,
)
from tb_gradscope.recording.measure.order import in_order
from tb_gradscope.recording.optimizer.scaling import unscaled

HELD_BYTES = 1 << 24
"""Gradients of so many bytes may wait for each other on steps that are not recorded."""


def apart_of(gradients: Sequence[Any]) -> tuple[int, ...]:
    """Returns the positions of the gradients that are too large to wait for the others.

    No positions where all together are small enough. Else those that wait leave room for
    what else is kept with them. Never sparse ones: they are the rows of one batch, and
    their norm is not that of the rows as they are. What has no known shape counts as large.
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


def are_large(gradients: Sequence[Any]) -> bool:
    """Tells whether some may not wait for the others on steps that are not recorded."""
    return not tf.executing_eagerly() and bool(apart_of(gradients))


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
    ) -> None:
        """Takes note of them.

        Args:
          values: the gradients.
          sources: one for each.
          scale: the loss scale that is in them, None for none.
        """
        self.values = values
        self.apart = () if tf.executing_eagerly() else apart_of(values)
        self._sources, self._scale = sources, scale
        self._rows: Any = None

    def measure_apart(self, is_due: Any, seen: Sequence[tuple[Any, Any]] | None) -> None:
        """Measures each of those apart if the call is due, or it is odd itself; in a graph.

        Args:
          is_due: bool scalar that needs no gradient. Only then are the variables read, and
            at once: what reads them later holds up the optimizer, which holds the gradients.
          seen: by a sentinel, of each half its squared norm, as it is, and a bool scalar:
            more than its norm must be known. None where none looks.
        """

        def row(is_wanted: Any, position: int, half: Any) -> Any:
            return row_if(is_wanted, self.values[position], half, self._scale)

        seen = unseen(len(self.apart)) if seen is None else seen
        sources = [self._sources[position] for position in self.apart]
        self._rows = rows_apart(is_due, self.apart, seen, row, sources)

    def are_finite_apart(self) -> Any:
        """Returns bool `[apart]`: whether there is no NaN or infinity in it."""
        return are_finite(self._rows)

    def statistics(self) -> Any:
        """Returns the statistics of all, float32 `[gradient, statistic]`.

        Of those apart as they were measured, if they were; run where a call is recorded.
        """
        every = range(len(self.values))
        if self._rows is None:
            return self._statistics(every)
        others = [position for position in every if position not in set(self.apart)]
        rows = [self._statistics(others), self._rows] if others else [self._rows]
        return in_order(rows, [*others, *self.apart])

    def _statistics(self, positions: Iterable[int]) -> Any:
        positions = list(positions)
        true = [unscaled(self.values[position], self._scale) for position in positions]
        sources = [self._sources[position] for position in positions]
        return statistics.gradient_statistics(true, sources)
