"""Keras optimizers on two virtual devices, each plain and watched: `replicas.py LOGDIR`.

Prints as JSON the final weights of each, plain and watched. Replica 0 has the gradient (3, 0)
and replica 1 has (0, 4), in every step; but replica 1 a NaN in the step `ODD` of "odd ...",
which is recorded with `every=1000`.
"""

from __future__ import annotations

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs

STEPS = 3
ODD = 2
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.5, name="sgd"),
    "clipped": lambda: keras.optimizers.Adam(0.01, name="adam", clipnorm=1.0, weight_decay=0.1),
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.5, name="sgd", global_clipnorm=1.0), initial_scale=8.0
    ),
}
ODD_ONES = {
    "odd": lambda: keras.optimizers.SGD(0.5, name="sgd"),
    "odd scaled": lambda: keras.optimizers.SGD(0.5, name="sgd", loss_scale_factor=8.0),
    "odd clipped": lambda: keras.optimizers.SGD(0.5, name="sgd", clipnorm=1.0),
}


def train(strategy, make, watch, inside, is_odd=False):
    with strategy.scope():
        weights = keras.Variable(np.ones(2, np.float32), name="w")
        optimizer = make()
        if watch and inside:
            gs.watch_optimizer(optimizer)
        optimizer.build([weights])
    if watch:
        gs.watch_optimizer(optimizer)

    @tf.function
    def step(inputs):
        def replica(row):
            with (gs.GradientTape if is_odd and watch else tf.GradientTape)() as tape:
                loss = optimizer.scale_loss(tf.reduce_sum(weights.value * row))
            optimizer.apply(tape.gradient(loss, [weights.value]), [weights])

        strategy.run(replica, (inputs,))

    for number in range(STEPS):
        rows = np.float32([[3.0, 0.0], [0.0, np.nan if is_odd and number == ODD else 4.0]])
        step(
            strategy.experimental_distribute_values_from_function(
                lambda context, rows=rows: tf.constant(rows[context.replica_id_in_sync_group])
            )
        )
    return weights.numpy().tobytes().hex()


def main():
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    on_cpu = tf.distribute.ReductionToOneDevice()
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], on_cpu)
    found = {}
    for name, make in OPTIMIZERS.items():
        plain = train(strategy, make, watch=False, inside=False)
        with gs.record(os.path.join(sys.argv[1], name), every=1, on_error="raise"):
            watched = train(strategy, make, watch=True, inside=name == "sgd")
        found[name] = [plain, watched]
    for name, make in ODD_ONES.items():
        plain = train(strategy, make, watch=False, inside=False, is_odd=True)
        with gs.record(os.path.join(sys.argv[1], name), every=1000, on_error="raise"):
            watched = train(strategy, make, watch=True, inside=False, is_odd=True)
        found[name] = [plain, watched]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
