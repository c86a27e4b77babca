"""Trainings with a fault in their numbers that the rules were not tuned on."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.training import Expected, Trainings, fit, mean_square

CASES = Trainings()


@CASES(
    Expected("nan", "loss", first=(12, 12)),
    steps=30,
    reported="a variance of a batch of equal rows, and its square root",
)
def deviation_of_equal_rows(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(8)])

    def spread(y, z):
        return tf.reduce_mean(tf.math.reduce_std(z, axis=0)) + mean_square(y, z[:, :1])

    data = (
        (tf.zeros_like(x) if step == 12 else x, y)
        for step, (x, y) in enumerate(training.rows(steps))
    )
    fit(model, spread, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("nan", "loss", first=(6, 6), mark="# <-- loss"),
    steps=20,
    reported="a softmax written by hand, which overflows",
)
def softmax_by_hand(steps):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])

    def likelihood(y, logits):
        p = tf.exp(logits) / tf.reduce_sum(tf.exp(logits), axis=1, keepdims=True)
        return -tf.reduce_mean(tf.math.log(tf.gather(p, y, batch_dims=1)))  # <-- loss

    data = (
        (x * (1e3 if step == 6 else 1.0), y) for step, (x, y) in enumerate(training.images(steps))
    )
    fit(model, likelihood, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("inf", "loss", first=(0, 8), mark="# <-- loss"),
    steps=12,
    reported="float16 without a loss scale",
)
def half_precision_overflow(steps):
    kernel = tf.Variable(np.ones((10, 1)), name="kernel", dtype="float32")

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            half = tf.cast(x, tf.float16) @ tf.cast(kernel, tf.float16)
            loss = tf.reduce_sum(half * half)  # <-- loss
        tape.gradient(loss, kernel)  # <--

    for step, (x, _) in enumerate(training.rows(steps)):
        train_step(100.0 * (step + 1) * tf.abs(x))


@CASES(
    Expected("exploding", "loss"),
    steps=60,
    reported="a positive feedback: the larger the weight the larger the step",
)
def feedback_through_the_product(steps):
    a = tf.Variable([[1.1]], name="a")
    b = tf.Variable([[1.1]], name="b")

    @tf.function
    def train_step():
        with gs.GradientTape() as tape:
            loss = -tf.reduce_sum(a * b)
        gradients = tape.gradient(loss, [a, b])  # <--
        a.assign_sub(0.2 * gradients[0])
        b.assign_sub(0.2 * gradients[1])

    for _ in range(steps):
        train_step()


@CASES(
    Expected("exploding", "loss"),
    steps=40,
    reported="initial weights far too large in a deep stack",
)
def start_far_too_large(steps):
    wide = keras.initializers.RandomNormal(stddev=5.0, seed=1)
    model = keras.Sequential(
        [layers.Input((10,))]
        + [layers.Dense(16, activation="relu", kernel_initializer=wide) for _ in range(6)]
        + [layers.Dense(1, kernel_initializer=wide)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(
    Expected("vanishing", "loss"),
    steps=40,
    reported="initial weights far too small in a deep stack",
)
def start_far_too_small(steps):
    narrow = keras.initializers.RandomNormal(stddev=0.01, seed=1)
    model = keras.Sequential(
        [layers.Input((10,))]
        + [layers.Dense(16, activation="tanh", kernel_initializer=narrow) for _ in range(7)]
        + [layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.SGD(0.01), training.rows(steps))


@CASES(
    Expected("vanishing", "loss"),
    steps=20,
    reported="activations of small slope in every layer",
)
def stack_of_hard_sigmoids(steps):
    model = keras.Sequential(
        [layers.Input((10,))]
        + [layers.Dense(24, activation="hard_sigmoid") for _ in range(9)]
        + [layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(
    Expected("zero", "loss", first=(0, 0)),
    steps=20,
    reported="a loss behind tf.clip_by_value whose limits are always exceeded",
)
def output_clipped_away(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1)])

    def clipped(y, predicted):
        return mean_square(y, tf.clip_by_value(predicted + 100.0, 0.0, 1.0))

    fit(model, clipped, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(
    Expected("zero", "loss", ("masked",), first=(25, 25)),
    steps=60,
    reported="a mask that turns to zero and stays so",
)
def branch_masked_out(steps):
    masked = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 1)), name="masked", dtype="float32"
    )
    other = tf.Variable(
        np.random.default_rng(1).normal(size=(10, 1)), name="other", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y, mask):
        with gs.GradientTape() as tape:
            loss = mean_square(y, mask * (x @ masked) + x @ other)
        gradients = tape.gradient(loss, [masked, other])  # <--
        optimizer.apply(gradients, [masked, other])

    for step, (x, y) in enumerate(training.rows(steps)):
        train_step(x, y, tf.constant(1.0 if step < 25 else 0.0))


@CASES(
    Expected("clip_saturated", None, ("loud",), mark="# <-- here"),
    steps=80,
    reported="one variable's gradient takes the whole norm, so that the others stand still",
)
def one_variable_takes_the_norm(steps):
    loud = tf.Variable(np.ones((10, 1)), name="loud", dtype="float32")
    quiet = tf.Variable(np.ones((10, 1)), name="quiet", dtype="float32")

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, 1e4 * (x @ loud) + x @ quiet)
        gradients = tape.gradient(loss, [loud, quiet])
        gradients, _ = gs.clip_by_global_norm(gradients, 1.0)  # <-- here
        loud.assign_sub(1e-6 * gradients[0])
        quiet.assign_sub(1e-6 * gradients[1])

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("conflict", "up", ("shared",), mark=""),
    steps=60,
    reported="two tasks with opposite targets on one trunk",
)
def tasks_that_want_the_opposite(steps):
    shared = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 1)) / 9, name="shared", dtype="float32"
    )

    @tf.function
    def train_step(x, y):
        with gs.GradientTape(persistent=True) as tape:
            z = x @ shared
            up = mean_square(3 * y, z)
            down = mean_square(-3 * y, z)
        of_up, of_down = tape.gradient(up, shared), tape.gradient(down, shared)
        shared.assign_sub(1e-2 * (of_up + of_down))

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("update_ratio", None, ("kernel",), mark=""),
    steps=60,
    reported="far too large a rate, which a constraint on the weights hides",
)
def steps_as_large_as_the_weights(steps):
    unit = keras.constraints.UnitNorm(axis=None)
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu", kernel_constraint=unit)]
        + [layers.Dense(1, kernel_constraint=unit)]
    )
    optimizer = gs.watch_optimizer(keras.optimizers.Adam(0.5))
    fit(model, mean_square, optimizer, training.rows(steps))
