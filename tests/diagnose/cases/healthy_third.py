"""Healthy trainings as hard as they come, written after the rules were: a third set."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.faults_third import variable
from tests.diagnose.cases.training import Trainings, fit, keras_fit, mean_square

CASES = Trainings()


@CASES(steps=60, by="fit", every=1)
def residual_net_of_convolutions(steps, callback):
    inputs = layers.Input((8, 8, 1))
    x = layers.Conv2D(12, 3, padding="same")(inputs)  # its bias has no effect
    for _ in range(6):
        branch = layers.ReLU()(layers.BatchNormalization()(x))
        branch = layers.Conv2D(12, 3, padding="same")(branch)
        branch = layers.ReLU()(layers.BatchNormalization()(branch))
        x = layers.Add()([x, layers.Conv2D(12, 3, padding="same")(branch)])
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    model = keras.Model(inputs, layers.Dense(4)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    keras_fit(model, loss, optimizer, training.images(steps, batch=16), callback)


@CASES(steps=200, by="fit", every=10)
def transformer_with_warm_up(steps, callback):
    inputs = layers.Input((12,), dtype="int32")
    x = layers.Embedding(40, 16)(inputs)
    for _ in range(3):  # normalised after, as in the first transformers
        attended = layers.MultiHeadAttention(2, 8)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, attended]))
        hidden = layers.Dense(16)(layers.Dense(32, activation="relu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, hidden]))
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=2e-3, warmup_steps=40)
    data = ((x, x[:, 0] % 3) for x, _ in training.tokens(steps))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keras_fit(model, loss, keras.optimizers.AdamW(rate), data, callback)


@CASES(steps=500)
def images_of_a_gan_in_balance(steps):
    generator = keras.Sequential(
        [layers.Input((4,)), layers.Dense(32), layers.BatchNormalization(), layers.ReLU()]
        + [layers.Dense(16, activation="tanh")]
    )
    discriminator = keras.Sequential(
        [layers.Input((16,)), layers.Dense(32), layers.LeakyReLU(), layers.Dropout(0.3)]
        + [layers.Dense(1)]
    )
    of_g, of_d = (keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in "12")

    def cross(target, logits):
        labels = tf.fill(tf.shape(logits), target)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))

    @tf.function
    def train_step(real, noise):
        with gs.GradientTape(persistent=True) as tape:
            fake = generator(noise, training=True)
            said_real = discriminator(real, training=True)
            said_fake = discriminator(fake, training=True)
            g_loss = cross(1.0, said_fake)
            d_loss = cross(0.9, said_real) + cross(0.0, said_fake)
        of_g.apply(
            tape.gradient(g_loss, generator.trainable_variables), generator.trainable_variables
        )
        of_d.apply(
            tape.gradient(d_loss, discriminator.trainable_variables),
            discriminator.trainable_variables,
        )

    for x, _ in training.images(steps, side=4):
        train_step(tf.reshape(x, (32, 16)) - 0.5, tf.random.normal((32, 4)))


@CASES(steps=200)
def critic_of_five_steps_with_penalty(steps):
    generator = keras.Sequential([layers.Input((4,)), layers.Dense(24, "relu"), layers.Dense(2)])
    critic = keras.Sequential([layers.Input((2,)), layers.Dense(24, "softplus"), layers.Dense(1)])
    of_g, of_c = (keras.optimizers.Adam(1e-3, beta_1=0.0, beta_2=0.9) for _ in "12")

    @tf.function
    def critic_step(real, noise):
        with gs.GradientTape(persistent=True) as tape:
            fake = generator(noise)
            mixed = real + tf.random.uniform((32, 1)) * (fake - real)
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                said = critic(mixed)
            slope = tf.sqrt(tf.reduce_sum(inner.gradient(said, mixed) ** 2, 1) + 1e-12)
            penalty = 10.0 * tf.reduce_mean((slope - 1) ** 2)
            distance = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
        variables = critic.trainable_variables
        gradients = tape.gradient({"distance": distance, "penalty": penalty}, variables)
        of_c.apply(gradients, variables)

    @tf.function
    def generator_step(noise):
        with gs.GradientTape() as tape:
            g_loss = -tf.reduce_mean(critic(generator(noise)))
        of_g.apply(
            tape.gradient(g_loss, generator.trainable_variables), generator.trainable_variables
        )

    random = np.random.default_rng(0)
    for step in range(steps):
        critic_step(
            tf.constant(random.normal(2, 0.5, (32, 2)), tf.float32), tf.random.normal((32, 4))
        )
        if step % 5 == 4:
            generator_step(tf.random.normal((32, 4)))


@CASES(steps=300)
def divergence_annealed_from_zero(steps):
    encoder = keras.Sequential(
        [layers.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(8)]
    )
    decoder = keras.Sequential(
        [layers.Input((4,)), layers.Dense(32, activation="relu"), layers.Dense(64)]
    )
    variables = encoder.trainable_variables + decoder.trainable_variables
    optimizer = keras.optimizers.Adam(2e-3)

    @tf.function
    def train_step(x, weight, noise):
        with gs.GradientTape() as tape:
            mean, log_variance = tf.split(encoder(x), 2, axis=1)
            z = mean + tf.exp(0.5 * log_variance) * noise
            recon = tf.reduce_mean(tf.reduce_sum((decoder(z) - x) ** 2, 1))
            each = 1 + log_variance - mean**2 - tf.exp(log_variance)
            kl = -0.5 * weight * tf.reduce_mean(tf.reduce_sum(each, 1))
        optimizer.apply(tape.gradient({"recon": recon, "kl": kl}, variables), variables)

    for step, (x, _) in enumerate(training.images(steps)):
        weight = min(1.0, max(0, step - 20) / 100)
        train_step(tf.reshape(x, (32, 64)), tf.constant(weight), tf.random.normal((32, 4)))


@CASES(steps=150)
def rewards_that_come_late(steps):
    policy = keras.Sequential([layers.Input((6,)), layers.Dense(16, "tanh"), layers.Dense(3)])

    def loss_of(y, logits):
        log = tf.nn.log_softmax(logits)
        return -tf.reduce_mean(tf.gather(log, tf.cast(y[:, 0], tf.int32), batch_dims=1) * y[:, 1])

    random = np.random.default_rng(0)

    def batches():
        for step in range(steps):
            rewards = (random.uniform(size=8) < 0.05) * (step > 6)
            y = np.stack([random.integers(0, 3, 8), rewards], 1)
            yield tf.random.normal((8, 6)), tf.constant(y, tf.float32)

    fit(policy, loss_of, keras.optimizers.Adam(1e-3), batches())


@CASES(steps=150)
def fine_tuning_at_a_low_rate(steps):
    base = keras.Sequential(
        [layers.Input((10,))] + [layers.Dense(32, activation="relu") for _ in range(3)]
    )
    base.layers[0].trainable = False
    head = keras.Sequential([layers.Input((32,)), layers.Dense(1, kernel_initializer="zeros")])
    of_base = gs.watch_optimizer(keras.optimizers.Adam(1e-6), name="of_base")
    of_head = gs.watch_optimizer(keras.optimizers.Adam(1e-3), name="of_head")

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, head(base(x)))
        split = len(base.trainable_variables)
        gradients = tape.gradient(loss, base.trainable_variables + head.trainable_variables)
        of_base.apply(gradients[:split], base.trainable_variables)
        of_head.apply(gradients[split:], head.trainable_variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(steps=300, every=10)
def embeddings_with_rare_words(steps):
    table, rare = variable("embeddings", 2000, 8), variable("rare", 200, 8, seed=1)
    head = variable("head", 8, 1, seed=2)
    variables, optimizer = [table, rare, head], keras.optimizers.Adagrad(0.05)

    @tf.function
    def train_step(ids, rare_ids, y):
        with gs.GradientTape() as tape:
            bag = tf.reduce_mean(tf.gather(table, ids), 1)
            some = tf.cast(rare_ids > 0, tf.float32)[:, None] * tf.gather(rare, rare_ids)
            logits = ((bag + some) @ head)[:, 0]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
        optimizer.apply(tape.gradient(loss, variables), variables)

    random = np.random.default_rng(2)
    for _ in range(steps):
        ids = (random.pareto(1.1, (32, 6)) * 10).astype(np.int64) % 2000
        rare_ids = random.integers(1, 200, 32) * (random.uniform(size=32) < 0.01)
        train_step(tf.constant(ids), tf.constant(rare_ids), tf.constant(ids[:, 0] % 2, tf.float32))


@CASES(steps=150)
def eight_experts_of_which_one_is_chosen(steps):
    experts = [variable(f"expert{i}", 10, 4, seed=i) for i in range(8)]
    router, head = variable("router", 10, 8, seed=9), variable("head", 4, 1, seed=10)
    variables, optimizer = [*experts, router, head], keras.optimizers.Adam(3e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            p = tf.nn.softmax(x @ router)
            chosen = tf.one_hot(tf.argmax(p, 1), 8) * p
            hidden = tf.stack([tf.nn.relu(x @ expert) for expert in experts], 1)
            loss = mean_square(y, tf.reduce_sum(chosen[..., None] * hidden, 1) @ head)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, y in training.rows(steps, batch=4):
        train_step(x, y)


@CASES(steps=150)
def layers_dropped_at_random(steps):
    first, head = variable("first", 10, 16), variable("head", 16, 1, seed=1)
    blocks = [variable(f"block{i}", 16, 16, seed=i + 2) for i in range(6)]
    variables, optimizer = [first, *blocks, head], keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y, keep):
        with gs.GradientTape() as tape:
            z = x @ first
            for i, block in enumerate(blocks):
                z += tf.cond(keep[i], lambda z=z, b=block: tf.nn.relu(z @ b), lambda z=z: 0.0 * z)
            loss = mean_square(y, z @ head)
        optimizer.apply(tape.gradient(loss, variables), variables)

    random = np.random.default_rng(0)
    for x, y in training.rows(steps):
        train_step(x, y, tf.constant(random.uniform(size=6) < 0.5))


@CASES(steps=500, by="fit", every=10)
def rate_that_decays_to_zero(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(24, activation="relu"), layers.Dense(1)]
    )
    rate = keras.optimizers.schedules.PolynomialDecay(1e-2, steps // 2, end_learning_rate=0.0)
    keras_fit(model, "mse", keras.optimizers.Adam(rate), training.rows(steps), callback)


@CASES(steps=120)
def gradients_summed_by_hand(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.RMSprop(1e-3)
    variables = model.trainable_variables
    sums = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
    for step, (x, y) in enumerate(training.rows(steps, batch=2)):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x)) / 4
        for total, gradient in zip(sums, tape.gradient(loss, variables), strict=True):
            total.assign_add(gradient)
        if step % 4 == 3:
            clipped, _ = gs.clip_by_global_norm([tf.identity(s) for s in sums], 2.0)
            optimizer.apply(clipped, variables)
            for total in sums:
                total.assign(tf.zeros_like(total))


@CASES(steps=200, by="fit", every=1)
def loss_scale_that_overflows_often(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu", dtype="mixed_float16")]
        + [layers.Dense(1, dtype="float32")]
    )
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(1e-3), initial_scale=2.0**20, dynamic_growth_steps=8
    )
    keras_fit(model, "mse", optimizer, training.rows(steps), callback)


@CASES(steps=150)
def ranking_by_differences(steps):
    score = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )  # whose last bias cancels out

    def pairs(y, scores):
        better = tf.cast(y > tf.transpose(y), tf.float32)
        difference = scores - tf.transpose(scores)
        return tf.reduce_sum(better * tf.nn.softplus(-difference)) / tf.reduce_sum(better)

    fit(score, pairs, keras.optimizers.Adam(1e-3), training.rows(steps))


@CASES(steps=200)
def attention_by_hand(steps):
    names = ("wq", "wk", "wv", "bq", "bk", "bv", "wo")  # bk has no effect: softmax shifts it away
    variables = [
        variable(name, *((8, 8) if name[0] == "w" else (8,)), seed=i)
        for i, name in enumerate(names)
    ]
    wq, wk, wv, bq, bk, bv, wo = variables
    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            scores = tf.matmul(x @ wq + bq, x @ wk + bk, transpose_b=True)
            mixed = tf.matmul(tf.nn.softmax(scores), x @ wv + bv)
            loss = tf.reduce_mean((mixed @ wo - tf.roll(x, 1, 1)) ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for _ in range(steps):
        train_step(tf.random.normal((16, 5, 8)))


@CASES(steps=200)
def recurrent_net_that_is_clipped_now_and_then(steps):
    model = keras.Sequential(
        [layers.Input((40, 3)), layers.LSTM(24, return_sequences=True), layers.GRU(16)]
        + [layers.Dense(1)]
    )
    random = np.random.default_rng(0)
    x = random.normal(size=(steps, 16, 40, 3)).astype(np.float32)
    data = ((row, row[:, :, 0].sum(1, keepdims=True) / 3) for row in x)
    fit(model, mean_square, keras.optimizers.Adam(3e-3), data, clip=6.0)


@CASES(steps=300)
def clip_that_seldom_engages(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    data = (
        (x, y * (20.0 if step in (90, 210) else 1.0))
        for step, (x, y) in enumerate(training.rows(steps))
    )
    fit(model, mean_square, keras.optimizers.Adam(1e-3), data, clip=30.0)
