"""A term of a plain sum without any gradient is told of, though every variable has one."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.diagnose.judge import findings

X = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
CLASSES = np.array([0, 1, 2, 0, 1, 2, 0, 1])


def entropy(logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(CLASSES, logits)


def penalty_by_argmax(logits, weights):
    penalty = tf.reduce_mean(tf.cast(tf.argmax(logits, 1), tf.float32))
    return tf.reduce_mean(entropy(logits)) + 0.1 * penalty


def accuracy_subtracted(logits, weights):
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), CLASSES), tf.float32))
    return tf.reduce_mean(entropy(logits)) - accuracy


def count_in_a_list(logits, weights):
    count = tf.cast(tf.math.count_nonzero(logits > 0), tf.float32)
    return tf.add_n([tf.reduce_mean(entropy(logits)), tf.nn.l2_loss(weights), 1e-3 * count])


def threshold_of_each_example(logits, weights):
    hard = tf.cast(logits[:, 0] > 0.5, tf.float32)
    return tf.reduce_mean(entropy(logits) + hard)


def rounded_in_place(logits, weights):
    loss = tf.reduce_mean(entropy(logits)) + 0.01 * tf.reduce_sum(tf.abs(tf.round(logits)))
    return loss


FAULTS = {
    penalty_by_argmax: ("penalty", "blocked", "ArgMax"),
    accuracy_subtracted: ("accuracy", "blocked", "ArgMax"),
    count_in_a_list: ("count", "blocked", "Greater"),
    threshold_of_each_example: ("hard", "blocked", "Greater"),
    rounded_in_place: ("", "blocked", "Round"),
}


def a_constant(logits, weights):
    return tf.reduce_mean(entropy(logits)) + 1.0


def straight_through(logits, weights):
    through = logits + tf.stop_gradient(tf.round(logits) - logits)
    return tf.reduce_mean(entropy(through)) + tf.reduce_mean(through)


def stopped_on_purpose(logits, weights):
    return tf.reduce_mean(entropy(logits)) - tf.stop_gradient(tf.reduce_mean(logits))


def live_for_others_only(logits, weights):
    codes = tf.gather(weights, tf.argmin(logits, 1))
    commitment = tf.reduce_mean((tf.stop_gradient(codes[:, :3]) - logits) ** 2)
    return commitment + tf.reduce_mean((codes[:, :3] - tf.stop_gradient(logits)) ** 2)


def stable_logarithm_of_a_sum(logits, weights):
    return tf.reduce_mean(tf.reduce_logsumexp(logits, 1)) - tf.reduce_mean(logits[:, 0])


def number_of_rows(logits, weights):
    return tf.reduce_mean(logits**2) + tf.cast(tf.shape(logits)[0], tf.float32)


def load_balance(logits, weights):
    gates = tf.nn.softmax(logits)
    chosen = tf.reduce_mean(tf.one_hot(tf.argmax(gates, 1), 3), 0)
    return tf.reduce_mean(entropy(logits)) + tf.reduce_sum(chosen * tf.reduce_mean(gates, 0))


HEALTHY = [
    a_constant,
    straight_through,
    stopped_on_purpose,
    live_for_others_only,
    stable_logarithm_of_a_sum,
    number_of_rows,
    load_balance,
]


def found_in(loss_of, mode, logdir):
    weights, bias = tf.Variable(tf.eye(4, 3)), tf.Variable([0.1, -0.2, 0.3])

    def step():
        with gs.GradientTape() as tape:
            loss = loss_of(X @ weights + bias, weights)
        return tape.gradient(loss, [weights, bias])

    with gs.record(logdir, every=1, on_error="raise"):
        run = tf.function(step) if mode == "graph" else step
        for _ in range(2):
            run()
    (run,) = gs.load(logdir).runs.values()
    return [one for one in findings(run) if one.kind == "none" and one.severity != "info"]


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("loss_of", FAULTS)
def test_a_term_without_gradient_is_found(loss_of, mode, tmp_path):
    called, cause, op = FAULTS[loss_of]
    (one,) = found_in(loss_of, mode, tmp_path)
    name = called or f"term at line {one.where.line}"
    assert (one.severity, one.loss, one.cause, one.where.op) == ("warning", name, cause, op)
    assert one.where.file == __file__
    assert one.message.startswith(f"{name}, a term of loss, has no gradient for weights and bias")
    assert one.message.endswith("; loss does reach them.")


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("loss_of", HEALTHY)
def test_a_term_that_is_meant_so_is_not_told_of(loss_of, mode, tmp_path):
    assert found_in(loss_of, mode, tmp_path) == []
