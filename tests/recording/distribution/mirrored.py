"""Trainings on two virtual devices, each plain and recorded: `mirrored.py LOGDIR`.

Prints as JSON the final weights of each, as bytes in hexadecimal, plain and recorded.
In most, replica 0 has the gradient (3, 0) and replica 1 has (0, 4), in every step.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import types

import numpy as np
import tensorflow as tf

import tb_gradscope as gs

STEPS = 3
PLAIN = types.SimpleNamespace(
    GradientTape=tf.GradientTape,
    clip_by_global_norm=tf.clip_by_global_norm,
    clip_by_norm=tf.clip_by_norm,
    record=lambda *_, **__: contextlib.nullcontext(),
    KerasCallback=None,
)
TRAININGS = {}


def training(function):
    TRAININGS[function.__name__] = function
    return function


def recorded(function):
    """The same, all of it within `record`."""

    def whole(api, logdir):
        with api.record(logdir, every=1, on_error="raise"):
            return function(api)

    TRAININGS[function.__name__] = whole


@functools.cache
def mirrored():
    # Two of them in one process mix up their collective operations.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


class Model:
    """Two variables, one of them of no use, and an input that differs between the replicas."""

    def __init__(self, strategy=None):
        self.strategy = strategy or mirrored()
        with self.strategy.scope():
            mean = tf.VariableAggregation.MEAN
            self.w = tf.Variable([1.0, 2.0], aggregation=mean, name="w")
            self.unused = tf.Variable(1.0, aggregation=mean, name="unused")
        rows = tf.constant([[3.0, 0.0], [0.0, 4.0]])
        self.inputs = self.strategy.experimental_distribute_values_from_function(
            lambda context: rows[context.replica_id_in_sync_group]
        )

    def gradients(self, api, x):
        with api.GradientTape() as tape:
            loss = tf.reduce_sum(self.w * x)
        return tape.gradient(loss, [self.w, self.unused])

    def run(self, replica, compiled=True):
        """Runs steps of a replica function that changes the weights, and returns these."""

        def step(inputs):
            self.strategy.run(replica, (inputs,))

        step = tf.function(step) if compiled else step
        for _ in range(STEPS):
            step(self.inputs)
        return [self.w]


def all_reduced(op, gradients):
    return tf.distribute.get_replica_context().all_reduce(op, gradients)


@recorded
def clip_after(api):
    model = Model()

    def replica(x):
        gradient, _ = model.gradients(api, x)
        total = all_reduced("SUM", [gradient])
        clipped, _ = api.clip_by_global_norm(total, 1.0)
        model.w.assign_sub(clipped[0])

    return model.run(replica)


@recorded
def clip_after_in_eager_code(api):
    model = Model()

    def replica(x):
        gradient, _ = model.gradients(api, x)
        total = all_reduced(tf.distribute.ReduceOp.SUM, gradient)
        clipped, _ = api.clip_by_global_norm([total], 1.0)
        model.w.assign_sub(clipped[0])

    return model.run(replica, compiled=False)


@recorded
def clip_before(api):
    model = Model()

    def replica(x):
        gradient, _ = model.gradients(api, x)
        clipped, _ = api.clip_by_global_norm([gradient], 2.0)
        model.w.assign_sub(all_reduced("MEAN", clipped)[0])

    return model.run(replica)


@recorded
def clip_of_changed(api):
    model = Model()

    def replica(x):
        gradient, _ = model.gradients(api, x)
        model.w.assign_sub(all_reduced("SUM", api.clip_by_norm(2.0 * gradient, 1.0)))

    return model.run(replica)


@recorded
def reduced_outside(api):
    model = Model()

    @tf.function
    def step(inputs):
        def replica(x):
            return model.gradients(api, x)[0]  # the line of the replicas

        local = model.strategy.run(replica, (inputs,))
        return api.clip_by_norm(model.strategy.reduce("MEAN", local, axis=None), 1.0)

    for _ in range(STEPS):
        model.w.assign_sub(step(model.inputs))
    return [model.w]


@recorded
def merged(api):
    model = Model()

    def update(strategy, gradient):
        (total,) = strategy.extended.batch_reduce_to("SUM", [(gradient, model.w)])
        strategy.extended.update(model.w, lambda w, g: w.assign_sub(g), args=(total,))

    def replica(x):
        gradient, _ = model.gradients(api, x)
        tf.distribute.get_replica_context().merge_call(update, args=(gradient,))

    return model.run(replica)


def train_on_parts(api, decay_of):
    model = Model()

    def replica(x):
        with api.GradientTape() as tape:
            losses = {"fit": tf.reduce_sum(model.w * x), "decay": decay_of(model.w)}
        model.w.assign_sub(0.1 * all_reduced("SUM", tape.gradient(losses, model.w)))

    return model.run(replica)


@recorded
def parts(api):
    return train_on_parts(api, lambda w: tf.reduce_sum(w**2))


@training
def parts_through_an_all_reduce(api, logdir):
    with api.record(logdir, every=1):
        return train_on_parts(api, lambda w: all_reduced("SUM", tf.reduce_sum(w**2)))


@recorded
def compiled_by_xla(api):
    model = Model()
    gradients = tf.function(lambda x: model.gradients(api, x)[0], jit_compile=True)
    return model.run(lambda x: model.w.assign_sub(all_reduced("SUM", gradients(x))))


@recorded
def embedding(api):
    model = Model()
    with model.strategy.scope():
        table = tf.Variable(tf.ones([5, 2]), aggregation=tf.VariableAggregation.MEAN, name="table")

    def replica(x):
        with api.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, [1, 1, 3]) * x)
        gradient = tape.gradient(loss, table)
        table.assign_sub(0.1 * tf.convert_to_tensor(all_reduced("SUM", gradient)))

    model.run(replica)
    return [table]


@recorded
def traced_before_the_strategy(api):
    """The function is first called, and the tape first entered, without any strategy."""
    w = tf.Variable([1.0, 2.0], name="early")

    @tf.function
    def gradient_of(x):
        with api.GradientTape() as tape:
            loss = tf.reduce_sum(w * x)
        return tape.gradient(loss, w)

    gradient_of(tf.constant([1.0, 0.0]))
    model = Model()

    def replica(x):
        model.w.assign_sub(all_reduced("SUM", gradient_of(x)))

    return model.run(replica)


@recorded
def one_device(api):
    strategy = tf.distribute.OneDeviceStrategy("CPU:1")
    with strategy.scope():
        w = tf.Variable([1.0, 2.0], name="w")

    @tf.function(jit_compile=True)
    def step(x):
        with api.GradientTape() as tape:
            loss = tf.reduce_sum(w * x)
        w.assign_sub(all_reduced("SUM", tape.gradient(loss, w)))

    for _ in range(STEPS):
        strategy.run(step, (tf.constant([3.0, 4.0]),))
    return [w]


@recorded
def another_device_without_strategy(api):
    with tf.device("CPU:1"):
        w = tf.Variable([1.0, 2.0], name="w")

        @tf.function(jit_compile=True)
        def step():
            with api.GradientTape() as tape:
                loss = tf.reduce_sum(w**2)
            w.assign_sub(0.1 * tape.gradient(loss, w))

        for _ in range(STEPS):
            step()
    return [w]


@training
def default_writer(api, logdir):
    """No `record`, but the program's own summary writer and step."""
    model = Model()

    def replica(x):
        gradient, _ = model.gradients(api, x)
        model.w.assign_sub(all_reduced("SUM", gradient))

    with tf.summary.create_file_writer(logdir).as_default(step=tf.Variable(7, dtype=tf.int64)):
        return model.run(replica)


@training
def two_at_once(api, logdir):
    """Each thread has a recording and a strategy of its own."""
    weights = [None, None]
    both_entered = threading.Barrier(2)

    def train(index):
        with api.record(os.path.join(logdir, str(index)), every=1, on_error="raise"):
            both_entered.wait()
            on_cpu = tf.distribute.ReductionToOneDevice()
            model = Model(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], on_cpu))

            def replica(x):
                gradient, _ = model.gradients(api, (index + 1.0) * x)
                model.w.assign_sub(all_reduced("SUM", gradient))

            (weights[index],) = model.run(replica, compiled=False)
            both_entered.wait()

    threads = [threading.Thread(target=train, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return weights


def network(strategy):
    import keras

    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.layers.Input([4]),
                keras.layers.Dense(3, activation="relu", name="hidden"),
                keras.layers.Dense(1, name="head"),
            ],
            name="net",
        )
        model.compile(keras.optimizers.Adam(0.01), "mse")
        model.optimizer.build(model.trainable_variables)
    return model


def data():
    x = np.random.RandomState(0).randn(32, 4).astype(np.float32)
    return x, x.sum(axis=1, keepdims=True)


@recorded
def keras_optimizer(api):
    strategy = mirrored()
    model = network(strategy)
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(8)

    @tf.function
    def step(x, y):
        def replica(x, y):
            with api.GradientTape() as tape:
                loss = tf.reduce_sum((model(x) - y) ** 2) / 8
            gradients = tape.gradient(loss, model.trainable_variables)
            pairs = zip(gradients, model.trainable_variables, strict=True)
            model.optimizer.apply_gradients(pairs)  # the line of the reduction

        strategy.run(replica, (x, y))

    for x, y in strategy.experimental_distribute_dataset(batches):
        step(x, y)
    return model.weights


@training
def keras_fit(api, logdir):
    strategy = mirrored()
    model = network(strategy)
    callbacks = [api.KerasCallback(logdir, every=1)] if api is gs else []
    x, y = data()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=callbacks)
    return model.weights


def main(logdir):
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    weights = {
        name: [
            [
                variable.numpy().tobytes().hex()
                for variable in train(api, os.path.join(logdir, name))
            ]
            for api in (PLAIN, gs)
        ]
        for name, train in TRAININGS.items()
    }
    print(json.dumps(weights))


if __name__ == "__main__":
    main(sys.argv[1])
