"""The value of a loss stands beside its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs

MODES = {
    "eager": lambda step: step,
    "graph": tf.function,
    "xla": lambda step: tf.function(step, jit_compile=True),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_differentiated_is_what_stands_there(tmp_path, mode):
    w = tf.Variable([1.0, 2.0, 4.0])

    def step(x):
        with gs.GradientTape(persistent=True) as tape:
            scalar = tf.reduce_sum(w * x)
            elements = w * x
        tape.gradient(scalar, w)
        tape.gradient(elements, w)
        tape.gradient([scalar, elements], w, loss_name="both")

    step = MODES[mode](step)
    with gs.record(tmp_path, every=1, on_error="raise"):
        for x in (1.0, 3.0, float("inf")):
            step(tf.constant(x))
    (run,) = gs.load(tmp_path).runs.values()
    values = {loss.name: loss.loss_values.tolist() for loss in run.losses}
    assert values["scalar"] == values["elements"] == [7, 21, np.inf]
    assert values["both"] == [14, 42, np.inf]


def test_parts_have_values_of_their_own(tmp_path):
    w = tf.Variable(2.0)

    @tf.function
    def step():
        with gs.GradientTape() as tape:
            losses = {"square": w**2, "line": 3 * w}
        tape.gradient(losses, w)

    with gs.record(tmp_path, every=1, on_error="raise"):
        step()
    (run,) = gs.load(tmp_path).runs.values()
    values = {loss.name: loss.loss_values.tolist() for loss in run.losses}
    assert values == {"losses": [10], "square": [4], "line": [6]}
