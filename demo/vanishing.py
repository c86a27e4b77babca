"""Finding: `vanishing`. The first layers' gradients are 1e-8 of the last one's or less.

Twenty sigmoid layers on handwritten digits. The slope of a sigmoid is 1/4 at
most, so each layer passes on a fraction of the gradient that reaches it, and
twenty of them next to nothing: the first layers do not learn. In the matrix,
colour fades from the last layer up to the first, in every step.

No gradient is None or exactly zero, which is why no error is raised. (The cure
is another activation, a better start, normalisation or residual connections.)
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, digits
from demo.progress import progress

LAYERS = 20
UNITS = 32


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    hidden = [
        keras.layers.Dense(UNITS, activation="sigmoid", name=f"layer{number:02}")
        for number in range(1, LAYERS + 1)
    ]
    model = keras.Sequential(
        [keras.Input((64,)), *hidden, keras.layers.Dense(10, name="logits")], name="deep"
    )
    optimizer = keras.optimizers.SGD(0.1)

    @tf.function
    def train_step(images: Any, labels: Any) -> None:
        with gs.GradientTape() as tape:  # was tf.GradientTape
            logits = model(images)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            )
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    with gs.record(logdir):
        for images, labels in progress(batches(steps, 64, *digits()), "vanishing"):
            train_step(images, labels)
    return list(model.trainable_variables)
