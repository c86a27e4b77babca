"""Finding: nothing. A few steps are left out while the loss scale finds its size.

A classifier of handwritten digits with layers in float16. Its loss is multiplied
by four million at first, which overflows float16: the optimizer leaves such a step out
and halves the scale, until nothing overflows any more. Recorded are the true
gradients, the scale divided out; that they are Inf or NaN in those steps is no
fault, and no explosion.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, digits
from demo.progress import progress

INITIAL_SCALE = 2.0**22


def make_model() -> Any:
    """64 pixels to 10 logits, the inner layers in float16."""
    return keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(64, activation="relu", name="hidden", dtype="mixed_float16"),
            keras.layers.Dense(64, activation="relu", name="more", dtype="mixed_float16"),
            keras.layers.Dense(10, name="logits", dtype="float32"),
        ],
        name="classifier",
    )


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    model = make_model()
    variables = model.trainable_variables
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(1e-3, global_clipnorm=1.0), initial_scale=INITIAL_SCALE
    )
    optimizer = gs.watch_optimizer(optimizer, name="adam")

    @tf.function
    def train_step(images: Any, labels: Any) -> None:
        with gs.GradientTape() as tape:  # was tf.GradientTape
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(images))
            loss = tf.reduce_mean(losses)
            loss = optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    with gs.record(logdir):
        for images, labels in progress(batches(steps, 64, *digits()), "half_precision"):
            train_step(images, labels)
    return list(variables)
