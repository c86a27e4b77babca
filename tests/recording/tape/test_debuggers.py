"""TensorFlow's own debuggers, beside a tape that records."""

from __future__ import annotations

import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State


@pytest.fixture(params=["checks first", "recording first"])
def checked(request, logdir):
    """Enters a recording and `enable_check_numerics`, in both orders; yields the recorder."""
    if request.param == "checks first":
        tf.debugging.enable_check_numerics()
    try:
        with gs.record(logdir, every=1, on_error="raise") as recorder:
            tf.debugging.enable_check_numerics()
            yield recorder
    finally:
        tf.debugging.disable_check_numerics()


def make_step(function, w):
    @function
    def step(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(tf.math.log(w) * x)
        gradients = tape.gradient(loss, [w])
        w.assign_sub(0.1 * gradients[0])
        return loss

    return step


@pytest.mark.parametrize("function", [tf.function, lambda step: step], ids=["graph", "eager"])
def test_healthy_training_goes_on_under_check_numerics(function, checked):
    w, plain = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    step = make_step(function, w)
    for _ in range(3):
        step(tf.constant([1.0, 2.0]))
        plain.assign_sub(0.1 * (tf.constant([1.0, 2.0]) / plain))
    assert w.numpy().tobytes() == plain.numpy().tobytes()
    checked.flush()
    (run,) = gs.load(checked.logdir).runs.values()
    assert run.losses[0].values.shape[0] >= 1
    assert (run.losses[0].values[:, 0, 0] == State.OK).all()


def test_check_numerics_still_names_the_operation(checked):
    step = make_step(tf.function, tf.Variable([0.0, 2.0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="Log"):
        step(tf.constant([1.0, 2.0]))
