"""Healthy trainings that the rules were not tuned on: nothing above info may be found."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.training import Trainings, cross_entropy, fit, mean_square

CASES = Trainings()


@CASES()
def momentum_at_a_lively_rate(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(32, activation="relu")]
        + [layers.Dense(4)]
    )
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    fit(model, cross_entropy, optimizer, training.images(steps, batch=8))


@CASES()
def bag_of_sparse_embeddings(steps):
    table = tf.Variable(
        np.random.default_rng(0).normal(size=(5000, 8)) / 10, name="embeddings", dtype="float32"
    )
    head = tf.Variable(
        np.random.default_rng(1).normal(size=(8, 1)) / 3, name="head", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-2)
    random = np.random.default_rng(2)

    @tf.function
    def train_step(ids, y):
        with gs.GradientTape() as tape:
            bag = tf.reduce_mean(tf.gather(table, ids), axis=1)
            logits = (bag @ head)[:, 0]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
        gradients = tape.gradient(loss, [table, head])
        optimizer.apply(gradients, [table, head])

    for _ in range(steps):
        ids = (random.pareto(1.2, (32, 6)) * 20).astype(np.int64) % 5000
        train_step(tf.constant(ids), tf.constant((ids[:, 0] % 2).astype(np.float32)))


@CASES()
def wasserstein_critic_with_penalty(steps):
    random = tf.random.Generator.from_seed(3)
    generator = keras.Sequential(
        [layers.Input((4,)), layers.Dense(24, activation="relu"), layers.Dense(2)]
    )
    critic = keras.Sequential(
        [layers.Input((2,)), layers.Dense(24, activation="tanh"), layers.Dense(1)]
    )
    of_generator, of_critic = (keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in "12")

    @tf.function
    def train_step(real):
        with gs.GradientTape() as tape:
            fake = generator(random.normal((32, 4)))
            mixed = real + random.uniform((32, 1)) * (fake - real)
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                said = critic(mixed)
            slope = tf.norm(inner.gradient(said, mixed), axis=1)
            critic_loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
            critic_loss += 10.0 * tf.reduce_mean((slope - 1) ** 2)
        of_critic.apply(
            tape.gradient(critic_loss, critic.trainable_variables), critic.trainable_variables
        )
        with gs.GradientTape() as tape:
            generator_loss = -tf.reduce_mean(critic(generator(random.normal((32, 4)))))
        of_generator.apply(
            tape.gradient(generator_loss, generator.trainable_variables),
            generator.trainable_variables,
        )

    data = np.random.default_rng(0)
    for _ in range(steps):
        train_step(tf.constant(data.normal(2, 0.5, (32, 2)), tf.float32))


@CASES()
def physics_informed_net(steps):
    model = keras.Sequential(
        [layers.Input((1,))]
        + [layers.Dense(20, activation="tanh") for _ in range(3)]
        + [layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(2e-3)
    variables = model.trainable_variables
    edge = tf.constant([[0.0], [np.pi]], tf.float32)

    @tf.function
    def train_step(t):
        with gs.GradientTape(persistent=True) as tape:
            with tf.GradientTape() as second:
                second.watch(t)
                with tf.GradientTape() as first:
                    first.watch(t)
                    u = model(t)
                slope = first.gradient(u, t)
            curvature = second.gradient(slope, t)
            residual = tf.reduce_mean((curvature + tf.sin(t)) ** 2)
            boundary = tf.reduce_mean(model(edge) ** 2)
            total = residual + 10 * boundary
        tape.gradient(residual, variables)
        tape.gradient(boundary, variables)
        optimizer.apply(tape.gradient(total, variables), variables)

    random = np.random.default_rng(0)
    for _ in range(steps):
        train_step(tf.constant(random.uniform(0, np.pi, (64, 1)), tf.float32))


@CASES()
def q_learning_with_a_target_net(steps):
    def net():
        return keras.Sequential(
            [layers.Input((6,)), layers.Dense(24, activation="relu"), layers.Dense(3)]
        )

    online, target = net(), net()
    optimizer = keras.optimizers.Adam(1e-3)
    random = np.random.default_rng(0)

    @tf.function
    def train_step(x, action, reward, after):
        with gs.GradientTape() as tape:
            best = tf.reduce_max(target(after), axis=1)
            chosen = tf.gather(online(x), action, batch_dims=1)
            loss = tf.reduce_mean(
                keras.losses.huber(
                    (reward + 0.9 * tf.stop_gradient(best))[:, None], chosen[:, None]
                )
            )
        gradients = tape.gradient(loss, online.trainable_variables)
        optimizer.apply(gradients, online.trainable_variables)

    for step in range(steps):
        x = random.normal(size=(32, 6)).astype(np.float32)
        action = random.integers(0, 3, 32)
        reward = (random.uniform(size=32) < 0.05) * 10.0
        after = random.normal(size=(32, 6)).astype(np.float32)
        train_step(*map(tf.constant, (x, action, reward.astype(np.float32), after)))
        if step % 40 == 0:
            target.set_weights(online.get_weights())


@CASES()
def head_on_a_frozen_base(steps):
    base = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(32)]
    )
    base.trainable = False
    model = keras.Sequential([base, layers.Dense(1)])
    fit(model, mean_square, keras.optimizers.Adam(1e-2), training.rows(steps))


@CASES()
def triplets_of_which_many_are_satisfied(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16, activation="relu")]
        + [layers.Dense(8), layers.UnitNormalization()]
    )

    def triplet(y, x):
        same = tf.cast(y[:, None] == y[None], tf.float32)
        distance = tf.reduce_sum((x[:, None] - x[None]) ** 2, -1)
        far = tf.reduce_max(distance * same, 1)
        near = tf.reduce_min(distance + 10 * same, 1)
        return tf.reduce_mean(tf.nn.relu(far - near + 0.2))

    data = training.images(steps)
    fit(model, triplet, keras.optimizers.Adam(1e-3), data)


@CASES()
def labels_that_some_batches_lack(steps):
    trunk = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 16)) / 3, name="trunk", dtype="float32"
    )
    head = tf.Variable(
        np.random.default_rng(1).normal(size=(16, 1)) / 4, name="head", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-2)
    random = np.random.default_rng(2)

    @tf.function
    def train_step(x, y, there):
        with gs.GradientTape() as tape:
            error = tf.nn.relu(x @ trunk) @ head - y
            loss = tf.reduce_sum(there * error**2) / tf.maximum(tf.reduce_sum(there), 1.0)
        optimizer.apply(tape.gradient(loss, [trunk, head]), [trunk, head])

    for x, y in training.rows(steps):
        share = random.choice([0.0, 0.1, 0.9], p=[0.2, 0.2, 0.6])
        train_step(x, y, (random.uniform(size=(32, 1)) < share).astype(np.float32))


@CASES()
def autoencoder_with_a_narrow_middle(steps):
    model = keras.Sequential([layers.Input((64,))])
    for width in (32, 16, 4, 16, 32):
        model.add(layers.Dense(width, activation="elu"))
    model.add(layers.Dense(64))
    data = ((flat, flat) for x, _ in training.images(steps) for flat in [tf.reshape(x, (32, 64))])
    fit(model, mean_square, keras.optimizers.Adam(2e-3), data)


@CASES()
def half_precision_with_a_loss_scale(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu", dtype="mixed_float16")]
        + [layers.Dense(1, dtype="float32")]
    )
    optimizer = gs.watch_optimizer(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(2e-3), initial_scale=2.0**24)
    )

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES()
def gradients_gathered_over_micro_batches(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(24, activation="relu"), layers.Dense(1)]
    )
    optimizer = gs.watch_optimizer(
        keras.optimizers.Adam(3e-3, gradient_accumulation_steps=4, global_clipnorm=1.0)
    )
    fit(model, mean_square, optimizer, training.rows(steps, batch=8))


@CASES()
def penalty_on_the_weights_as_a_loss_of_its_own(steps):
    kernel = tf.Variable(
        np.random.default_rng(0).normal(size=(10, 16)) / 3, name="kernel", dtype="float32"
    )
    head = tf.Variable(
        np.random.default_rng(1).normal(size=(16, 1)) / 4, name="head", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape(persistent=True) as tape:
            data = mean_square(y, tf.nn.relu(x @ kernel) @ head)
            penalty = 1e-3 * (tf.nn.l2_loss(kernel) + tf.nn.l2_loss(head))
            total = data + penalty
        tape.gradient(data, [kernel, head])
        tape.gradient(penalty, [kernel, head])
        optimizer.apply(tape.gradient(total, [kernel, head]), [kernel, head])

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES()
def experts_of_which_each_batch_takes_two(steps):
    experts = [
        tf.Variable(
            np.random.default_rng(i).normal(size=(10, 1)) / 3, name=f"expert{i}", dtype="float32"
        )
        for i in range(4)
    ]
    router = tf.Variable(
        np.random.default_rng(9).normal(size=(10, 4)) / 3, name="router", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-2)
    variables = [*experts, router]

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            weights, chosen = tf.math.top_k(tf.nn.softmax(x @ router), 2)
            mask = tf.reduce_sum(weights[..., None] * tf.one_hot(chosen, 4), 1)
            predicted = tf.concat([x @ expert for expert in experts], 1)
            loss = mean_square(y, tf.reduce_sum(mask * predicted, 1, keepdims=True))
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES()
def contrastive_pairs(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, strides=2, activation="relu")]
        + [layers.Flatten(), layers.Dense(16), layers.UnitNormalization()]
    )

    def contrast(y, z):
        logits = tf.matmul(z, z, transpose_b=True) / 0.1 - 1e9 * tf.eye(32)
        same = tf.cast(y[:, None] == y[None], tf.float32) - tf.eye(32)
        log = tf.nn.log_softmax(logits)
        alike = tf.maximum(tf.reduce_sum(same, 1), 1.0)  # some are alone in their batch
        return -tf.reduce_mean(tf.reduce_sum(same * log, 1) / alike)

    fit(model, contrast, keras.optimizers.Adam(2e-3), training.images(steps))


@CASES()
def u_net_with_skips(steps):
    inputs = layers.Input((8, 8, 1))
    a = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    b = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(a))
    c = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(b))
    b = layers.Concatenate()([b, layers.UpSampling2D()(c)])
    b = layers.Conv2D(8, 3, padding="same", activation="relu")(b)
    a = layers.Concatenate()([a, layers.UpSampling2D()(b)])
    model = keras.Model(inputs, layers.Conv2D(1, 1)(a))
    data = ((x, tf.cast(x > 0.5, tf.float32)) for x, _ in training.images(steps))
    fit(model, mean_square, keras.optimizers.Adam(3e-3), data)
