"""Squared norms of gradients: one pass over their memory, the cheapest look there is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.recording.measure.moments import is_small, together
from tb_gradscope.recording.measure.numbers import parts_of


class Watched:
    """The gradients of one call, as a sentinel looks at them.

    Attributes:
      values: a tensor for each gradient, None for None. Of an IndexedSlices its
        rows as they are: summing those of the same index costs far more than the look.
    """

    def __init__(self, gradients: list[Any]) -> None:
        self.values = [_values_of(gradient) for gradient in gradients]

    def layout(self, any_shape: bool) -> Hashable:
        """Returns what a compiled look depends on.

        Args:
          any_shape: let it serve all shapes; small gradients are not measured together then.
        """
        return tuple(
            None if value is None else (value.dtype, None if any_shape else _shape(value))
            for value in self.values
        )

    @property
    def arguments(self) -> list[Any]:
        """What a compiled look is called with."""
        return [value for value in self.values if value is not None]

    @staticmethod
    def signature(layout: Any) -> list[Any]:
        """Returns the specs of `arguments`."""
        return [tf.TensorSpec(shape, dtype) for dtype, shape in filter(None, layout)]

    @classmethod
    def of_arguments(cls, layout: Any, arguments: tuple[Any, ...]) -> Watched:
        """Returns what has these arguments, while a look is compiled."""
        left = iter(arguments)
        return cls([None if each is None else next(left) for each in layout])

    def squared_norms(self) -> Any:
        """Returns float32 `[gradient]`: 0 for None, not finite where a square overflows too."""
        there = [index for index, value in enumerate(self.values) if value is not None]
        small = [index for index in there if is_small(self.values[index])]
        large = [index for index in there if not is_small(self.values[index])]
        groups = []
        if small:
            rows, owners, count = together([self.values[index] for index in small])
            groups.append(
                tf.math.unsorted_segment_sum(tf.reduce_sum(rows * rows, 1), owners, count)
            )
        if large:
            halves = tf.stack([_half_of_squares(self.values[index]) for index in large])
            groups.append(2.0 * halves)
        none = [index for index, value in enumerate(self.values) if value is None]
        if none:
            groups.append(tf.zeros([len(none)]))
        squares = tf.concat(groups, 0) if len(groups) > 1 else groups[0]
        order = np.argsort(small + large + none)
        if (order == np.arange(len(order))).all():
            return squares
        return tf.gather(squares, tf.constant(order, tf.int32))

    def are_finite(self) -> Any:
        """Returns bool `[gradient]`: whether there is no NaN or infinity in it."""
        return tf.stack(
            [tf.constant(True) if value is None else _is_finite(value) for value in self.values]
        )


def _values_of(gradient: Any) -> Any:
    if gradient is None or isinstance(gradient, tf.Tensor):
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        return gradient.values
    parts = tf.nest.flatten(gradient, expand_composites=True)
    numbers = [part for part in parts if part.dtype.is_floating or part.dtype.is_complex]
    return tf.concat([tf.reshape(part, [-1]) for part in numbers], 0)


def _shape(value: Any) -> Any:
    """Returns the shape of a small tensor; large ones are measured alike, whatever their shape."""
    return tuple(value.shape) if is_small(value) else None


def _half_of_squares(value: Any) -> Any:
    halves = [tf.nn.l2_loss(part) for part in parts_of(value) if part is not None]
    return tf.cast(halves[0] if len(halves) == 1 else tf.add_n(halves), tf.float32)


def _is_finite(value: Any) -> Any:
    parts = [tf.reduce_all(tf.math.is_finite(part)) for part in parts_of(value) if part is not None]
    return tf.reduce_all(parts)
