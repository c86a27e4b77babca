"""Finding: no gradient is missing, but w2 is moved twice by the very same gradient.

The second classic way to train with two losses: one optimizer takes the
combined loss, and a second one takes an extra step for the second loss alone.
The predictions are those of `separate_weights`: only `loss2` reaches w2, so
that the gradients of `total` and of `loss2` for w2 are equal in every step. At
(total, w2) and (loss2, w2) the matrix has the same number, and the two lines
over time lie upon each other: the "extra" update is a larger learning rate.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, diabetes
from demo.progress import progress


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    w1 = tf.Variable(tf.random.normal((2, 1)))
    w2 = tf.Variable(tf.random.normal((3, 1)))
    adam = keras.optimizers.Adam(0.02)
    sgd = keras.optimizers.SGD(0.02)

    @tf.function
    def train_step(x: Any, y: Any) -> None:
        with gs.GradientTape(persistent=True) as tape:  # was tf.GradientTape
            first = x[:, :2] @ w1
            second = tf.concat([x[:, 2:], first], axis=1) @ w2
            loss1 = tf.reduce_mean((first - y) ** 2)
            loss2 = tf.reduce_mean((second - y) ** 2)
            total = loss1 + loss2
        combined = tape.gradient(total, [w1, w2])
        extra = tape.gradient(loss2, [w2])
        adam.apply_gradients(zip(combined, [w1, w2], strict=True))
        sgd.apply_gradients(zip(extra, [w2], strict=True))

    with gs.record(logdir):
        for x, y in progress(batches(steps, 32, *diabetes()), "extra_update"):
            train_step(x, y)
    return [w1, w2]
