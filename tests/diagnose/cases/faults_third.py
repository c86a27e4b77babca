"""Trainings whose numbers break or blow up, written after the rules were: a third set."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.training import (
    Expected,
    Trainings,
    cross_entropy,
    fit,
    keras_fit,
    mean_square,
)

CASES = Trainings()


def variable(name, *shape, seed=0, scale=0.3):
    values = np.random.default_rng(seed).normal(0, scale, shape)
    return tf.Variable(values, name=name, dtype="float32")


def changed(data, at, change):
    """The same batches, but for those that `at` picks by their number."""
    return (change(x, y) if at(step) else (x, y) for step, (x, y) in enumerate(data))


@CASES(
    Expected("nan", "loss", ("kernel",), first=(9, 9), mark="# <-- loss"),
    steps=30,
    reported="the entropy of a softmax that has become 0 and 1",
)
def entropy_of_certain_probabilities(steps):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])

    def loss_of(y, logits):
        p = tf.nn.softmax(logits)
        entropy = -tf.reduce_sum(p * tf.math.log(p), axis=1)
        return cross_entropy(y, logits) - 0.01 * tf.reduce_mean(entropy)  # <-- loss

    data = changed(training.images(steps), lambda step: step == 9, lambda x, y: (x * 1e4, y))
    fit(model, loss_of, keras.optimizers.SGD(1e-2), data)


@CASES(
    Expected("nan", "loss", ("trunk", "head"), first=(13, 13), mark="# <-- loss"),
    steps=40,
    reported="a mean over a mask that is empty in one batch: 0 / 0",
)
def mean_over_an_empty_mask(steps):
    trunk, head = variable("trunk", 10, 16), variable("head", 16, 1)

    @tf.function
    def train_step(x, y, mask):
        with gs.GradientTape() as tape:
            error = tf.nn.relu(x @ trunk) @ head - y
            loss = tf.reduce_sum(mask * error**2) / tf.reduce_sum(mask)  # <-- loss
        gradients = tape.gradient(loss, [trunk, head])  # <--
        trunk.assign_sub(0.01 * gradients[0])
        head.assign_sub(0.01 * gradients[1])

    random = np.random.default_rng(0)
    for step, (x, y) in enumerate(training.rows(steps)):
        mask = random.uniform(size=(32, 1)) < (0.0 if step == 13 else 0.4)
        train_step(x, y, mask.astype(np.float32))


@CASES(
    Expected("nan", "loss", ("tower",), first=(8, 8)),
    steps=25,
    reported="the distance of a pair of equal things, a square root of zero (siamese nets)",
)
def distance_of_an_equal_pair(steps):
    tower = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(4)], name="tower"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    def train_step(x, other, same):
        with gs.GradientTape() as tape:
            distance = tf.sqrt(tf.reduce_sum((tower(x) - tower(other)) ** 2, axis=1))
            loss = tf.reduce_mean(same * distance**2 + (1 - same) * tf.nn.relu(1 - distance) ** 2)
        gradients = tape.gradient(loss, tower.trainable_variables)  # <--
        optimizer.apply(gradients, tower.trainable_variables)

    random = np.random.default_rng(0)
    for step, (x, _) in enumerate(training.rows(steps)):
        other = x if step == 8 else x + random.normal(0, 0.5, (32, 10)).astype(np.float32)
        train_step(x, other, (random.uniform(size=32) < 0.5).astype(np.float32))


@CASES(
    Expected("nan", "loss", ("rates",), first=(0, 0)),
    steps=10,
    reported="tf.where around a logarithm: the branch not taken has an infinite slope",
)
def where_around_a_logarithm(steps):
    rates, bias = tf.Variable(tf.ones((1, 10)), name="rates"), tf.Variable(0.0, name="bias")

    @tf.function
    def train_step(counts, y):
        with gs.GradientTape() as tape:
            mean = counts * rates
            surprise = tf.where(mean > 0, mean * tf.math.log(mean), 0.0)
            loss = mean_square(y, tf.reduce_sum(surprise, 1, keepdims=True) + bias)
        gradients = tape.gradient(loss, [rates, bias])  # <--
        bias.assign_sub(0.01 * gradients[1])

    random = np.random.default_rng(0)
    for _, y in training.rows(steps):
        train_step(tf.constant(random.poisson(1.0, (32, 10)), tf.float32), y)


@CASES(
    Expected("inf", "loss", first=(21, 21), mark="# <-- loss"),
    steps=40,
    reported="a Poisson regression, and one batch in other units",
)
def counts_in_other_units(steps):
    model = keras.Sequential([layers.Input((1,)), layers.Dense(1, kernel_initializer="ones")])

    def poisson(y, z):
        return tf.reduce_mean(tf.exp(z) - y * z)  # <-- loss

    random = np.random.default_rng(0)
    x = random.uniform(0.5, 1.5, (steps, 32, 1)).astype(np.float32)
    data = ((tf.constant(row), tf.constant(random.poisson(np.exp(row)), tf.float32)) for row in x)
    data = changed(data, lambda step: step == 21, lambda x, y: (x * 1000, y))
    fit(model, poisson, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("nan", "loss", first=(15, 15), mark="# <-- loss"),
    steps=30,
    reported="returns made to standard scores where all of a batch are equal: 0 / 0",
)
def standard_scores_of_equal_returns(steps):
    policy = keras.Sequential([layers.Input((6,)), layers.Dense(16, "tanh"), layers.Dense(3)])

    def loss_of(y, logits):
        action, returns = tf.cast(y[:, 0], tf.int32), y[:, 1]
        advantage = (returns - tf.reduce_mean(returns)) / tf.math.reduce_std(returns)
        log = tf.nn.log_softmax(logits)
        return -tf.reduce_mean(tf.gather(log, action, batch_dims=1) * advantage)  # <-- loss

    random = np.random.default_rng(0)

    def batches():
        for step in range(steps):
            returns = np.zeros(32) if step == 15 else random.normal(size=32)
            y = np.stack([random.integers(0, 3, 32), returns], 1)
            yield tf.random.normal((32, 6)), tf.constant(y, tf.float32)

    fit(policy, loss_of, keras.optimizers.Adam(1e-3), batches())


@CASES(
    Expected("nan", "loss", ("kernel",), first=(11, 11), mark="# <-- fit"),
    steps=40,
    by="fit",
    every=1,
    reported="a column of the data that is missing from some row on",
)
def column_that_goes_missing(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    hole = np.where(np.arange(10) == 4, np.nan, 0).astype(np.float32)
    data = changed(training.rows(steps), lambda step: step >= 11, lambda x, y: (x + hole, y))
    keras_fit(model, "mse", keras.optimizers.Adam(1e-3), data, callback)


@CASES(
    Expected("nan", "loss", first=(37, 37), mark="# <-- fit"),
    steps=60,
    by="fit",
    every=10,
    reported="one bad batch between two records of every=10",
)
def one_bad_batch_between_two_records(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    data = changed(training.rows(steps), lambda step: step == 37, lambda x, y: (x / 0.0, y))
    keras_fit(model, "mse", keras.optimizers.SGD(1e-3), data, callback)


@CASES(
    Expected("nan", "loss", first=(7, 7), mark="# <-- loss"),
    steps=20,
    reported="a mask of minus infinity, and a sequence that is nothing but padding",
)
def attention_over_nothing_but_padding(steps):
    query, key = variable("query", 8, 8), variable("key", 8, 8, seed=1)
    head = variable("head", 8, 1, seed=2)

    @tf.function
    def train_step(x, lengths):
        with gs.GradientTape() as tape:
            scores = tf.matmul(x @ query, x @ key, transpose_b=True)
            there = tf.sequence_mask(lengths, 6)[:, None]
            weights = tf.nn.softmax(tf.where(there, scores, -np.inf))
            loss = tf.reduce_mean((tf.matmul(weights, x) @ head - 1) ** 2)  # <-- loss
        gradients = tape.gradient(loss, [query, key, head])  # <--
        for one, gradient in zip([query, key, head], gradients, strict=True):
            one.assign_sub(0.01 * gradient)

    random = np.random.default_rng(0)
    for step in range(steps):
        lengths = random.integers(1, 7, 16)
        lengths[3] = 0 if step == 7 else 5
        train_step(tf.random.normal((16, 6, 8)), tf.constant(lengths))


@CASES(
    Expected("nan", "loss", ("embeddings",), first=(0, 0), mark="# <-- loss"),
    steps=10,
    reported="rows made to unit length by hand, and the padding's row is all zero",
)
def unit_length_of_the_padding(steps):
    values = np.random.default_rng(0).normal(size=(40, 8))
    values[0] = 0
    embeddings = tf.Variable(values, name="embeddings", dtype="float32")
    head = variable("head", 8, 1)

    @tf.function
    def train_step(ids, y):
        with gs.GradientTape() as tape:
            rows = tf.gather(embeddings, ids)
            unit = rows / tf.norm(rows, axis=-1, keepdims=True)
            loss = tf.reduce_mean((tf.reduce_mean(unit, 1) @ head - y) ** 2)  # <-- loss
        gradients = tape.gradient(loss, [embeddings, head])  # <--
        head.assign_sub(0.01 * gradients[1])

    random = np.random.default_rng(0)
    for _ in range(steps):
        ids = random.integers(0, 40, (32, 6)) * (np.arange(6) < 4)
        train_step(tf.constant(ids), tf.ones((32, 1)))


@CASES(
    Expected("nan", "scaled", first=(10, 10), mark="# <-- loss"),
    steps=60,
    reported="NVIDIA DeepLearningExamples 80: each step left out as an overflow, for ever",
)
def nan_that_the_loss_scale_hides(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu", dtype="mixed_float16")]
        + [layers.Dense(1, dtype="float32")]
    )
    optimizer = gs.watch_optimizer(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3)))

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = tf.reduce_mean((tf.math.log(y) - model(x)) ** 2)
            scaled = optimizer.scale_loss(loss)  # <-- loss
        gradients = tape.gradient(scaled, model.trainable_variables)  # <--
        optimizer.apply(gradients, model.trainable_variables)

    data = changed(
        ((x, tf.exp(y)) for x, y in training.rows(steps)),
        lambda step: step >= 10,
        lambda x, y: (x, y - 5.0),
    )
    for x, y in data:
        train_step(x, y)


@CASES(
    Expected("exploding", "loss", ("kernel",)),
    steps=400,
    reported="a learning rate just above what the curvature allows: growth of 2 % a step",
)
def rate_just_above_the_limit(steps):
    kernel = variable("kernel", 10, 1)
    x, y = next(training.rows(1, batch=64))
    curvature = float(np.linalg.eigvalsh(2 * x.numpy().T @ x.numpy() / 64)[-1])

    @tf.function
    def train_step():
        with gs.GradientTape() as tape:
            loss = mean_square(y, x @ kernel)
        gradient = tape.gradient(loss, kernel)  # <--
        kernel.assign_sub(2.02 / curvature * gradient)

    for _ in range(steps):
        train_step()


@CASES(
    Expected("exploding", "loss", ("recurrent",), mark="# <-- fit"),
    steps=30,
    by="fit",
    every=1,
    reported="a recurrence of ReLUs over a long sequence",
)
def recurrence_over_a_long_sequence(steps, callback):
    start = keras.initializers.Identity(1.4)
    model = keras.Sequential(
        [layers.Input((60, 4))]
        + [layers.SimpleRNN(16, activation="relu", recurrent_initializer=start), layers.Dense(1)]
    )
    data = ((np.random.default_rng(i).normal(size=(16, 60, 4)), np.ones(16)) for i in range(steps))
    keras_fit(model, "mse", keras.optimizers.Adam(1e-4), data, callback)


@CASES(
    Expected("exploding", "loss"),
    steps=300,
    reported="rewards of some ten thousand times the usual size, now and then",
)
def jackpots(steps):
    policy = keras.Sequential([layers.Input((6,)), layers.Dense(16, "tanh"), layers.Dense(3)])

    def loss_of(y, logits):
        log = tf.nn.log_softmax(logits)
        return -tf.reduce_mean(tf.gather(log, tf.cast(y[:, 0], tf.int32), batch_dims=1) * y[:, 1])

    random = np.random.default_rng(0)

    def batches():
        for step in range(steps):
            returns = random.normal(size=32) * (1e5 if step % 50 == 40 else 1)
            y = np.stack([random.integers(0, 3, 32), returns], 1)
            yield tf.random.normal((32, 6)), tf.constant(y, tf.float32)

    fit(policy, loss_of, keras.optimizers.Adam(1e-4), batches())


@CASES(
    Expected("exploding", "critic_loss", ("critic",)),
    steps=400,
    reported="a Wasserstein critic without clipping or penalty",
)
def critic_without_bounds(steps):
    critic = keras.Sequential(
        [layers.Input((2,)), layers.Dense(16, activation="relu"), layers.Dense(16, "relu")]
        + [layers.Dense(1)],
        name="critic",
    )
    optimizer = keras.optimizers.RMSprop(5e-3)

    @tf.function
    def train_step(real, fake):
        with gs.GradientTape() as tape:
            critic_loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
        gradients = tape.gradient(critic_loss, critic.trainable_variables)  # <--
        optimizer.apply(gradients, critic.trainable_variables)

    random = np.random.default_rng(0)
    for _ in range(steps):
        train_step(
            tf.constant(random.normal(2, 0.5, (32, 2)), tf.float32),
            tf.constant(random.normal(0, 0.5, (32, 2)), tf.float32),
        )


@CASES(
    Expected("exploding", "loss", first=(0, 0)),
    steps=60,
    reported="pixels from 0 to 255 and a sum over all of them",
)
def sum_over_raw_pixels(steps):
    model = keras.Sequential(
        [layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(64)]
    )

    def summed(y, predicted):
        return tf.reduce_sum((predicted - y) ** 2)

    flat = (tf.reshape(x, (32, 64)) * 100 + 100 for x, _ in training.images(steps))
    fit(model, summed, keras.optimizers.Adam(1e-3), ((x, x) for x in flat))


@CASES(
    Expected("exploding", "loss", first=(0, 0), mark="# <-- fit"),
    steps=40,
    by="fit",
    every=1,
    reported="residual blocks without normalisation, each of which multiplies what comes in",
)
def residual_blocks_that_multiply(steps, callback):
    inputs, wide = layers.Input((10,)), keras.initializers.VarianceScaling(6.0)
    x = layers.Dense(24)(inputs)
    for _ in range(8):
        branch = layers.Dense(24, activation="relu", kernel_initializer=wide)(x)
        x = layers.Add()([x, layers.Dense(24, kernel_initializer=wide)(branch)])
    model = keras.Model(inputs, layers.Dense(1)(x))
    data = training.rows(steps)
    keras_fit(model, "mse", keras.optimizers.Adam(1e-4), data, callback)
