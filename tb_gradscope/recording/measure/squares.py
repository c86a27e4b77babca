"""Squared norms of gradients: one pass over their memory, the cheapest look there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.measure.moments import is_small, together
from tb_gradscope.recording.measure.numbers import parts_of
from tb_gradscope.recording.measure.order import in_order


@dataclasses.dataclass(frozen=True)
class Watched:
    """The gradients of one call, as a sentinel looks at them.

    Attributes:
      make: returns the gradients; called where the look is.
      apart: positions of those that must not wait for the others.
      are_finite_apart: returns bool `[apart]`, whether there is no NaN or infinity in it;
        None where there are none.
    """

    make: Callable[[], Sequence[Any]]
    apart: tuple[int, ...] = ()
    are_finite_apart: Callable[[], Any] | None = None

    @classmethod
    def of(cls, gradients: Gradients) -> Watched:
        """Returns gradients some of which may be measured apart."""
        return cls(lambda: gradients.values, gradients.apart, gradients.are_finite_apart)

    def values(self) -> list[Any]:
        """Returns a tensor for each gradient, None for None.

        Of an IndexedSlices its rows as they are: summing those of the same index costs far
        more than the look.
        """
        return [_values_of(gradient) for gradient in self.make()]

    @staticmethod
    def layout(values: list[Any]) -> Hashable:
        """Returns what a compiled look depends on: it serves all shapes."""
        return tuple(None if value is None else value.dtype for value in values)

    @staticmethod
    def signature(layout: Any) -> list[Any]:
        """Returns the specs of `arguments`."""
        return [tf.TensorSpec(None, dtype) for dtype in layout if dtype is not None]

    @classmethod
    def of_arguments(cls, layout: Any, arguments: tuple[Any, ...]) -> Watched:
        """Returns what has these arguments, while a look is compiled."""
        left = iter(arguments)
        values = [None if each is None else next(left) for each in layout]
        return cls(lambda: values)

    def half_squares(self) -> list[Any]:
        """Returns half the squared norm of each gradient, float32 scalars.

        0 for None, not finite where a square overflows too. Each gradient alone, however
        small: to put small ones in one tensor first costs as much on few elements, and
        far more on many.
        """
        zero = tf.constant(0.0)
        return [zero if value is None else _half(value) for value in self.values()]

    def are_finite(self) -> Any:
        """Returns bool `[gradient]`: whether there is no NaN or infinity in it."""
        every = self.values()
        here = [index for index in range(len(every)) if index not in self.apart]
        small = [i for i in here if every[i] is not None and is_small(every[i])]
        other = [i for i in here if i not in set(small)]
        groups = []
        if small:
            rows, owners, count = together([every[index] for index in small])
            finite = tf.cast(tf.reduce_all(tf.math.is_finite(rows), 1), tf.int32)
            groups.append(tf.math.unsorted_segment_min(finite, owners, count) > 0)
        if other:
            values = [every[index] for index in other]
            groups.append(
                tf.stack([tf.constant(True) if v is None else _is_finite(v) for v in values])
            )
        if self.are_finite_apart is not None and self.apart:
            groups.append(self.are_finite_apart())
        return in_order(groups, [*small, *other, *self.apart])


def _values_of(gradient: Any) -> Any:
    if gradient is None or isinstance(gradient, tf.Tensor):
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        return gradient.values
    parts = tf.nest.flatten(gradient, expand_composites=True)
    numbers = [part for part in parts if part.dtype.is_floating or part.dtype.is_complex]
    return tf.concat([tf.reshape(part, [-1]) for part in numbers], 0)


def _half(value: Any) -> Any:
    halves = [tf.nn.l2_loss(part) for part in parts_of(value) if part is not None]
    return tf.cast(halves[0] if len(halves) == 1 else tf.add_n(halves), tf.float32)


def _is_finite(value: Any) -> Any:
    parts = [tf.reduce_all(tf.math.is_finite(part)) for part in parts_of(value) if part is not None]
    return tf.reduce_all(parts)
