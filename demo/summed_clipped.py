"""Finding: `none`. loss1 never reaches w2: None in every step, by design.

The third classic way to train with two losses: take the gradients of each, add
them, clip the sums by norm, apply. The predictions are those of
`separate_weights`: the first one does not use w2, so `loss1` has no gradient
there, and the sum must leave it out (`summed_crash` is what happens otherwise).

Clipping is seen as well: the norm of each sum before and after, and how often
the threshold was exceeded: in every step at first, hardly ever once the fit is
good.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, diabetes
from demo.progress import progress

CLIP_NORM = 1.0


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    keras.utils.set_random_seed(1)
    w1 = tf.Variable(tf.random.normal((2, 1)))
    w2 = tf.Variable(tf.random.normal((3, 1)))
    adam = keras.optimizers.Adam(0.02)

    @tf.function
    def train_step(x: Any, y: Any) -> None:
        with gs.GradientTape(persistent=True) as tape:  # was tf.GradientTape
            first = x[:, :2] @ w1
            second = tf.concat([x[:, 2:], first], axis=1) @ w2
            loss1 = tf.reduce_mean((first - y) ** 2)
            loss2 = tf.reduce_mean((second - y) ** 2)
        gradients1 = tape.gradient(loss1, [w1, w2])
        gradients2 = tape.gradient(loss2, [w1, w2])
        sums = [add(a, b) for a, b in zip(gradients1, gradients2, strict=True)]
        clipped = [
            gs.clip_by_norm(gradient, CLIP_NORM, variables=weight)  # was tf.clip_by_norm
            for gradient, weight in zip(sums, [w1, w2], strict=True)
        ]
        adam.apply_gradients(zip(clipped, [w1, w2], strict=True))

    with gs.record(logdir):
        for x, y in progress(batches(steps, 32, *diabetes()), "summed_clipped"):
            train_step(x, y)
    return [w1, w2]


def add(a: Any, b: Any) -> Any:
    """Returns the sum of two gradients, where None counts as nothing."""
    if a is None or b is None:
        return b if a is None else a
    return a + b
