"""Finding: nothing. gen_loss fades to a hundredth as the discriminator wins, short of an alarm.

A small GAN on handwritten digits, with the loss of the first paper: the
generator minimises log(1 - D(G(z))). That is flat where the discriminator is
sure, so the better it tells digits from forgeries, the less the generator
learns. Within some ten steps the norms of `gen_loss` fall to a hundredth and
less, though nothing is None and no number is odd. Those of `disc_loss` fall as
well: a winner has nothing left to learn.

No gradient is missing: each loss was asked for its own network only. (The cure
is to maximise log D(G(z)) instead, or a slower discriminator.)
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, digits
from demo.progress import progress

NOISE = 16
BATCH = 64


def make_generator() -> Any:
    """Noise to 64 pixels."""
    return keras.Sequential(
        [
            keras.Input((NOISE,)),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(64, activation="sigmoid", name="pixels"),
        ],
        name="generator",
    )


def make_discriminator() -> Any:
    """64 pixels to a logit: positive for a real digit."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="leaky_relu", name="hidden"),
            keras.layers.Dense(1, name="logit"),
        ],
        name="discriminator",
    )


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    generator, discriminator = make_generator(), make_discriminator()
    gen_optimizer = keras.optimizers.Adam(1e-3)
    disc_optimizer = keras.optimizers.Adam(1e-2)

    @tf.function
    def train_step(real_images: Any) -> None:
        noise = tf.random.normal((BATCH, NOISE))
        with gs.GradientTape() as gen_tape, gs.GradientTape() as disc_tape:
            real = discriminator(real_images)
            fake = discriminator(generator(noise))
            # softplus(-x) is -log(sigmoid(x)), softplus(x) is -log(1 - sigmoid(x)).
            disc_loss = tf.reduce_mean(tf.nn.softplus(-real) + tf.nn.softplus(fake))
            gen_loss = -tf.reduce_mean(tf.nn.softplus(fake))
        gen_weights = generator.trainable_variables
        disc_weights = discriminator.trainable_variables
        gen_gradients = gen_tape.gradient(gen_loss, gen_weights)
        disc_gradients = disc_tape.gradient(disc_loss, disc_weights)
        gen_optimizer.apply_gradients(zip(gen_gradients, gen_weights, strict=True))
        disc_optimizer.apply_gradients(zip(disc_gradients, disc_weights, strict=True))

    with gs.record(logdir):
        for (images,) in progress(batches(steps, BATCH, digits()[0]), "gan"):
            train_step(images)
    return [*generator.trainable_variables, *discriminator.trainable_variables]
