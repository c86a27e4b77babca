"""Healthy trainings, lively ones too, of which nothing above info may be found: tuned on these."""

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
def linear_regression(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1)])
    fit(model, mean_square, keras.optimizers.SGD(0.05), training.rows(steps))


@CASES()
def classifier_of_relus(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten()]
        + [layers.Dense(32, activation="relu") for _ in range(3)]
        + [layers.Dense(4)]
    )
    fit(model, cross_entropy, keras.optimizers.Adam(3e-3), training.images(steps))


@CASES()
def convolutions_with_batch_normalization(steps):
    model = keras.Sequential([layers.Input((8, 8, 1))])
    for filters in (8, 16, 16):
        model.add(layers.Conv2D(filters, 3, padding="same"))  # its bias has no effect
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(4))
    fit(model, cross_entropy, keras.optimizers.Adam(3e-3), training.images(steps))


@CASES()
def residual_net_of_thirty_layers(steps):
    inputs = layers.Input((10,))
    x = layers.Dense(24)(inputs)
    for _ in range(28):
        x = layers.Add()([x, layers.Dense(24)(layers.ReLU()(layers.LayerNormalization()(x)))])
    model = keras.Model(inputs, layers.Dense(1)(x))
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES()
def language_model_of_transformer_blocks(steps):
    inputs = layers.Input((12,), dtype="int32")
    x = layers.Embedding(40, 24)(inputs)
    for _ in range(3):
        normal = layers.LayerNormalization()(x)
        attended = layers.MultiHeadAttention(2, 12)(normal, normal, use_causal_mask=True)
        x = layers.Add()([x, attended])
        hidden = layers.Dense(48, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(24)(hidden)])
    model = keras.Model(inputs, layers.Dense(40)(layers.LayerNormalization()(x)))
    rate = keras.optimizers.schedules.CosineDecay(0.0, 1000, warmup_target=3e-3, warmup_steps=20)
    fit(model, cross_entropy, keras.optimizers.AdamW(rate), training.tokens(steps), clip=1.0)


@CASES()
def recurrent_net_with_clipping(steps):
    model = keras.Sequential(
        [layers.Input((12,), dtype="int32"), layers.Embedding(40, 16)]
        + [layers.LSTM(24, return_sequences=True), layers.GRU(24, return_sequences=True)]
        + [layers.Dense(40)]
    )
    optimizer = keras.optimizers.Adam(5e-3)
    fit(model, cross_entropy, optimizer, training.tokens(steps), clip=1.0)


@CASES()
def generator_and_discriminator(steps):
    random = tf.random.Generator.from_seed(1)
    generator = keras.Sequential(
        [layers.Input((4,)), layers.Dense(24, activation="relu"), layers.Dense(2)]
    )
    discriminator = keras.Sequential(
        [layers.Input((2,)), layers.Dense(24), layers.LeakyReLU(), layers.Dense(1)]
    )
    for_generator, for_discriminator = (keras.optimizers.Adam(1e-3, beta_1=0.5) for _ in "12")

    def cross(is_real, logits):
        labels = tf.fill(tf.shape(logits), float(is_real))
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))

    @tf.function
    def train_step(real):
        noise = random.normal((32, 4))
        with gs.GradientTape(persistent=True) as tape:
            fake = generator(noise)
            said_real, said_fake = discriminator(real), discriminator(fake)
            g_loss = cross(1, said_fake)
            d_loss = cross(1, said_real) + cross(0, said_fake)
        g_gradients = tape.gradient(g_loss, generator.trainable_variables)
        d_gradients = tape.gradient(d_loss, discriminator.trainable_variables)
        for_generator.apply(g_gradients, generator.trainable_variables)
        for_discriminator.apply(d_gradients, discriminator.trainable_variables)

    data = np.random.default_rng(0)
    for _ in range(steps):
        angle = data.uniform(0, 2 * np.pi, 32)
        train_step(tf.constant(np.stack([np.cos(angle), np.sin(angle)], 1), tf.float32))


@CASES()
def variational_autoencoder(steps):
    random = tf.random.Generator.from_seed(1)
    encoder = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(32, activation="relu")]
        + [layers.Dense(8)]
    )
    decoder = keras.Sequential(
        [layers.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(64)]
    )
    optimizer = keras.optimizers.Adam(2e-3)
    variables = encoder.trainable_variables + decoder.trainable_variables

    @tf.function
    def train_step(x):
        with gs.GradientTape(persistent=True) as tape:
            mean, log_variance = tf.split(encoder(x), 2, axis=1)
            z = mean + tf.exp(0.5 * log_variance) * random.normal((32, 4))
            flat = tf.reshape(x, (32, 64))
            recon = tf.reduce_mean(tf.reduce_sum((decoder(z) - flat) ** 2, 1))
            kl = -0.5 * tf.reduce_mean(
                tf.reduce_sum(1 + log_variance - mean**2 - tf.exp(log_variance), 1)
            )
            loss = recon + kl
        tape.gradient(recon, variables)
        tape.gradient(kl, encoder.trainable_variables)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, _ in training.images(steps):
        train_step(x)


@CASES()
def two_tasks_on_a_shared_trunk(steps):
    trunk = keras.Sequential([layers.Input((10,)), layers.Dense(24, activation="relu")])
    heads = [keras.Sequential([layers.Input((24,)), layers.Dense(1)]) for _ in "12"]
    optimizer = keras.optimizers.Adam(3e-3)
    variables = trunk.trainable_variables + [v for h in heads for v in h.trainable_variables]

    @tf.function
    def train_step(x, y):
        with gs.GradientTape(persistent=True) as tape:
            shared = trunk(x)
            first = mean_square(y, heads[0](shared))
            second = mean_square(tf.abs(y), heads[1](shared))
        of_first = tape.gradient(first, variables)
        of_second = tape.gradient(second, variables)
        total = [
            b if a is None else a if b is None else a + b
            for a, b in zip(of_first, of_second, strict=True)
        ]
        optimizer.apply(total, variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES()
def policy_gradient_with_noisy_returns(steps):
    policy = keras.Sequential(
        [layers.Input((6,)), layers.Dense(24, activation="tanh"), layers.Dense(3)]
    )
    critic = keras.Sequential(
        [layers.Input((6,)), layers.Dense(24, activation="tanh"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(3e-3)
    random = np.random.default_rng(0)
    variables = policy.trainable_variables + critic.trainable_variables

    @tf.function
    def train_step(x, action, returns):
        with gs.GradientTape() as tape:
            value = critic(x)[:, 0]
            advantage = tf.stop_gradient(returns - value)
            log = tf.nn.log_softmax(policy(x))
            chosen = tf.gather(log, action, batch_dims=1)
            entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log) * log, 1))
            loss = tf.reduce_mean(-chosen * advantage + 0.5 * (returns - value) ** 2)
            loss -= 0.01 * entropy
        gradients, _ = gs.clip_by_global_norm(tape.gradient(loss, variables), 0.5)
        optimizer.apply(gradients, variables)

    for _ in range(steps):
        x = random.normal(size=(32, 6)).astype(np.float32)
        action = random.integers(0, 3, 32)
        returns = x[:, 0] * (action == 1) + random.standard_t(2.5, 32)
        train_step(tf.constant(x), tf.constant(action), tf.constant(returns, tf.float32))


@CASES()
def branches_that_start_at_zero(steps):
    inputs = layers.Input((10,))
    x = layers.Dense(24)(inputs)
    for _ in range(4):
        branch = layers.Dense(24, activation="relu")(x)
        branch = layers.Dense(24, kernel_initializer="zeros")(branch)
        x = layers.Add()([x, branch])
    model = keras.Model(inputs, layers.Dense(1)(x))
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES()
def low_rank_adapters_on_a_frozen_layer(steps):
    frozen = tf.constant(np.random.default_rng(0).normal(size=(10, 24)) / 3, tf.float32)
    down = tf.Variable(
        np.random.default_rng(1).normal(size=(10, 2)) / 3, name="down", dtype="float32"
    )
    up = tf.Variable(tf.zeros((2, 24)), name="up")
    head = tf.Variable(
        np.random.default_rng(2).normal(size=(24, 1)) / 5, name="head", dtype="float32"
    )
    optimizer = keras.optimizers.Adam(1e-2)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, tf.nn.relu(x @ frozen + (x @ down) @ up) @ head)
        gradients = tape.gradient(loss, [down, up, head])
        optimizer.apply(gradients, [down, up, head])

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES()
def stack_of_tanh_well_initialised(steps):
    model = keras.Sequential(
        [layers.Input((10,))]
        + [layers.Dense(24, activation="tanh") for _ in range(8)]
        + [layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES()
def overfitting_to_nothing(steps):
    x, y = next(training.rows(1, batch=4))
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(64, activation="relu"), layers.Dense(1)]
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-2), iter([(x, y)] * 3 * steps))


@CASES()
def targets_of_large_scale(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(1)]
    )
    data = ((x, 50 * y + 200) for x, y in training.rows(steps))
    fit(model, mean_square, keras.optimizers.Adam(0.05), data)


@CASES()
def sum_of_squares_over_the_batch(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(1)]
    )

    def summed(y, predicted):
        return tf.reduce_sum((predicted - y) ** 2)

    fit(model, summed, keras.optimizers.Adam(1e-3), training.rows(steps, batch=128))
