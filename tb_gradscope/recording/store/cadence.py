"""Which calls are recorded in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

OFF = 0
AUTO = -1

_DENSE = 128
_DOUBLINGS = np.array([_DENSE << k for k in range(40)], np.int64)


def parse_every(every: object) -> int:
    """Turns the `every` of the public interface into a number.

    Args:
      every: "auto", or a whole number of 1 or more.

    Returns:
      `AUTO`, or the number.

    Raises:
      ValueError: it is neither.
    """
    if every == "auto":
        return AUTO
    if isinstance(every, int | np.integer) and not isinstance(every, bool) and every >= 1:
        return int(every)
    raise ValueError(f"every={every!r}: expected 'auto' or a whole number of 1 or more.")


def is_due(call: int, every: int) -> bool:
    """Tells whether a call is recorded in full.

    "auto" records the first 128 calls, then every 2nd up to 256, every 4th up
    to 512 and so on: 64 records for each doubling of the training's length,
    under 1,000 for a million steps. What lies between, the sentinel looks at: see
    `sentinel`, which adds at most 32 records for each doubling, and one for each
    variable whose gradient is not finite for the first time.

    Args:
      call: number of the call, the first is 0.
      every: `AUTO`, `OFF`, or N for every N-th.
    """
    if every == AUTO:
        return call % (1 << int(np.count_nonzero(_DOUBLINGS <= call))) == 0
    return every > OFF and call % every == 0


def doublings_in_graph(call: Any) -> Any:
    """Returns how often the training has doubled its length after 128 calls, int64."""
    return tf.math.count_nonzero(tf.constant(_DOUBLINGS) <= call, dtype=tf.int64)


def is_due_in_graph(call: Any, every: Any) -> Any:
    """The same as `is_due` for int64 scalar tensors, as a bool scalar tensor."""
    one = tf.constant(1, tf.int64)
    sparse = tf.bitwise.left_shift(one, doublings_in_graph(call))
    stride = tf.where(every == AUTO, sparse, tf.maximum(every, one))
    return tf.logical_and(every != OFF, tf.math.floormod(call, stride) == 0)
