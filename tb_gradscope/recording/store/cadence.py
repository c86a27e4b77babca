"""Which calls are recorded in full."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

OFF = 0
AUTO = -1

_DENSE = 128
_FOREVER = int(np.iinfo(np.int64).max)
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


@dataclasses.dataclass(frozen=True)
class Stride:
    """A cadence as a graph follows it: few operations, since each step runs them.

    Attributes:
      calls: from one that is due to the next.
      rest: that a call which is due leaves when divided by `calls`; -1 if none is.
      until: the first call from which it is twice as long.
    """

    calls: int
    rest: int
    until: int

    @classmethod
    def at(cls, call: int, every: int) -> Stride:
        """Returns the stride at a call."""
        if every == AUTO:
            doublings = int(np.count_nonzero(_DOUBLINGS <= call))
            return cls(1 << doublings, 0, _DENSE << doublings)
        return cls(1, -1, _FOREVER) if every == OFF else cls(every, 0, _FOREVER)
