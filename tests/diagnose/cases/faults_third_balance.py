"""Trainings whose clipping, losses or steps are out of proportion: a part of the third set."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.faults_third import variable
from tests.diagnose.cases.training import (
    Expected,
    Trainings,
    fit,
    keras_fit,
    mean_square,
)

CASES = Trainings()


@CASES(
    Expected("clip_saturated", None, mark="# <-- apply"),
    steps=120,
    reported="clipnorm=1e-4 copied from somewhere: each variable's gradient is cut to it",
)
def each_variable_cut_to_next_to_nothing(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(0.1, clipnorm=1e-4))

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)  # <-- apply

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("clip_saturated", None, mark="# <-- again"),
    steps=120,
    reported="clipped twice: what the global norm left is cut again, a thousandfold",
)
def clipped_twice(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients, _ = gs.clip_by_global_norm(gradients, 5.0)
        gradients = [gs.clip_by_norm(one, 1e-4) for one in gradients]  # <-- again
        optimizer.apply(gradients, model.trainable_variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("clip_saturated", None, mark="# <-- value"),
    steps=120,
    reported="each element cut to a millionth: only the signs are left",
)
def elements_cut_to_their_signs(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(1.0)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients = [gs.clip_by_value(one, -1e-6, 1e-6) for one in gradients]  # <-- value
        optimizer.apply(gradients, model.trainable_variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("clip_never", None, mark="# <-- clip"),
    steps=200,
    reported="a threshold of a million that nobody ever reaches",
)
def threshold_out_of_reach(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps), clip=1e6)


@CASES(
    Expected("domination", "residual", ("dense",), mark=""),
    steps=120,
    reported="Wang et al. 2021: the residual of a fast wave drowns the boundary of a PINN",
)
def boundary_that_never_counts(steps):
    model = keras.Sequential(
        [layers.Input((1,))] + [layers.Dense(20, "tanh") for _ in range(3)] + [layers.Dense(1)]
    )
    variables, optimizer = model.trainable_variables, keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(t):
        with gs.GradientTape() as tape:
            with tf.GradientTape() as second:
                second.watch(t)
                with tf.GradientTape() as first:
                    first.watch(t)
                    u = model(t)
                slope = first.gradient(u, t)
            curvature = second.gradient(slope, t)
            residual = tf.reduce_mean((curvature + 2500.0 * u - 2500.0) ** 2)
            boundary = tf.reduce_mean(model(tf.constant([[0.0], [1.0]])) ** 2)
        gradients = tape.gradient({"residual": residual, "boundary": boundary}, variables)
        optimizer.apply(gradients, variables)

    random = np.random.default_rng(0)
    for _ in range(steps):
        train_step(tf.constant(random.uniform(0, 1, (64, 1)), tf.float32))


@CASES(
    Expected("domination", "kl", ("encoder",), mark=""),
    steps=100,
    reported="a VAE whose divergence weighs a hundred thousand times too much",
)
def divergence_far_too_heavy(steps):
    encoder, decoder = variable("encoder", 10, 8), variable("decoder", 4, 10, seed=1)
    optimizer = keras.optimizers.SGD(1e-8)

    @tf.function
    def train_step(x, noise):
        with gs.GradientTape() as tape:
            mean, log_variance = tf.split(x @ encoder, 2, axis=1)
            z = mean + tf.exp(0.5 * log_variance) * noise
            recon = tf.reduce_mean((z @ decoder - x) ** 2)
            kl = -5e4 * tf.reduce_mean(1 + log_variance - mean**2 - tf.exp(log_variance))
            tape.losses(recon=recon, kl=kl)
            total = recon + kl
        gradients = tape.gradient(total, [encoder, decoder])
        optimizer.apply(gradients, [encoder, decoder])

    for x, _ in training.rows(steps):
        train_step(x, tf.random.normal((32, 4)))


@CASES(
    Expected("conflict", "task", ("trunk",), mark=""),
    steps=80,
    reported="a distillation term of the wrong sign works against the task",
)
def term_of_the_wrong_sign(steps):
    trunk = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)], name="trunk"
    )
    variables, optimizer = trunk.trainable_variables, keras.optimizers.Adam(1e-4)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape(persistent=True) as tape:
            predicted = trunk(x)
            task = mean_square(y, predicted)
            teacher = -0.5 * mean_square(1.1 * y, predicted)
        of_task = tape.gradient(task, variables)
        of_teacher = tape.gradient(teacher, variables)
        optimizer.apply([a + b for a, b in zip(of_task, of_teacher, strict=True)], variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(
    Expected("update_ratio", None, ("kernel",), mark="# <-- fit"),
    steps=60,
    by="fit",
    every=1,
    reported="a learning rate of 1e-10: nothing moves",
)
def rate_of_next_to_nothing(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    keras_fit(model, "mse", keras.optimizers.Adam(1e-10), training.rows(steps), callback)


@CASES(
    Expected("update_ratio", None, ("kernel",), mark="# <-- fit"),
    steps=40,
    by="fit",
    every=1,
    reported="Adam with a learning rate of 10",
)
def rate_of_ten(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="leaky_relu"), layers.Dense(1)]
    )
    keras_fit(model, "mse", keras.optimizers.Adam(10.0), training.rows(steps), callback)


@CASES(
    Expected("unrequested", "loss", ("middle",)),
    steps=20,
    reported="a list of variables written by hand that lacks a layer",
)
def layer_left_out_of_the_list(steps):
    parts = [
        keras.Sequential([layers.Input((width,)), layers.Dense(16, activation="relu")], name=name)
        for width, name in ((10, "encoder"), (16, "middle"), (16, "decoder"))
    ]
    head = variable("head", 16, 1)
    variables = [*parts[0].trainable_variables, *parts[2].trainable_variables, head]
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            for part in parts:
                x = part(x)
            loss = mean_square(y, x @ head)
        gradients = tape.gradient(loss, variables)  # <--
        optimizer.apply(gradients, variables)

    for x, y in training.rows(steps):
        train_step(x, y)
