"""Writes the log that the other environments show. Run by the `python` of a cell."""

from __future__ import annotations

import sys

import tensorflow as tf

import tb_gradscope as gs


def main(log: str) -> None:
    """Trains a little: two losses, a clip site, a gradient that is missing."""
    w, unused = tf.Variable([3.0, 4.0], name="w"), tf.Variable(1.0, name="unused")

    @tf.function
    def step() -> None:
        with gs.GradientTape(persistent=True) as tape:
            fit, penalty = tf.reduce_sum((w - 1.0) ** 2), tf.reduce_sum(tf.abs(w))
        gradients = tape.gradient(fit, [w, unused])
        tape.gradient(penalty, [w])
        clipped, _ = gs.clip_by_global_norm(gradients, 1.0)
        w.assign_sub(0.1 * clipped[0])

    with gs.record(log, every=1, on_error="raise"):
        for _ in range(10):
            step()


if __name__ == "__main__":
    main(sys.argv[1])
