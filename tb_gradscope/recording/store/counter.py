"""Counts calls: the steps of a program that keeps none itself."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tb_gradscope.recording.distribution.replica import device_here, is_coordinated
from tb_gradscope.recording.store.host import HOST


class Counter:
    """The calls of one loss or clip site, shared by all its series.

    A loss that one tape is asked about twice, with other variables, is at the
    same step both times: the second is a repeat.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._variable: Any = None

    def count(self, is_repeat: bool) -> int:
        """Returns the number of an eager call, the first is 0."""
        if not is_repeat:
            self._calls += 1
        return max(self._calls - 1, 0)

    def count_in_graph(self, is_repeat: bool) -> Any:
        """Returns the number of a call as an int64 scalar of the graph under construction."""
        if self._variable is None:
            device = device_here()
            self._variable = HOST.call(lambda: self._create(device))
        if is_repeat:
            return self._variable.read_value()
        if is_coordinated():
            return taken_in_turn(self._variable) + 1
        return self._variable.assign_add(1, read_value=True)

    def now(self) -> int:
        """Returns how many calls there were. On the host thread only."""
        return self._calls if self._variable is None else int(self._variable.numpy()) + 1

    def set(self, calls: int) -> None:
        """Goes on after so many calls. On the host thread only."""
        self._calls = calls
        if self._variable is not None:
            self._variable.assign(calls - 1)

    def _create(self, device: str | None) -> Any:
        # It holds the number of the last call, which is one less to compute in each.
        last = tf.constant(self._calls - 1, tf.int64)
        with tf.device(device):
            return tf.Variable(last, trainable=False, name="gradscope_calls")


def taken_in_turn(counter: Any) -> Any:
    """Adds one to an int64 variable, and returns what it was: no two calls get the same.

    `assign_add` adds and reads in two operations, between which others may add.
    """
    return tf.raw_ops.ResourceCountUpTo(
        resource=counter.handle, limit=tf.int64.max, T=counter.dtype
    )
