"""Trains 320 MB of weights and says how much memory it took at most: `held.py HOW LOGDIR`.

HOW is "plain", or what of ours is there: "tape", "sentinel", "optimizer"; and "clip" where
gradients are clipped by the norm of all; joined by "+". No step is recorded, not even the first.
"""

from __future__ import annotations

import contextlib
import sys

import keras
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.recording.store import cadence
from tests.peak import peak_bytes

LAYERS, WIDTH = 20, 2000
STEPS = 6


def train(how, logdir):
    variables = [tf.Variable(tf.random.normal([WIDTH, WIDTH], stddev=0.02)) for _ in range(LAYERS)]
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(variables)
    clip = gs.clip_by_global_norm if "tape" in how else tf.clip_by_global_norm
    tape_of = gs.GradientTape if "tape" in how else tf.GradientTape

    @tf.function
    def step(batch):
        with tape_of() as tape:
            hidden = batch
            for variable in variables:
                hidden = tf.tanh(hidden @ variable)
            loss = tf.reduce_mean(hidden**2)
        gradients = tape.gradient(loss, variables)
        if "clip" in how:
            gradients, _ = clip(gradients, 1.0)
        optimizer.apply(gradients, variables)

    with contextlib.ExitStack() as stack:
        if "plain" not in how:
            recorder = gs.record(logdir, sentinel="sentinel" in how, on_error="raise")
            recorder._every = cadence.OFF
            stack.enter_context(recorder)
        if "optimizer" in how:
            gs.watch_optimizer(optimizer)
        for _ in range(STEPS):
            step(tf.ones([8, WIDTH]))


if __name__ == "__main__":
    train(sys.argv[1].split("+"), sys.argv[2])
    print(peak_bytes())
