"""What is measured of one step of an optimizer, as TensorFlow operations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.format.statistics import Statistic
from tb_gradscope.recording.clipping.clips import clip_payload, global_scale, whole_norm
from tb_gradscope.recording.measure import moments
from tb_gradscope.recording.measure.arguments import concrete
from tb_gradscope.recording.measure.numbers import norm
from tb_gradscope.recording.optimizer.internals import OwnClipping, is_compiled, read


def when_due(due: Any, build: Callable[[], list[Any]], otherwise: Callable[[], list[Any]]) -> Any:
    """Returns what `build` makes if the call is due, eagerly or in a graph.

    Args:
      due: a bool, or a bool scalar of the graph under construction.
      build: makes tensors; in a graph inside the branch.
      otherwise: makes tensors that take their place, of the same types.
    """
    if tf.executing_eagerly():
        return build() if due else None
    # Not inlined: TensorFlow passes over one operation where nothing is due.
    function = tf.function(build, autograph=False, experimental_attributes={"_noinline": True})
    return tf.cond(due, function, otherwise)


def clip_norms(clipping: OwnClipping, gradients: list[Any], measured: Any) -> Any:
    """Returns what an optimizer's own clip site makes of gradients, float32 `[gradient, 2]`.

    Computed from what goes in, by Keras' own formulas. With a second reader,
    what comes out might no longer be joined with the update that follows, which
    would then round otherwise.

    Args:
      clipping: how it clips.
      gradients: what goes in; None is data.
      measured: their statistics.

    Returns:
      The norm of each before, and after it where elements are clipped, 0 for None.
    """
    known = measured[:, Statistic.NORM]
    before = tf.stack(
        [
            # Keras does not sum rows of the same index.
            norm(gradient) if isinstance(gradient, tf.IndexedSlices) else known[row]
            for row, gradient in enumerate(gradients)
        ]
    )
    before = tf.where([gradient is None for gradient in gradients], 0.0, before)
    if clipping.method != messages.Clip.VALUE:
        return tf.stack([before, before], 1)
    threshold = tf.constant(clipping.threshold, tf.float32)
    after = [tf.constant(0.0) if g is None else _clipped_norm(g, threshold) for g in gradients]
    return tf.stack([before, tf.stack(after)], 1)


def own_clip_payload(clipping: OwnClipping, norms: Any, largest: Any, none: Any) -> Any:
    """Returns the payload of an optimizer's own clip site.

    Args:
      clipping: how it clips.
      norms: float32 `[gradient, 2]`, see `clip_norms`.
      largest: float32 `[gradient]`, the largest magnitude of each; of use for "clipvalue".
      none: bool `[gradient]`, which are None.
    """
    threshold = tf.constant(clipping.threshold, tf.float32)
    before, after = tf.unstack(norms, axis=1)
    whole = whole_norm(before)
    if clipping.method == messages.Clip.GLOBAL_NORM:
        after, clipped = before * global_scale(whole, threshold), whole > threshold
    elif clipping.method == messages.Clip.NORM:
        after = before * threshold / tf.maximum(before, threshold)
        clipped = tf.reduce_any(before > threshold)
    else:
        clipped = tf.reduce_any(~none & (largest > threshold))
    return clip_payload(threshold, whole, before, after, clipped, none)


def _clipped_norm(gradient: Any, threshold: Any) -> Any:
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    limit = tf.cast(threshold, values.dtype)
    return norm(tf.clip_by_value(values, -limit, limit))


class Copies:
    """The values of variables before an update, kept until after it where it is recorded.

    In a graph, the copies are made inside the recorded branch, in one tensor for
    each type. What XLA compiles cannot hand over a tensor whose size depends on
    the branch: there the values are read in every step, which costs nothing but
    a second buffer of the variable's size.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        self._values: list[Any] | None = None
        self._dtypes = list(dict.fromkeys(tf.as_dtype(v.dtype) for v in variables))
        self._sizes = [int(np.prod([int(size) for size in v.shape])) for v in variables]
        self._is_packed = not tf.executing_eagerly() and not is_compiled()
        if not tf.executing_eagerly() and not self._is_packed:
            self._values = [read(variable) for variable in variables]

    def taken(self) -> list[Any]:
        """Takes the copies; to be called when the call is due, before the update."""
        if self._values is not None:
            return []
        values = [read(variable) for variable in self._variables]
        if not self._is_packed:
            return values
        return [
            tf.concat([tf.reshape(v, [-1]) for v in values if v.dtype == dtype], 0)
            for dtype in self._dtypes
        ]

    def none_taken(self) -> list[Any]:
        """Returns what stands for `taken()` in other calls."""
        return [tf.zeros([0], dtype) for dtype in self._dtypes] if self._is_packed else []

    def changes(self, taken: list[Any]) -> Any:
        """Returns the L2 norm of what was added to each variable since, float32 `[variable]`."""
        now = [read(variable) for variable in self._variables]
        if self._values is not None:
            then = self._values
        elif self._is_packed:
            then = self._unpacked(taken)
            now = [tf.reshape(value, [-1]) for value in now]
        else:
            return _compiled(tuple(value.dtype for value in now))(*now, *taken)
        return _norms_between(now, then)

    def _unpacked(self, taken: list[Any]) -> list[Any]:
        left: dict[Any, list[Any]] = {}
        dtypes = [tf.as_dtype(variable.dtype) for variable in self._variables]
        for dtype, packed in zip(self._dtypes, taken, strict=True):
            sizes = [s for s, d in zip(self._sizes, dtypes, strict=True) if d == dtype]
            left[dtype] = tf.split(packed, sizes)
        return [left[dtype].pop(0) for dtype in dtypes]


def _norms_between(now: Sequence[Any], then: Sequence[Any]) -> Any:
    return moments.all_norms([_wide(a) - _wide(b) for a, b in zip(now, then, strict=True)])


def _wide(value: Any) -> Any:
    return tf.cast(value, tf.float32) if value.dtype in (tf.float16, tf.bfloat16) else value


@functools.lru_cache(maxsize=256)
def _compiled(dtypes: tuple[Any, ...]) -> Any:
    """Returns `_norms_between` for values of these types, whatever their shapes."""

    def function(*values: Any) -> Any:
        return _norms_between(values[: len(dtypes)], values[len(dtypes) :])

    return concrete(function, [tf.TensorSpec(None, dtype) for dtype in dtypes * 2])
