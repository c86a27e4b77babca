"""Finding: `none`. loss1 does not reach w2; named though the program crashed there.

`summed_clipped` as people usually write it: `a + b` without a thought of None.
It ends in its first step with

    ValueError: Attempt to convert a value (None) with an unsupported type ...

which names neither loss nor variable. The log directory does: the gradients of
the crashing step are on disk. Where the step is a `tf.function` ("None values
not supported"), it crashes while it is traced, before there is a single number;
the log then has the missing pair alone.

    python -m demo.summed_crash LOGDIR [--traced]
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, diabetes
from demo.progress import progress

CLIP_NORM = 1.0


def train(logdir: str, steps: int, traced: bool = False) -> list[Any]:
    """Trains until it crashes, and records into `logdir`."""
    keras.utils.set_random_seed(1)
    w1 = tf.Variable(tf.random.normal((2, 1)))
    w2 = tf.Variable(tf.random.normal((3, 1)))
    adam = keras.optimizers.Adam(0.02)

    def train_step(x: Any, y: Any) -> None:
        with gs.GradientTape(persistent=True) as tape:  # was tf.GradientTape
            first = x[:, :2] @ w1
            second = tf.concat([x[:, 2:], first], axis=1) @ w2
            loss1 = tf.reduce_mean((first - y) ** 2)
            loss2 = tf.reduce_mean((second - y) ** 2)
        gradients1 = tape.gradient(loss1, [w1, w2])
        gradients2 = tape.gradient(loss2, [w1, w2])
        sums = [a + b for a, b in zip(gradients1, gradients2, strict=True)]
        clipped = [
            gs.clip_by_norm(gradient, CLIP_NORM, variables=weight)  # was tf.clip_by_norm
            for gradient, weight in zip(sums, [w1, w2], strict=True)
        ]
        adam.apply_gradients(zip(clipped, [w1, w2], strict=True))

    step = tf.function(train_step) if traced else train_step
    with gs.record(logdir):
        for x, y in progress(batches(steps, 32, *diabetes()), "summed_crash"):
            step(x, y)
    return [w1, w2]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m demo.summed_crash")
    parser.add_argument("logdir", metavar="LOGDIR")
    parser.add_argument("--traced", action="store_true", help="make the step a tf.function")
    options = parser.parse_args()
    train(options.logdir, steps=10, traced=options.traced)
