"""Numbers of gradients that were made in groups, in the order of the gradients again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def in_order(groups: Sequence[Any], positions: Sequence[int]) -> Any:
    """Returns the rows of all groups as one tensor, each at its position.

    Args:
      groups: tensors `[row, ...]`, one at least.
      positions: of each row, group by group: 0, 1, 2... in any order.
    """
    rows = groups[0] if len(groups) == 1 else tf.concat(groups, 0)
    order = np.argsort(positions)
    if (order == np.arange(len(order))).all():
        return rows
    return tf.gather(rows, tf.constant(order, tf.int32))
