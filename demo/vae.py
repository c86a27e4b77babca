"""Finding: `none`. kl never reaches the decoder: None in every step, by design.

A variational autoencoder on handwritten digits. The KL term looks at the code
only, which the encoder makes, so it has no gradient for any weight of the
decoder. One persistent tape is asked for each term apart.

At the encoder both terms pull about equally hard, and soon in opposite
directions: there the sum of both gradients, which is what goes into the clip by
global norm, is smaller than the one of `recon` alone. The clip is a safety net:
it is seldom needed after the first steps.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, digits
from demo.progress import progress

CODE = 4
CLIP_NORM = 5.0


def make_encoder() -> Any:
    """64 pixels to mean and log variance of the code."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(2 * CODE, name="code"),
        ],
        name="encoder",
    )


def make_decoder() -> Any:
    """A code to 64 logits."""
    return keras.Sequential(
        [
            keras.Input((CODE,)),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(64, name="pixels"),
        ],
        name="decoder",
    )


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    encoder, decoder = make_encoder(), make_decoder()
    variables = [*encoder.trainable_variables, *decoder.trainable_variables]
    optimizer = keras.optimizers.Adam(2e-3)

    def losses(images: Any) -> tuple[Any, Any]:
        mean, log_variance = tf.split(encoder(images), 2, axis=1)
        code = mean + tf.exp(log_variance / 2) * tf.random.normal(tf.shape(mean))
        errors = tf.nn.sigmoid_cross_entropy_with_logits(labels=images, logits=decoder(code))
        divergence = tf.exp(log_variance) + mean**2 - 1 - log_variance
        recon = tf.reduce_mean(tf.reduce_sum(errors, axis=1))
        kl = tf.reduce_mean(tf.reduce_sum(divergence, axis=1)) / 2
        return recon, kl

    @tf.function
    def train_step(images: Any) -> None:
        with gs.GradientTape(persistent=True) as tape:  # was tf.GradientTape
            recon, kl = losses(images)
        recon_gradients = tape.gradient(recon, variables)
        kl_gradients = tape.gradient(kl, variables)
        gradients = [
            of_recon if of_kl is None else of_recon + of_kl
            for of_recon, of_kl in zip(recon_gradients, kl_gradients, strict=True)
        ]
        gradients, _ = gs.clip_by_global_norm(gradients, CLIP_NORM, variables=variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    with gs.record(logdir):
        for (images,) in progress(batches(steps, 64, digits()[0]), "vae"):
            train_step(images)
    return variables
