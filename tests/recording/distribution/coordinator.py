"""The chief of a ParameterServerStrategy, as TF_CONFIG says: `coordinator.py LOGDIR`.

Trains step by step, plain and recorded, and prints the weights of both as bytes in
hexadecimal; then many steps at once on all workers; then, when told that a worker was
killed, some on those that are left.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types

import tensorflow as tf

import tb_gradscope as gs

PLAIN = types.SimpleNamespace(
    GradientTape=tf.GradientTape,
    clip_by_norm=tf.clip_by_norm,
    record=lambda *_, **__: contextlib.nullcontext(),
)

logdir = sys.argv[1]
resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()


def made(api):
    """Returns a weight and a step that trains it."""
    with strategy.scope():
        w = tf.Variable([1.0, 2.0], name="w")

    @tf.function
    def step(x):
        def replica(x):
            with api.GradientTape() as tape:
                loss = tf.reduce_sum((w - x) ** 2)
            w.assign_sub(0.1 * api.clip_by_norm(tape.gradient(loss, w), 1.0))

        strategy.run(replica, (x,))

    return w, step


def one_by_one(api):
    with api.record(os.path.join(logdir, "one_by_one"), every=1, on_error="raise"):
        w, step = made(api)
        for number in range(5):
            coordinator.schedule(step, (tf.constant([1.0, float(number)]),))
            coordinator.join()
        return w.numpy().tobytes().hex()


def at_once(name, steps):
    with gs.record(os.path.join(logdir, name), every=1, on_error="raise"):
        _, step = made(gs)
        for number in range(steps):
            coordinator.schedule(step, (tf.constant([1.0, float(number)]),))
        coordinator.join()


strategy = tf.distribute.ParameterServerStrategy(resolver)
coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
print(json.dumps([one_by_one(api) for api in (PLAIN, gs)]), flush=True)
at_once("at_once", 40)
print("killed?", flush=True)
sys.stdin.readline()
at_once("after_a_death", 12)
print("done", flush=True)
os._exit(0)
