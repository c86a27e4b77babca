"""The sentinel: what happens between the records is not missed, and does not flood the log."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import Reason, State

WAYS = {
    "eager": None,
    "graph": {},
    "xla": {"jit_compile": True},
}
in_every_way = pytest.mark.parametrize("way", WAYS)


class Training:
    """Gradients that are whatever is fed: the loss is linear in the weights."""

    def __init__(self, way="graph", dtype=tf.float32, recorder=None):
        self.wide = tf.Variable(tf.ones([3], dtype), name="wide")
        self.other = tf.Variable(tf.ones([], dtype), name="other")
        self._recorder = recorder
        options = WAYS[way]
        self.step = self._step if options is None else tf.function(self._step, **options)

    def _step(self, wide, other):
        with gs.GradientTape(recorder=self._recorder) as tape:
            loss = tf.reduce_sum(self.wide * wide) + self.other * other
        gradients = tape.gradient(loss, [self.wide, self.other])
        self.wide.assign_add(0 * gradients[0])

    def feed(self, numbers):
        dtype = self.wide.dtype
        for number in numbers:
            wide = tf.cast(tf.constant([number, 1.0, 2.0]), dtype)
            self.step(wide, tf.cast(1.0, dtype))


def loss_of(logdir):
    (run,) = gs.load(logdir).runs.values()
    (loss,) = run.losses
    return loss


def at(numbers, changes):
    """The numbers, with some of them replaced."""
    numbers = list(numbers)
    for position, value in changes.items():
        numbers[position] = value
    return numbers


def reasons(loss):
    return {
        int(step): Reason(int(why)).name for step, why in zip(loss.steps, loss.reasons, strict=True)
    }


@in_every_way
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_step_that_is_not_finite_is_exact(way, value, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed(at([1.0] * 60, {37: value, 38: value, 39: value}))
    loss = loss_of(logdir)
    assert reasons(loss) == {0: "CADENCE", 37: "NONFINITE", 40: "NONFINITE"}
    bad = State.NAN if np.isnan(value) else State.INF
    assert loss.values[:, 0, 0].tolist() == [State.OK, bad, State.OK]
    assert loss.values[:, 1, 0].tolist() == [State.OK] * 3
    assert loss.nonfinite.tolist() == [0, 1, 3]
    assert loss.watched
