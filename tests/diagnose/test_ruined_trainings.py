"""Small real trainings: what one NaN does to all losses, and what an overflow does not."""

from __future__ import annotations

import keras
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.diagnose import judge

NAN, INF = float("nan"), float("inf")


def findings(logdir, *kinds):
    (run,) = gs.load(logdir).runs.values()
    return [one for one in judge.findings(run) if one.kind in kinds]


@pytest.mark.parametrize("every", [1, 10])
def test_a_loss_that_follows_from_the_nan_of_another_one(every, tmp_path):
    w, head = tf.Variable([0.5, 0.7], name="w"), tf.Variable(0.3, name="head")

    @tf.function
    def step(factor):
        with gs.GradientTape(persistent=True) as tape:
            total = tf.reduce_sum((w - 1) ** 2) * factor
            recon = tf.reduce_sum((w * head - 2) ** 2)
        gradients = tape.gradient(total, [w])
        w.assign_sub(0.01 * (gradients[0] + tape.gradient(recon, [w, head])[0]))

    with gs.record(tmp_path, every=every):
        for i in range(25):
            step(tf.constant(NAN if i == 12 else 1.0))
    total, recon = findings(tmp_path, "nan")
    assert (total.loss, total.severity, total.span.first) == ("total", "error", 12)
    assert total.message.endswith("w itself is not finite, from step 13 on.")
    assert (recon.loss, recon.severity, recon.span.first) == ("recon", "info", 13)
    assert (recon.other_loss, recon.where) == ("total", total.where)


def test_a_loss_whose_value_alone_follows_from_it(tmp_path):
    """Its gradient does not depend on the variable that is ruined."""
    w = tf.Variable([0.5, 0.7], name="w")

    @tf.function
    def step(factor):
        with gs.GradientTape(persistent=True) as tape:
            total = tf.reduce_sum((w - 1) ** 2) * factor
            recon = 0.1 * tf.reduce_sum(w)
        w.assign_sub(0.01 * (tape.gradient(total, w) + tape.gradient(recon, w)))

    with gs.record(tmp_path, every=10):
        for i in range(25):
            step(tf.constant(NAN if i == 12 else 1.0))
    total, recon = findings(tmp_path, "nan")
    assert (total.loss, total.span.first) == ("total", 12)
    assert (recon.severity, recon.other_loss, recon.where) == ("info", "total", total.where)
    assert recon.message == (
        "The loss recon itself is NaN at step 20, the last one recorded, though its gradients are "
        "finite. This follows from total: its gradient was not finite at step 12, and w itself was "
        "not finite any more at step 20."
    )


@pytest.mark.parametrize("every", [1, 10])
@pytest.mark.parametrize("bad", [(0, 1, 2), (12,), (24,)], ids=["first", "middle", "last"])
def test_overflows_that_the_optimizer_left_out_are_no_finding(every, bad, tmp_path):
    w = keras.Variable([0.5, 0.7], name="w")
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**15)
    optimizer = gs.watch_optimizer(scaled)
    optimizer.build([w])

    @tf.function
    def step(factor):
        with gs.GradientTape() as tape:
            loss = optimizer.scale_loss(tf.reduce_sum((w.value - 1) ** 2) * factor)
        optimizer.apply(tape.gradient(loss, [w.value]), [w])

    with gs.record(tmp_path, every=every):
        for i in range(25):
            step(tf.constant(INF if i in bad else 1.0))
    assert not findings(tmp_path, "nan", "inf")
    (loss,) = next(iter(gs.load(tmp_path).runs.values())).losses
    assert bad[0] in loss.skipped_steps


@pytest.mark.parametrize("every", [1, 10])
def test_a_clipper_that_divides_by_zero(every, tmp_path):
    w = keras.Variable([0.5, 0.7], name="w")
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(0.01), name="sgd")
    optimizer.build([w])

    @tf.function
    def step(norm):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum((w - 1) ** 2)
        gradient = tape.gradient(loss, w)
        clipped = gradient * tf.minimum(1.0, norm / norm)
        gs.record_clipping([gradient], [clipped], [w], name="mine")
        optimizer.apply([clipped], [w])

    with gs.record(tmp_path, every=every):
        for i in range(25):
            step(tf.constant(0.0 if i == 12 else 1.0))
    cause, effect = findings(tmp_path, "nan")
    assert (cause.severity, cause.loss, cause.variables) == ("error", None, ("w",))
    assert cause.evidence["by"] == ("mine" if every == 1 else "sgd")
    assert "mine" in cause.message + cause.advice
    assert cause.span.first == 12
    assert (effect.severity, effect.loss, effect.span.first) == ("info", "loss", 13)


def test_a_learning_rate_that_is_nan(tmp_path):
    w = keras.Variable([0.5, 0.7], name="w")
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(0.01))
    optimizer.build([w])
    with gs.record(tmp_path, every=1):
        for i in range(15):
            optimizer.learning_rate = NAN if i == 12 else 0.01
            with gs.GradientTape() as tape:
                loss = tf.reduce_sum((w - 1) ** 2)
            optimizer.apply([tape.gradient(loss, w)], [w])
    cause, effect = findings(tmp_path, "nan")
    assert (cause.severity, cause.span.first) == ("error", 12)
    assert "an update of NaN out of finite gradients at step 12, for its learning rate was NaN" in (
        cause.message
    )
    assert (effect.severity, effect.span.first) == ("info", 13)
