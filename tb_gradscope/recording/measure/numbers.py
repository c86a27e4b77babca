"""Numbers of a gradient as floats: parts of complex ones, widened halves, summed rows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def norm(tensor: Any) -> Any:
    """Returns the L2 norm of a tensor, or of the rows of an IndexedSlices as they are."""
    values = tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor
    squares = 2.0 * tf.nn.l2_loss(magnitudes(values))
    return tf.cast(tf.sqrt(squares), tf.float32)


def magnitudes(tensor: Any) -> Any:
    real, imaginary = parts_of(tensor)
    return real if imaginary is None else tf.abs(tensor)


def parts_of(gradient: Any) -> tuple[Any, Any]:
    """Returns real and imaginary part, the latter None for a real gradient."""
    if gradient.dtype.is_complex:
        return tf.math.real(gradient), tf.math.imag(gradient)
    if gradient.dtype in (tf.float32, tf.float64):
        return gradient, None
    return tf.cast(gradient, tf.float32), None


def summed_rows(values: Any, indices: Any, rows: Any) -> tuple[Any, Any]:
    """Sums the rows that share an index, into as many rows as there were.

    Rows left over are zero. Returns them and the number of elements of the
    whole dense gradient, float32.
    """
    count = tf.shape(indices)[0]
    values = tf.reshape(values, tf.stack([count, -1]))
    order = tf.argsort(indices)
    ordered = tf.gather(indices, order)
    fresh = tf.concat([tf.zeros([1], tf.int32), tf.cast(ordered[1:] != ordered[:-1], tf.int32)], 0)
    segment_of_ordered = tf.cumsum(fresh)[:count]
    segments = tf.scatter_nd(order[:, None], segment_of_ordered, count[None])
    if values.dtype in (tf.float16, tf.bfloat16):
        values = tf.cast(values, tf.float32)
    summed = tf.math.unsorted_segment_sum(values, segments, count)
    return summed, rows * tf.cast(tf.shape(values)[1], tf.float32)
