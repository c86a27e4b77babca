"""Losses that were multiplied by a mixed-precision loss scale, and by how much.

What is taken of such a loss is a gradient that is too large by the scale. It is
recorded divided by it again.
"""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf

# Kept by the tensor itself, so that neither lives longer for it.
_SCALE = "_gradscope_loss_scale"


def remember_scale(scaled: Any, scale: Any) -> None:
    """Notes that a loss was multiplied.

    Args:
      scaled: the product, a tensor.
      scale: a scalar, a tensor or a number.
    """
    with contextlib.suppress(AttributeError):  # not a tensor after all
        setattr(scaled, _SCALE, scale)


def scale_of(target: Any) -> Any | None:
    """Returns what a loss was multiplied by, a float32 scalar or a number; None for nothing.

    Args:
      target: a tensor, or a structure of several: all must have been scaled.
    """
    scales = [getattr(part, _SCALE, None) for part in tf.nest.flatten(target)]
    return None if not scales or any(scale is None for scale in scales) else scales[0]


def unscaled(gradient: Any, scale: Any) -> Any:
    """Returns a gradient divided by the loss scale, in float32 at least; None for None.

    Args:
      gradient: a tensor, an IndexedSlices or None.
      scale: a scalar, None for no scale.
    """
    if gradient is None or scale is None:
        return gradient
    if isinstance(gradient, tf.IndexedSlices):
        values = unscaled(gradient.values, scale)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    if gradient.dtype in (tf.float16, tf.bfloat16):
        gradient = tf.cast(gradient, tf.float32)
    return gradient / tf.cast(scale, gradient.dtype)
