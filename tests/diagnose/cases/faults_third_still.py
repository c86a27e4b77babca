"""Trainings whose gradients vanish or are zero: a part of the third set."""

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


@CASES(
    Expected("vanishing", "loss", ("conv",), mark="# <-- fit"),
    steps=100,
    by="fit",
    every=10,
    reported="a deep convolutional net of sigmoids",
)
def convolutions_of_sigmoids(steps, callback):
    model = keras.Sequential(
        [layers.Input((8, 8, 1))]
        + [layers.Conv2D(8, 3, padding="same", activation="sigmoid") for _ in range(8)]
        + [layers.GlobalAveragePooling2D(), layers.Dense(4)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keras_fit(model, loss, keras.optimizers.Adam(1e-3), training.images(steps), callback)


@CASES(
    Expected("vanishing", "loss", ("encoder",)),
    steps=60,
    reported="an encoder that is heard only through sixty steps of a recurrence that forgets",
)
def encoder_behind_a_long_recurrence(steps):
    encoder = keras.Sequential(
        [layers.Input((10,))] + [layers.Dense(16, "tanh") for _ in range(3)], name="encoder"
    )
    recurrent = keras.layers.SimpleRNN(
        16, recurrent_initializer=keras.initializers.Orthogonal(0.7), name="decoder"
    )
    head = layers.Dense(1)
    recurrent.build((None, 60, 2))
    head.build((None, 16))
    variables = (
        encoder.trainable_variables + recurrent.trainable_variables + head.trainable_variables
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y, noise):
        with gs.GradientTape() as tape:
            loss = mean_square(y, head(recurrent(noise, initial_state=encoder(x))))
        gradients = tape.gradient(loss, variables)  # <--
        optimizer.apply(gradients, variables)

    for x, y in training.rows(steps):
        train_step(x, y, tf.random.normal((32, 60, 2)))


@CASES(
    Expected("vanishing", "loss", ("dense",), mark="# <-- fit"),
    steps=400,
    by="fit",
    every=10,
    reported="weight decay that wins: all weights shrink to nothing, and the loss stays",
)
def decay_that_wins(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,))] + [layers.Dense(16, "tanh") for _ in range(4)] + [layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(0.02, weight_decay=1.0)
    keras_fit(model, "mse", optimizer, training.rows(steps), callback)


@CASES(
    Expected("vanishing", "loss"),
    steps=200,
    reported="a sigmoid with a squared error that was driven to the wrong side",
)
def output_on_the_wrong_side(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1, "sigmoid")])
    data = (
        (tf.abs(x), tf.fill((32, 1), 0.0 if step < 60 else 1.0))
        for step, (x, _) in enumerate(training.rows(steps))
    )
    fit(model, mean_square, keras.optimizers.Adam(0.3), data)


@CASES(
    Expected("vanishing", "g_loss"),
    steps=300,
    reported="Arjovsky and Bottou: log(1 - D) against a discriminator that is too good",
)
def generator_that_hears_nothing(steps):
    generator = keras.Sequential(
        [layers.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(2)]
    )
    discriminator = keras.Sequential(
        [layers.Input((2,)), layers.Dense(32, activation="relu"), layers.Dense(1)]
    )
    of_g, of_d = keras.optimizers.Adam(1e-5), keras.optimizers.Adam(0.1)

    @tf.function
    def train_step(real, noise):
        with gs.GradientTape() as tape:
            g_loss = -tf.reduce_mean(tf.nn.softplus(discriminator(generator(noise))))
        gradients = tape.gradient(g_loss, generator.trainable_variables)  # <--
        of_g.apply(gradients, generator.trainable_variables)
        with gs.GradientTape() as tape:
            said_real, said_fake = discriminator(real), discriminator(generator(noise))
            d_loss = tf.reduce_mean(tf.nn.softplus(-said_real) + tf.nn.softplus(said_fake))
        of_d.apply(
            tape.gradient(d_loss, discriminator.trainable_variables),
            discriminator.trainable_variables,
        )

    random = np.random.default_rng(0)
    for _ in range(steps):
        train_step(
            tf.constant(random.normal(6, 0.5, (32, 2)), tf.float32), tf.random.normal((32, 4))
        )


@CASES(
    Expected("zero", "loss", ("hidden/kernel", "hidden/bias"), first=(0, 0), mark="# <-- fit"),
    steps=30,
    by="fit",
    every=1,
    reported="a hidden layer whose biases start far below zero",
)
def biases_far_below_zero(steps, callback):
    hidden = layers.Dense(16, "relu", bias_initializer=keras.initializers.Constant(-50.0))
    hidden.name = "hidden"
    model = keras.Sequential([layers.Input((10,)), hidden, layers.Dense(1)])
    keras_fit(model, "mse", keras.optimizers.Adam(1e-3), training.rows(steps), callback)


@CASES(
    Expected("zero", "loss", ("kernel", "bias"), first=(0, 0), mark="# <-- fit"),
    steps=30,
    by="fit",
    every=1,
    reported="a softmax over one unit is always 1 (a beginner's binary classifier)",
)
def softmax_over_one_unit(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1, "softmax")]
    )
    data = ((x, tf.cast(y > 0, tf.float32)) for x, y in training.rows(steps))
    keras_fit(model, "mse", keras.optimizers.Adam(1e-3), data, callback)


@CASES(
    Expected("zero", "loss", first=(0, 0)),
    steps=30,
    reported="features in dollars: the sigmoid of a number in the thousands has no slope",
)
def features_in_dollars(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1, activation="sigmoid")])
    data = ((1e5 * (2 + tf.tanh(x)), tf.cast(y > 0, tf.float32)) for x, y in training.rows(steps))
    fit(model, mean_square, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("zero", "loss", ("second",), first=(0, 0), mark="# <-- fit"),
    steps=30,
    by="fit",
    every=1,
    reported="a loss weight of zero: the head of that output never learns",
)
def loss_weight_of_zero(steps, callback):
    inputs = layers.Input((10,))
    trunk = layers.Dense(16, activation="relu")(inputs)
    heads = [layers.Dense(1, name="first")(trunk), layers.Dense(1, name="second")(trunk)]
    model = keras.Model(inputs, heads)
    data = ((x, (y, y)) for x, y in training.rows(steps))
    keras_fit(
        model, ["mse", "mse"], keras.optimizers.Adam(1e-3), data, callback, loss_weights=[1, 0]
    )


@CASES(
    Expected("zero", "loss", ("users", "items"), first=(0, 0)),
    steps=30,
    reported="a factorisation whose two sides both start at zero",
)
def factors_that_start_at_zero(steps):
    users, items = tf.Variable(tf.zeros((50, 8))), tf.Variable(tf.zeros((60, 8)))

    @tf.function
    def train_step(user, item, rating):
        with gs.GradientTape() as tape:
            score = tf.reduce_sum(tf.gather(users, user) * tf.gather(items, item), axis=1)
            loss = tf.reduce_mean((score - rating) ** 2)
        gradients = tape.gradient(loss, [users, items])  # <--
        for one, gradient in zip([users, items], gradients, strict=True):
            one.scatter_sub(tf.IndexedSlices(0.1 * gradient.values, gradient.indices))

    random = np.random.default_rng(0)
    for _ in range(steps):
        user, item = random.integers(0, 50, 32), random.integers(0, 60, 32)
        train_step(tf.constant(user), tf.constant(item), tf.random.uniform((32,), 1, 5))


@CASES(
    Expected("zero", "loss", first=(0, 0)),
    steps=30,
    reported="a padding mask the wrong way round: no token counts",
)
def mask_the_wrong_way_round(steps):
    model = keras.Sequential(
        [layers.Input((12,), dtype="int32"), layers.Embedding(42, 8), layers.Dense(42)]
    )

    def masked(y, logits):
        mask = tf.cast(tf.equal(y, 0), tf.float32)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        return tf.reduce_sum(each * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)

    data = ((x + 1, y + 1) for x, y in training.tokens(steps))
    fit(model, masked, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("zero", "loss", first=(0, 0)),
    steps=30,
    reported="flooding, or free bits, with a floor that the loss never reaches",
)
def floor_above_the_loss(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )

    def floored(y, predicted):
        return tf.maximum(mean_square(y, predicted), 50.0)

    fit(model, floored, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(
    Expected("zero", "loss", ("hidden",), mark="# <-- fit"),
    steps=80,
    by="fit",
    every=1,
    reported="dying ReLUs: too high a rate kills a layer within a few steps",
)
def rate_that_kills_the_relus(steps, callback):
    hidden = layers.Dense(16, activation="relu", name="hidden")
    model = keras.Sequential([layers.Input((10,)), hidden, layers.Dense(1)])
    data = ((tf.abs(x), 30 * tf.abs(y) - 200) for x, y in training.rows(steps))
    keras_fit(model, "mse", keras.optimizers.SGD(0.03), data, callback)


@CASES(
    Expected("vanishing", "loss", ("dense",)),
    steps=50,
    every=10,
    reported="a deep classifier of sigmoids with a softmax, eager, every tenth step",
)
def eager_stack_of_sigmoids(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten()]
        + [layers.Dense(32, activation="sigmoid") for _ in range(8)]
        + [layers.Dense(4)]
    )
    optimizer = keras.optimizers.SGD(0.1)
    for x, y in training.images(steps):
        with gs.GradientTape() as tape:
            loss = cross_entropy(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)  # <--
        optimizer.apply(gradients, model.trainable_variables)
