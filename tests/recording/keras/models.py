"""Small Keras models for the tests of `KerasCallback`."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

ROWS, BATCH = 24, 8


def data(outputs=1):
    """Inputs, and as many targets; all the same in every call."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 4)).astype(np.float32)
    y = x.sum(axis=1, keepdims=True) + random.normal(size=(ROWS, 1)).astype(np.float32)
    return x, y if outputs == 1 else [y] * outputs


def dense(**options):
    """A network of two layers, one of which draws random numbers."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="tanh", name="hidden"),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1, name="out"),
        ]
    )
    model.compile(**{"optimizer": "adam", "loss": "mse", **options})
    return model


def two_outputs(**options):
    """Two losses of different weight, one regularizer."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(6, activation="tanh", kernel_regularizer="l2", name="hidden")
    shared = hidden(inputs)
    heads = [keras.layers.Dense(1, name=name)(shared) for name in ("a", "b")]
    model = keras.Model(inputs, heads)
    model.compile(
        **{"optimizer": "adam", "loss": ["mse", "mae"], "loss_weights": [1.0, 0.5], **options}
    )
    return model


class OwnStep(keras.Model):
    """A subclass whose `train_step` has a tape of its own, and a layer made in `build`."""

    tape = tf.GradientTape

    def build(self, shape):
        self.layer = keras.layers.Dense(1, name="made_in_build")
        self.layer.build(shape)

    def call(self, inputs):
        return self.layer(inputs)

    def train_step(self, data):
        x, y = data
        with self.tape() as tape:
            error = tf.reduce_mean((self(x) - y) ** 2)
        gradients = tape.gradient(error, self.trainable_variables)
        clipped, _ = tf.clip_by_global_norm(gradients, 0.5)
        self.optimizer.apply_gradients(zip(clipped, self.trainable_variables, strict=True))
        return {"error": error}


def own_step(tape=tf.GradientTape, run_eagerly=True, **options):
    """Eager, which is the quickest for a few batches, unless told otherwise."""
    keras.utils.set_random_seed(1)
    model = OwnStep()
    model.tape = tape
    optimizer = keras.optimizers.SGD(0.05)
    model.compile(**{"optimizer": optimizer, "run_eagerly": run_eagerly, **options})
    return model


class Gan(keras.Model):
    """Two networks, two optimizers, two tapes, and noise drawn between them."""

    def __init__(self):
        super().__init__()
        self.generator = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(4, name="fake")], name="generator"
        )
        self.discriminator = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(1, name="logit")], name="discriminator"
        )

    def compile(self, **options):
        super().compile(**options)
        self.d_optimizer = keras.optimizers.Adam(0.01)
        self.g_optimizer = keras.optimizers.Adam(0.01)

    def train_step(self, real):
        noise = tf.random.normal((BATCH, 2))
        with tf.GradientTape() as tape:
            d_loss = tf.reduce_mean(
                tf.nn.softplus(-self.discriminator(real))
                + tf.nn.softplus(self.discriminator(self.generator(noise)))
            )
        variables = self.discriminator.trainable_weights
        gradients = tape.gradient(d_loss, variables)
        self.d_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        noise = tf.random.normal((BATCH, 2))
        with tf.GradientTape() as tape:
            g_loss = tf.reduce_mean(tf.nn.softplus(-self.discriminator(self.generator(noise))))
        variables = self.generator.trainable_weights
        gradients = tape.gradient(g_loss, variables)
        self.g_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"d_loss": d_loss, "g_loss": g_loss}


def gan(**options):
    keras.utils.set_random_seed(1)
    model = Gan()
    model.compile(**options)
    return model


def bits(model):
    """Every number that training changes, as bytes."""
    optimizers = [one for one in vars(model).values() if isinstance(one, keras.Optimizer)]
    found = [*model.weights, *(v for one in optimizers for v in one.variables)]
    return [keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(v)).tobytes() for v in found]
