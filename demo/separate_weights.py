"""Finding: no gradient is missing; each loss was asked for its own weights only.

The first of three classic ways to train with two losses: two optimizers, each
with weights of its own. A second prediction builds on a first one:

    first  = (body mass index, blood pressure)  @ w1
    second = (HDL, triglycerides, first)        @ w2

so `loss1` reaches w1 alone, while `loss2` would reach both. It is asked for w2
alone. The matrix has "not asked for" at (loss1, w2) and (loss2, w1), which is
not the same as a gradient that is missing.
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
        gradients1 = tape.gradient(loss1, [w1])
        gradients2 = tape.gradient(loss2, [w2])
        adam.apply_gradients(zip(gradients1, [w1], strict=True))
        sgd.apply_gradients(zip(gradients2, [w2], strict=True))

    with gs.record(logdir):
        for x, y in progress(batches(steps, 32, *diabetes()), "separate_weights"):
            train_step(x, y)
    return [w1, w2]
