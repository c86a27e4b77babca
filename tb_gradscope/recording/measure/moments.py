"""Statistics from moments in float32: one pass over the gradient for each.

Small gradients are measured together, because starting an operation takes
longer than what it does to a few numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.measure.arguments import Part, apply, concrete
from tb_gradscope.recording.measure.numbers import norm, parts_of, summed_rows
from tb_gradscope.recording.measure.order import in_order
from tb_gradscope.recording.store.description import UNMEASURED_MARK

# Beyond these magnitudes float32 squares overflow, or fall among the denormals.
_SAFE_MAX, _SAFE_MIN = 1e18, 1e-18
# Below this ratio of variance to squared mean, E[x^2] - E[x]^2 has lost its digits.
_CANCELLED = 1e-4


def dense(gradient: Any) -> Any:
    """Returns the moments of a dense gradient."""
    return _moments(gradient, tf.cast(tf.size(gradient, out_type=tf.int64), tf.float32))


def sparse(values: Any, indices: Any, rows: Any) -> Any:
    """Returns the moments of an IndexedSlices, rows of the same index summed."""
    summed, size = summed_rows(values, indices, rows)
    return _moments(summed, size)


def _moments(gradient: Any, size: Any) -> Any:
    """Returns float32 [squares, largest, sum (real, imaginary), nonzero, size].

    Args:
      gradient: the values.
      size: number of elements, those that are not stored (zeros) counted too.
    """
    real, imaginary = parts_of(gradient)
    squares, total = 2.0 * tf.nn.l2_loss(real), tf.reduce_sum(real)
    if imaginary is None:
        total_imaginary = tf.zeros_like(total)
        largest = tf.maximum(tf.reduce_max(real), -tf.reduce_min(real))
        nonzero = 2.0 * tf.nn.l2_loss(tf.sign(real))
    else:
        squares += 2.0 * tf.nn.l2_loss(imaginary)
        total_imaginary = tf.reduce_sum(imaginary)
        largest = tf.reduce_max(tf.abs(gradient))
        nonzero = tf.math.count_nonzero(gradient, dtype=tf.int64)
    largest = tf.maximum(largest, 0)  # of nothing: -Inf
    numbers = [squares, largest, total, total_imaginary, nonzero, size]
    return tf.stack([tf.cast(number, tf.float32) for number in numbers])


_OF: dict[str, Callable[..., Any]] = {"dense": dense, "sparse": sparse}

# Up to so many elements, starting an operation takes longer than what it does.
_SMALL = 1 << 13
_WIDTH = 64  # narrower rows take longer to sum, wider ones are mostly filled up


def is_small(tensor: Any) -> bool:
    """Tells whether a tensor is measured together with others."""
    count = tensor.shape.num_elements()
    return count is not None and 0 < count <= _SMALL and _is_plain(tensor.dtype)


def _is_plain(dtype: Any) -> bool:
    """Tells the types whose small tensors are measured together, as float32."""
    return dtype in (tf.float32, tf.float16, tf.bfloat16)


def together(tensors: list[Any]) -> tuple[Any, Any, int]:
    """Puts small tensors in one.

    Returns:
      float32 `[row, _WIDTH]`, in which each begins a row of its own and is
      filled up with zeros, which change no sum; the tensor that each row is
      part of, int32 `[row]`; how many tensors there are.
    """
    layout = tuple((tensor.dtype, tuple(tensor.shape)) for tensor in tensors)
    lengths = [-(-tensor.shape.num_elements() // _WIDTH) for tensor in tensors]
    owners = np.repeat(np.arange(len(tensors), dtype=np.int32), lengths)
    return _in_rows(layout)(*tensors), tf.constant(owners), len(tensors)


@functools.lru_cache(maxsize=256)
def _in_rows(layout: tuple[Any, ...]) -> Any:
    """Returns what puts tensors of these types and shapes in rows.

    Traced once for all losses and graphs: a reshape for each tensor and place is
    most of what there is to trace.
    """

    def function(*tensors: Any) -> Any:
        pieces: list[Any] = []
        for tensor in tensors:
            pieces.append(tf.cast(tf.reshape(tensor, [-1]), tf.float32))
            if left := -tensor.shape.num_elements() % _WIDTH:
                pieces.append(np.zeros(left, np.float32))
        return tf.reshape(tf.concat(pieces, 0), [-1, _WIDTH])

    return concrete(function, [tf.TensorSpec(shape, dtype) for dtype, shape in layout])


def all_moments(parts: list[Part]) -> Any:
    """Returns the moments of every part, float32 `[part, moment]`, as `_moments` does of one."""
    small, large, other = [], [], []
    for index, part in enumerate(parts):
        gradient = part.arguments[0]
        if part.kind == "dense" and is_small(gradient):
            small.append(index)
        elif part.kind == "dense" and gradient.dtype.is_floating:
            large.append(index)
        else:
            other.append(index)
    groups = []
    if small:
        groups.append(_small_moments([parts[index].arguments[0] for index in small]))
    if large:
        groups.append(_large_moments([parts[index].arguments[0] for index in large]))
    if other:
        groups.append(tf.stack([apply(_OF[parts[index].kind], parts[index]) for index in other]))
    return in_order(groups, small + large + other)


def _small_moments(gradients: list[Any]) -> Any:
    rows, owners, count = together(gradients)
    squared = rows * rows
    sums = [squared, rows, tf.cast(rows != 0, tf.float32)]
    summed = tf.math.unsorted_segment_sum(
        tf.stack([tf.reduce_sum(each, 1) for each in sums], 1), owners, count
    )
    squares, total, nonzero = tf.unstack(summed, axis=1)
    # A root gives back what was squared, to the last bit, wherever these moments are trusted.
    largest = tf.sqrt(tf.math.unsorted_segment_max(tf.reduce_max(squared, 1), owners, count))
    sizes = [gradient.shape.num_elements() for gradient in gradients]
    size = tf.constant(sizes, tf.float32)
    return tf.stack([squares, largest, total, tf.zeros_like(total), nonzero, size], 1)


def _large_moments(gradients: list[Any]) -> Any:
    real = [parts_of(gradient)[0] for gradient in gradients]

    def stacked(function: Any) -> Any:
        # All of them at once from here on: one operation rather than one for each.
        return tf.stack([tf.cast(function(part), tf.float32) for part in real])

    squares = 2.0 * stacked(tf.nn.l2_loss)
    total = stacked(tf.reduce_sum)
    # No temporary tensor, unlike abs. Of nothing: -Inf.
    largest = tf.maximum(stacked(tf.reduce_max), -stacked(tf.reduce_min))
    # The sum of squared signs: less memory is written than by count_nonzero.
    nonzero = 2.0 * stacked(lambda part: tf.nn.l2_loss(tf.sign(part)))
    size = stacked(lambda part: _size(part))
    largest = tf.maximum(largest, 0)
    return tf.stack([squares, largest, total, tf.zeros_like(total), nonzero, size], 1)


def _size(tensor: Any) -> Any:
    count = tensor.shape.num_elements()
    return tf.size(tensor, out_type=tf.int64) if count is None else np.float32(count)


def all_norms(values: list[Any]) -> Any:
    """Returns the L2 norm of each, float32 `[value]`; `UNMEASURED_MARK` where there is none."""
    small = [i for i, value in enumerate(values) if value is not None and is_small(value)]
    large = [i for i, value in enumerate(values) if value is not None and i not in set(small)]
    none = [i for i, value in enumerate(values) if value is None]
    groups = []
    if small:
        rows, owners, count = together([values[index] for index in small])
        squares = tf.math.unsorted_segment_sum(tf.reduce_sum(rows * rows, 1), owners, count)
        groups.append(tf.sqrt(squares))
    if large:
        plain = [index for index in large if values[index].dtype == tf.float32]
        odd = [index for index in large if index not in plain]
        large = plain + odd
        if plain:
            squares = 2.0 * tf.stack([tf.nn.l2_loss(values[index]) for index in plain])
            groups.append(tf.sqrt(squares))
        groups += [norm(values[index])[None] for index in odd]
    if none:
        groups.append(tf.fill([len(none)], np.float32(UNMEASURED_MARK)))
    return in_order(groups, small + large + none)


def from_moments(moments: Any) -> tuple[Any, Any]:
    """Returns float32 `[variable, statistic]` and bool `[variable]`, which to trust.

    Args:
      moments: float32 `[variable, moment]`.
    """
    squares, largest, total, imaginary, nonzero, size = tf.unstack(moments, axis=1)
    mean = tf.math.divide_no_nan(total, size)
    squared_mean = mean**2 + tf.math.divide_no_nan(imaginary, size) ** 2
    variance = tf.math.divide_no_nan(squares, size) - squared_mean
    single = size <= 1
    variance = tf.where(single, 0.0, tf.maximum(variance, 0))
    zero = (nonzero == 0) & (size > 0)
    trusted = (
        tf.math.is_finite(squares)
        & tf.math.is_finite(total)
        & (zero | (size == 0) | ((largest < _SAFE_MAX) & (largest > _SAFE_MIN)))
        & (single | zero | (variance > _CANCELLED * squared_mean))
    )
    none = tf.zeros_like(squares)
    columns = {
        Statistic.STATE: tf.where(zero, float(State.ZERO), float(State.OK)),
        Statistic.NORM: tf.sqrt(squares),
        Statistic.MAX_ABS: largest,
        Statistic.MEAN: mean,
        Statistic.STD: tf.sqrt(variance),
        Statistic.ZERO_FRACTION: tf.math.divide_no_nan(size - nonzero, size),
    }
    return tf.stack([columns.get(statistic, none) for statistic in Statistic], 1), trusted
