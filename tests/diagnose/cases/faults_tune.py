"""Trainings with a fault in their numbers, and the finding that must appear: tuned on these."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.training import Expected, Trainings, cross_entropy, fit, mean_square

CASES = Trainings()


@CASES(
    Expected("nan", "loss", first=(17, 17)),
    steps=40,
    reported="a NaN in the data",
)
def one_bad_batch(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    data = (
        (tf.fill(x.shape, np.float32(np.nan)) if step == 17 else x, y)
        for step, (x, y) in enumerate(training.rows(steps))
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), data)


@CASES(
    Expected("nan", "loss", ("encoder",), first=(9, 9)),
    steps=30,
    reported="Stack Overflow: the gradient of tf.norm at zero",
)
def norm_of_zeros(steps):
    encoder = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 4)), name="encoder", dtype="float32"
    )
    scale = tf.Variable(1.0, name="scale")
    optimizer = keras.optimizers.SGD(1e-3)

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_mean(tf.norm(x @ encoder, axis=1)) * scale
        gradients = tape.gradient(loss, [encoder, scale])  # <--
        optimizer.apply(gradients, [encoder, scale])

    for step, (x, _) in enumerate(training.rows(steps)):
        train_step(x * 0 if step == 9 else x)


@CASES(
    Expected("nan", "loss", ("kernel",), mark="# <-- loss"),
    steps=60,
    reported="Stack Overflow: log of a probability that reaches zero",
)
def log_of_zero(steps):
    kernel = tf.Variable(tf.zeros((10, 1)), name="kernel")

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            p = tf.sigmoid(x @ kernel)
            y = tf.cast(x[:, :1] > 0, tf.float32)
            loss = -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))  # <-- loss
        gradient = tape.gradient(loss, kernel)  # <--
        kernel.assign_sub(30.0 * gradient)

    for x, _ in training.rows(steps):
        train_step(10 * x)


@CASES(
    Expected("nan", "loss", ("gate",), first=(0, 0)),
    steps=10,
    reported="TensorFlow issue 2540: tf.where does not stop the NaN of the branch not taken",
)
def where_around_a_division(steps):
    gate = tf.Variable([[0.0, 1.0, 2.0]], name="gate")
    kernel = tf.Variable(np.ones((10, 3)) / 5, name="kernel", dtype="float32")

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            safe = tf.where(gate > 0, 1.0 / gate, 0.0)
            loss = tf.reduce_mean((x @ kernel) ** 2 * safe)
        gradients = tape.gradient(loss, [kernel, gate])  # <--
        kernel.assign_sub(0.01 * gradients[0])

    for x, _ in training.rows(steps):
        train_step(x)


@CASES(
    Expected("inf", "loss", first=(20, 20), mark="# <-- loss"),
    steps=25,
    reported="an exponential that overflows",
)
def exponential_overflow(steps):
    rate = tf.Variable([[0.1]], name="rate")

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(tf.exp(x @ rate))  # <-- loss
        tape.gradient(loss, rate)  # <--

    for step in range(steps):
        train_step(tf.constant([[1000.0 if step == 20 else 1.0]]))


@CASES(
    Expected("exploding", "loss", ("kernel",)),
    steps=40,
    reported="gradient descent with too large a learning rate",
)
def descent_that_diverges(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1)])
    fit(model, mean_square, keras.optimizers.SGD(1.0), training.rows(steps))


@CASES(
    Expected("exploding", "loss", ("recurrent",)),
    steps=20,
    reported="a recurrent kernel of too large a radius (Pascanu et al., arXiv 1211.5063)",
)
def recurrence_that_multiplies(steps):
    model = keras.Sequential(
        [layers.Input((40, 10))]
        + [
            layers.SimpleRNN(
                16, activation=None, recurrent_initializer=keras.initializers.Identity(2.0)
            )
        ]
        + [layers.Dense(1)]
    )
    random = np.random.default_rng(0)
    data = (
        (tf.constant(random.normal(size=(16, 40, 10)), tf.float32), tf.ones((16, 1)))
        for _ in range(steps)
    )
    fit(model, mean_square, keras.optimizers.SGD(1e-30), data)


@CASES(Expected("exploding", "loss"), steps=200, reported="batches of outliers that keep coming")
def outliers_now_and_then(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    data = (
        (x, y * (1e5 if step % 30 == 29 else 1.0))
        for step, (x, y) in enumerate(training.rows(steps))
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-4), data)


@CASES(
    Expected("vanishing", "loss", ("dense",)),
    steps=30,
    reported="a deep stack of sigmoids (Glorot and Bengio 2010)",
)
def stack_of_sigmoids(steps):
    model = keras.Sequential(
        [layers.Input((10,))]
        + [layers.Dense(16, activation="sigmoid") for _ in range(12)]
        + [layers.Dense(4)]
    )
    data = ((x, tf.cast(y[:, 0] > 0, tf.int32)) for x, y in training.rows(steps))
    fit(model, cross_entropy, keras.optimizers.Adam(1e-3), data)


@CASES(Expected("vanishing", "loss"), steps=20, reported="a loss multiplied by a tiny factor")
def loss_times_next_to_nothing(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )

    def tiny(y, predicted):
        return 1e-12 * mean_square(y, predicted)

    fit(model, tiny, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(
    Expected("zero", "loss", ("hidden",), first=(10, 10)),
    steps=40,
    reported="dying ReLUs: one update far too large, and no unit is ever above zero again",
)
def units_that_died(steps):
    hidden = layers.Dense(16, activation="relu", name="hidden")
    model = keras.Sequential([layers.Input((10,)), hidden, layers.Dense(1)])

    def rows():
        for step, row in enumerate(training.rows(steps)):
            if step == 10:
                hidden.bias.assign_sub(tf.fill((16,), 1e3))
            yield row

    fit(model, mean_square, keras.optimizers.Adam(1e-3), rows())


@CASES(
    Expected("zero", "loss", ("kernel",), first=(0, 0)),
    steps=20,
    reported="all weights start at zero",
)
def weights_of_zero(steps):
    model = keras.Sequential([layers.Input((10,))])
    for width in (16, 16, 1):
        model.add(
            layers.Dense(
                width, activation="relu" if width > 1 else None, kernel_initializer="zeros"
            )
        )
    fit(model, mean_square, keras.optimizers.SGD(0.1), training.rows(steps))


@CASES(
    Expected("clip_saturated", None, mark="# <-- clip"),
    steps=120,
    reported="a threshold a thousand times too small",
)
def threshold_far_too_small(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps), clip=1e-4)


@CASES(
    Expected("domination", "recon", ("encoder",), mark=""),
    steps=60,
    reported="a divergence term that never counts",
)
def loss_that_drowns_the_other(steps):
    encoder = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 4)) / 3, name="encoder", dtype="float32"
    )
    decoder = tf.Variable(
        np.random.default_rng(1).normal(size=(4, 10)) / 3, name="decoder", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x):
        with gs.GradientTape(persistent=True) as tape:
            z = x @ encoder
            recon = tf.reduce_sum((z @ decoder - x) ** 2)
            kl = 1e-6 * tf.reduce_mean(z**2)
        of_recon = tape.gradient(recon, [encoder, decoder])
        of_kl = tape.gradient(kl, encoder)
        optimizer.apply([of_recon[0] + of_kl, of_recon[1]], [encoder, decoder])

    for x, _ in training.rows(steps):
        train_step(x)
