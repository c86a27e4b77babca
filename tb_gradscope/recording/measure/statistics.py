"""The statistics of gradients, as TensorFlow operations.

Two ways lead to each number. The fast one takes moments in float32 in one pass
each. The careful one works in float64 on scaled values, and is taken (for the
whole record) when the fast one cannot be trusted: something is not finite,
squares would overflow or underflow, or the standard deviation drowned in the
mean. Everything compiles with XLA. Nothing is ever densified: rows of an
IndexedSlices that have the same index are summed first, as an optimizer does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.recording.measure import careful, moments
from tb_gradscope.recording.measure.arguments import (
    Layout,
    Part,
    apply,
    concrete,
    layout_of,
    packed,
    part_of,
    signatures,
    unpacked,
)
from tb_gradscope.recording.tape.sources import handle_of

# Of a variable with a sparse gradient; the norm of a larger one is not measured: NaN.
_MEASURED_ELEMENTS = 1 << 18


def gradient_statistics(gradients: list[Any], sources: list[Any]) -> Any:
    """Returns the statistics of one call of `tape.gradient`, eagerly or in a graph.

    Args:
      gradients: tensors, IndexedSlices and None, one for each source.
      sources: what was differentiated against: variables and tensors.

    Returns:
      float32 `[variable, statistic]`, in the order of `Statistic`.
    """
    pairs = list(zip(gradients, sources, strict=True))
    parts = [part_of(gradient, source) for gradient, source in pairs]
    values = [None if _is_table(*pair) else _value_of(pair[1]) for pair in pairs]
    if not tf.executing_eagerly():
        return _statistics(parts, values)
    # One call of a compiled function rather than a thousand eager operations.
    return _call(parts, values)


def gradient_row(gradient: Any) -> Any:
    """Returns the statistics of a dense gradient alone, float32 `[statistic]`.

    By one call of a function that was traced before, also in a graph.
    """
    return _call([part_of(gradient, None)], [None])[0]


def variable_norms(sources: list[Any]) -> Any:
    """Returns the L2 norm of each variable, `[variable]`; `UNMEASURED_MARK` of what is none."""
    return moments.all_norms([_value_of(source) for source in sources])


def _call(parts: list[Part | None], values: list[Any]) -> Any:
    layout = layout_of(parts), tuple(None if value is None else value.dtype for value in values)
    return _compiled(layout)(*packed(parts), *(value for value in values if value is not None))


def _statistics(parts: list[Part | None], values: list[Any]) -> Any:
    known = [part for part in parts if part is not None]
    missing = np.full([1, STATISTIC_COUNT], np.nan, np.float32)
    missing[0, Statistic.STATE] = State.NONE
    rows = tf.constant(missing)
    if known:
        fast, trusted = moments.from_moments(moments.all_moments(known))
        rows = tf.cond(
            tf.reduce_all(trusted),
            lambda: fast,
            lambda: tf.where(trusted[:, None], fast, _carefully(known)),
        )
    there = np.array([part is not None for part in parts])
    if known and not there.all():
        # One more row stands for every None.
        rows = tf.concat([rows, tf.constant(missing)], 0)
    index = np.where(there, np.cumsum(there) - 1, len(known))
    norms = moments.all_norms(values)
    if not there.all():
        rows = tf.gather(rows, tf.constant(index, tf.int32))
    return tf.concat([rows[:, : Statistic.VARIABLE_NORM], norms[:, None]], 1)


def _carefully(parts: list[Part]) -> Any:
    """Returns the careful statistics of each part, float32 `[part, statistic]`."""
    return _careful(layout_of(parts))(*packed(parts))


@functools.lru_cache(maxsize=256)
def _careful(layout: Layout) -> Any:
    of: dict[str, Callable[..., Any]] = {"dense": careful.dense, "sparse": careful.sparse}

    def function(*arguments: Any) -> Any:
        parts = unpacked(layout, iter(arguments))
        return tf.stack([apply(of[part.kind], part) for part in parts if part])

    return concrete(function, signatures(layout), inline=False)


@functools.lru_cache(maxsize=256)
def _compiled(layout: tuple[Layout, tuple[Any, ...]]) -> Any:
    """Returns `_statistics` for gradients of these kinds and dtypes, whatever their shapes."""
    kinds, dtypes = layout

    def function(*arguments: Any) -> Any:
        left = iter(arguments)
        parts = unpacked(kinds, left)
        return _statistics(parts, [next(left) if dtype else None for dtype in dtypes])

    specs = [tf.TensorSpec(None, dtype) for dtype in dtypes if dtype]
    return concrete(function, signatures(kinds) + specs)


def _is_table(gradient: Any, source: Any) -> bool:
    """Tells a variable of which a step touches few rows: its norm costs more than the step.

    Reading it is to copy it, too: TensorFlow updates rows in place.
    """
    if not isinstance(gradient, tf.IndexedSlices):
        return False
    count = tf.TensorShape(source.shape).num_elements()
    return count is None or count > _MEASURED_ELEMENTS


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
