"""What is recorded of a loss beside its gradients: its value."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def with_loss(values: Any, target: Any, scale: Any) -> Any:
    """Returns the payload of a GRADIENT series, see `Description`.

    Args:
      values: float32 `[variable x statistic]`.
      target: what was differentiated; None where that is not known.
      scale: the loss scale that was divided out, None for none.
    """
    header = [_value_of(target, scale)]
    if scale is not None:
        header.append(tf.cast(scale, tf.float32))
    return tf.concat([tf.reshape(tf.stack(header), [-1]), values], 0)


def _value_of(target: Any, scale: Any) -> Any:
    """Returns what TensorFlow differentiates, the sum of all elements, without the loss scale."""
    parts = [
        part
        for part in tf.nest.flatten(target, expand_composites=True)
        if isinstance(part, tf.Tensor) and part.dtype.is_floating
    ]
    if not parts:
        return tf.constant(np.nan, tf.float32)
    total = tf.add_n([tf.reduce_sum(tf.cast(part, tf.float32)) for part in parts])
    return total if scale is None else total / tf.cast(scale, tf.float32)
