"""Finding: `none`, cause `blocked`. recon never reaches the encoder: an argmin lies between.

A vector-quantised autoencoder on handwritten digits that forgets the
straight-through estimator: the decoder is given the nearest entry of the
codebook, and picking one by `argmin` passes no gradient back to what it was
picked for. Only the commitment loss, which pulls the code towards its entry,
trains the encoder; the digits it is to describe never do.

What was meant is `entry = code + tf.stop_gradient(entry - code)`.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, digits
from demo.progress import progress

CODE, ENTRIES = 4, 32


def make_coder(name: str, inputs: int, outputs: int) -> Any:
    """A hidden layer of 64 between inputs and outputs."""
    return keras.Sequential(
        [
            keras.Input((inputs,)),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(outputs, name="out"),
        ],
        name=name,
    )


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    encoder, decoder = make_coder("encoder", 64, CODE), make_coder("decoder", CODE, 64)
    codebook = tf.Variable(tf.random.normal((ENTRIES, CODE)), name="codebook")
    variables = [*encoder.trainable_variables, codebook, *decoder.trainable_variables]
    optimizer = keras.optimizers.Adam(2e-3)

    @tf.function
    def train_step(images: Any) -> None:
        with gs.GradientTape(persistent=True) as tape:  # was tf.GradientTape
            code = encoder(images)
            distances = tf.reduce_sum((code[:, None] - codebook) ** 2, axis=2)
            nearest = tf.argmin(distances, axis=1)
            entry = tf.gather(codebook, nearest)
            recon = tf.reduce_mean((decoder(entry) - images) ** 2)
            commitment = 0.25 * tf.reduce_mean((code - tf.stop_gradient(entry)) ** 2)
        recon_gradients = tape.gradient(recon, variables)
        commitment_gradients = tape.gradient(commitment, encoder.trainable_variables)
        gradients = [*commitment_gradients, *recon_gradients[len(commitment_gradients) :]]
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    with gs.record(logdir):
        for (images,) in progress(batches(steps, 64, digits()[0]), "codebook"):
            train_step(images)
    return variables
