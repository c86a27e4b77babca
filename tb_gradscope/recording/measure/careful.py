"""Statistics in float64, of scaled values: slow, and right wherever the fast way is not."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.measure.numbers import parts_of, summed_rows


def dense(gradient: Any) -> Any:
    """Returns the statistics of a dense gradient, float32 `[statistic]`."""
    return _statistics(gradient, tf.cast(tf.size(gradient, out_type=tf.int64), tf.float64))


def sparse(values: Any, indices: Any, rows: Any) -> Any:
    """Returns those of an IndexedSlices, rows of the same index summed."""
    summed, size = summed_rows(values, indices, rows)
    return _statistics(summed, tf.cast(size, tf.float64))


def _statistics(gradient: Any, size: Any) -> Any:
    """Returns float32 `[statistic]`, computed in float64."""
    real, imaginary = parts_of(gradient)
    parts = [tf.cast(part, tf.float64) for part in (real, imaginary) if part is not None]
    nan = functools.reduce(tf.logical_or, [tf.math.is_nan(part) for part in parts])
    inf = functools.reduce(tf.logical_or, [tf.math.is_inf(part) for part in parts])
    nan_count = tf.math.count_nonzero(nan, dtype=tf.int64)
    inf_count = tf.math.count_nonzero(inf & ~nan, dtype=tf.int64)
    largest = functools.reduce(tf.maximum, [_largest(part) for part in parts])
    scale = tf.where(tf.math.is_finite(largest) & (largest > 0), largest, 1.0)
    scaled = [part / scale for part in parts]
    squares = tf.add_n([tf.reduce_sum(part**2) for part in scaled])
    means = [tf.reduce_sum(part) / size for part in scaled]
    stored = tf.cast(tf.size(real, out_type=tf.int64), tf.float64)
    spread = tf.add_n(
        [tf.reduce_sum((part - mean) ** 2) for part, mean in zip(scaled, means, strict=True)]
    ) + (size - stored) * tf.add_n([mean**2 for mean in means])
    if imaginary is not None:
        magnitudes = tf.sqrt(tf.add_n([part**2 for part in scaled]))
        largest = scale * tf.reduce_max(magnitudes)
    nonzero = tf.cast(tf.math.count_nonzero(gradient, dtype=tf.int64), tf.float64)
    state = tf.where(
        nan_count > 0,
        State.NAN,
        tf.where(inf_count > 0, State.INF, tf.where(nonzero > 0, State.OK, State.ZERO)),
    )
    columns = {
        Statistic.STATE: state,
        Statistic.NORM: scale * tf.sqrt(squares),
        Statistic.MAX_ABS: largest,
        Statistic.MEAN: scale * means[0],
        Statistic.STD: scale * tf.sqrt(spread / size),
        Statistic.ZERO_FRACTION: (size - nonzero) / size,
        Statistic.NAN_COUNT: nan_count,
        Statistic.INF_COUNT: inf_count,
        Statistic.VARIABLE_NORM: 0,
    }
    return tf.stack([tf.cast(columns[statistic], tf.float32) for statistic in Statistic])


def _largest(part: Any) -> Any:
    largest = tf.maximum(tf.reduce_max(tf.abs(part)), 0)
    # reduce_max may drop a NaN, depending on where it stands.
    return tf.where(tf.reduce_any(tf.math.is_nan(part)), np.float64(np.nan), largest)
