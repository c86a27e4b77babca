"""The statistics of gradients, as TensorFlow operations.

Two ways lead to each number. The fast one takes moments in float32 in one pass
each. The careful one works in float64 on scaled values, and is taken (for the
whole record) when the fast one cannot be trusted: something is not finite,
squares would overflow or underflow, or the standard deviation drowned in the
mean. Everything compiles with XLA. Nothing is ever densified: rows of an
IndexedSlices that have the same index are summed first, as an optimizer does.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.recording.host import HOST
from tb_gradscope.recording.sources import handle_of, shape_of

# Beyond these magnitudes float32 squares overflow, or fall among the denormals.
_SAFE_MAX, _SAFE_MIN = 1e18, 1e-18
# Below this ratio of variance to squared mean, E[x^2] - E[x]^2 has lost its digits.
_CANCELLED = 1e-4


def gradient_statistics(gradients: list[Any], sources: list[Any]) -> Any:
    """Returns the statistics of one call of `tape.gradient`, eagerly or in a graph.

    Args:
      gradients: tensors, IndexedSlices and None, one for each source.
      sources: what was differentiated against: variables and tensors.

    Returns:
      float32 `[variable, statistic]`, in the order of `Statistic`.
    """
    parts = [
        _part_of(gradient, source) for gradient, source in zip(gradients, sources, strict=True)
    ]
    values = [_value_of(source) for source in sources]
    if not tf.executing_eagerly():
        return _statistics(parts, values)
    # One call of a compiled function rather than a thousand eager operations.
    layout = tuple(
        (None if part is None else (part.kind, part.dtype), None if value is None else value.dtype)
        for part, value in zip(parts, values, strict=True)
    )
    arguments = [argument for part in parts if part for argument in part.arguments]
    arguments += [value for value in values if value is not None]
    return _compiled(layout)(*arguments)


def _statistics(parts: list[_Part | None], values: list[Any]) -> Any:
    known = [part for part in parts if part is not None]
    missing = np.full([1, STATISTIC_COUNT], np.nan, np.float32)
    missing[0, Statistic.STATE] = State.NONE
    rows = tf.constant(missing)
    if known:
        fast, trusted = _from_moments(tf.stack([part.moments() for part in known]))
        rows = tf.cond(
            tf.reduce_all(trusted),
            lambda: fast,
            lambda: tf.where(
                trusted[:, None], fast, tf.stack([part.carefully() for part in known])
            ),
        )
        # One more row stands for every None.
        rows = tf.concat([rows, tf.constant(missing)], 0)
    there = np.array([part is not None for part in parts])
    index = np.where(there, np.cumsum(there) - 1, len(known))
    nan = tf.constant(np.nan, tf.float32)
    norms = tf.stack([nan if value is None else norm(value) for value in values])
    rows = tf.gather(rows, tf.constant(index, tf.int32))
    return tf.concat([rows[:, : Statistic.VARIABLE_NORM], norms[:, None]], 1)


@functools.lru_cache(maxsize=256)
def _compiled(layout: tuple[Any, ...]) -> Any:
    """Returns `_statistics` for gradients of these kinds and dtypes, whatever their shapes."""

    def function(*arguments: Any) -> Any:
        left = list(arguments)
        parts: list[_Part | None] = []
        for part, _ in layout:
            if part is None:
                parts.append(None)
            else:
                kind, dtype = part
                parts.append(_Part(kind, dtype, [left.pop(0) for _ in range(_ARGUMENTS[kind])]))
        return _statistics(parts, [left.pop(0) if dtype else None for _, dtype in layout])

    signature: list[Any] = []
    for part, _ in layout:
        signature += [] if part is None else _signature(*part)
    signature += [tf.TensorSpec(None, dtype) for _, dtype in layout if dtype]
    compiled = tf.function(function, input_signature=signature, autograph=False)
    return HOST.call(compiled.get_concrete_function)


def _value_of(source: Any) -> Any | None:
    """Returns the value of a variable of numbers, None for anything else."""
    handle = handle_of(source)
    if handle is None:
        return None
    dtype = tf.as_dtype(source.dtype)
    if not (dtype.is_floating or dtype.is_complex):
        return None
    # The raw read, because an ordinary one makes outer tapes watch the variable.
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)


def norm(tensor: Any) -> Any:
    """Returns the L2 norm of a tensor, or of the rows of an IndexedSlices as they are."""
    values = tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor
    squares = 2.0 * tf.nn.l2_loss(_magnitudes(values))
    return tf.cast(tf.sqrt(squares), tf.float32)


@dataclasses.dataclass(frozen=True)
class _Part:
    """One gradient: what the function that measures it needs.

    Attributes:
      kind: "dense" or "sparse".
      dtype: of its values.
      arguments: the values; sparse: values, indices, number of rows in all.
    """

    kind: str
    dtype: Any
    arguments: list[Any]

    def moments(self) -> Any:
        return _function(f"{self.kind}_moments", self.kind, self.dtype)(*self.arguments)

    def carefully(self) -> Any:
        return _function(f"{self.kind}_carefully", self.kind, self.dtype)(*self.arguments)


_ARGUMENTS = {"dense": 1, "sparse": 3}


def _part_of(gradient: Any, source: Any) -> _Part | None:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        shape = gradient.dense_shape
        rows = tf.cast((shape_of(source) if shape is None else shape)[0], tf.float32)
        indices = tf.cast(gradient.indices, tf.int64)
        return _Part("sparse", gradient.values.dtype, [gradient.values, indices, rows])
    if not isinstance(gradient, tf.Tensor):  # a RaggedTensor or another composite
        parts = tf.nest.flatten(gradient, expand_composites=True)
        numbers = [part for part in parts if part.dtype.is_floating or part.dtype.is_complex]
        gradient = tf.concat([tf.reshape(part, [-1]) for part in numbers], 0)
    return _Part("dense", gradient.dtype, [gradient])


def _signature(kind: str, dtype: Any) -> list[Any]:
    rest = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.float32)]
    return [tf.TensorSpec(None, dtype), *(rest if kind == "sparse" else [])]


@functools.cache
def _function(name: str, kind: str, dtype: Any) -> Any:
    """Returns one measuring function, traced once for all shapes and graphs.

    A graph holds one call of it for each gradient rather than its twenty
    operations, which keeps tracing quick; TensorFlow inlines it later.
    """
    function = tf.function(
        globals()[f"_{name}"], input_signature=_signature(kind, dtype), autograph=False
    )
    return HOST.call(function.get_concrete_function)


def _dense_moments(gradient: Any) -> Any:
    return _moments(gradient, tf.cast(tf.size(gradient, out_type=tf.int64), tf.float32))


def _sparse_moments(values: Any, indices: Any, rows: Any) -> Any:
    summed, size = _summed_rows(values, indices, rows)
    return _moments(summed, size)


def _moments(gradient: Any, size: Any) -> Any:
    """Returns float32 [squares, largest, sum (real, imaginary), nonzero, size].

    Args:
      gradient: the values.
      size: number of elements, those that are not stored (zeros) counted too.
    """
    real, imaginary = _parts(gradient)
    squares = 2.0 * tf.nn.l2_loss(real)
    total = tf.reduce_sum(real)
    total_imaginary = tf.zeros_like(total)
    magnitudes = tf.abs(real)
    if imaginary is not None:
        squares += 2.0 * tf.nn.l2_loss(imaginary)
        total_imaginary = tf.reduce_sum(imaginary)
        magnitudes = tf.abs(gradient)
    largest = tf.maximum(tf.reduce_max(magnitudes), 0)  # of nothing: -Inf
    nonzero = tf.math.count_nonzero(gradient, dtype=tf.int64)
    numbers = [squares, largest, total, total_imaginary, nonzero, size]
    return tf.stack([tf.cast(number, tf.float32) for number in numbers])


def _from_moments(moments: Any) -> tuple[Any, Any]:
    """Returns float32 `[variable, statistic]` and bool `[variable]`, which to trust."""
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


def _dense_carefully(gradient: Any) -> Any:
    return _carefully(gradient, tf.cast(tf.size(gradient, out_type=tf.int64), tf.float64))


def _sparse_carefully(values: Any, indices: Any, rows: Any) -> Any:
    summed, size = _summed_rows(values, indices, rows)
    return _carefully(summed, tf.cast(size, tf.float64))


def _carefully(gradient: Any, size: Any) -> Any:
    """Returns float32 `[statistic]`, computed in float64."""
    real, imaginary = _parts(gradient)
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


def _summed_rows(values: Any, indices: Any, rows: Any) -> tuple[Any, Any]:
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


def _parts(gradient: Any) -> tuple[Any, Any]:
    """Returns real and imaginary part, the latter None for a real gradient."""
    if gradient.dtype.is_complex:
        return tf.math.real(gradient), tf.math.imag(gradient)
    if gradient.dtype in (tf.float32, tf.float64):
        return gradient, None
    return tf.cast(gradient, tf.float32), None


def _magnitudes(tensor: Any) -> Any:
    real, imaginary = _parts(tensor)
    return real if imaginary is None else tf.abs(tensor)
