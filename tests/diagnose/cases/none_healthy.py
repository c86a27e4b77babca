"""Healthy programs in which some gradients are None, as they must be: nothing above info.

Heads of other tasks, branches that a step does not take, networks of another player,
statistics, second derivatives of what is linear.
"""

# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases.none_program import Programs

CASES = Programs()

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(16, 4)).astype(np.float32)
Y = (X @ np.array([[0.5], [-1.0], [0.3], [0.8]], np.float32)).astype(np.float32)
CLASSES = RANDOM.integers(0, 3, 16).astype(np.int32)
IMAGES = RANDOM.random((4, 8, 8, 1)).astype(np.float32)
STEPS = 20


def mlp(outputs, name, activation=None, width=8, inputs=4):
    return keras.Sequential(
        [
            layers.Input((inputs,)),
            layers.Dense(width, activation="tanh", name="hidden"),
            layers.Dense(outputs, activation=activation, name="out"),
        ],
        name=name,
    )


@CASES("two tasks, one list of variables for both losses")
def one_list_for_two_tasks(callbacks):
    trunk, head_a, head_b = (
        mlp(8, "trunk"),
        layers.Dense(1, name="head_a"),
        layers.Dense(3, name="head_b"),
    )
    head_a.build((None, 8))
    head_b.build((None, 8))
    optimizer = keras.optimizers.Adam(1e-2)
    variables = trunk.trainable_variables + head_a.trainable_variables + head_b.trainable_variables
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(x, y, classes):
        with tf.GradientTape(persistent=True) as tape:
            features = trunk(x)
            loss_a = tf.reduce_mean((head_a(features) - y) ** 2)
            loss_b = cross_entropy(classes, head_b(features))
        total = []
        for a, b in zip(tape.gradient(loss_a, variables), tape.gradient(loss_b, variables)):
            total.append(b if a is None else a if b is None else a + b)
        optimizer.apply_gradients(zip(total, variables))

    for _ in range(STEPS):
        train_step(X, Y, CLASSES)


@CASES("ten losses, one list: every head is None under nine of them")
def ten_heads(callbacks):
    trunk = mlp(8, "trunk")
    heads = [layers.Dense(1, name=f"head_{i}") for i in range(10)]
    for head in heads:
        head.build((None, 8))
    variables = trunk.trainable_variables + [v for head in heads for v in head.trainable_variables]
    for _ in range(STEPS):
        with tf.GradientTape(persistent=True) as tape:
            features = trunk(X)
            losses = {
                f"task_{i}": tf.reduce_mean((head(features) - i / 10 * Y) ** 2)
                for i, head in enumerate(heads)
            }
        for name in losses:
            for gradient, variable in zip(tape.gradient(losses[name], variables), variables):
                if gradient is not None:
                    variable.assign_sub(0.01 * gradient)


@CASES("stochastic depth: a layer is left out of some steps")
def layers_dropped_at_random(callbacks):
    blocks = [layers.Dense(4, activation="tanh", name=f"block_{i}") for i in range(4)]
    head = layers.Dense(1, name="head")
    for layer in (*blocks, head):
        layer.build((None, 4))
    variables = [v for layer in (*blocks, head) for v in layer.trainable_variables]
    optimizer = keras.optimizers.SGD(0.05)
    optimizer.build(variables)
    random = np.random.default_rng(1)
    for _ in range(40):
        kept = [block for block in blocks if random.random() < 0.7]
        with tf.GradientTape() as tape:
            x = tf.constant(X)
            for block in kept:
                x = x + block(x)
            loss = tf.reduce_mean((head(x) - Y) ** 2)
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients((g, v) for g, v in zip(grads, variables) if g is not None)


@CASES("physics-informed: derivatives by nested tapes, losses of equation and boundary apart")
def physics_informed(callbacks):
    net = mlp(1, "net", inputs=1)
    optimizer = keras.optimizers.Adam(1e-3)
    points = np.linspace(0, 1, 16, dtype=np.float32)[:, None]

    @tf.function
    def train_step(x):
        with tf.GradientTape(persistent=True) as tape:
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    u = net(x)
                u_x = inner.gradient(u, x)
            u_xx = outer.gradient(u_x, x)
            equation = tf.reduce_mean((u_xx + 1.0) ** 2)  # the last bias has no part in it
            boundary = tf.reduce_mean(net(tf.constant([[0.0], [1.0]])) ** 2)
        total = []
        for a, b in zip(
            tape.gradient(equation, net.trainable_variables),
            tape.gradient(boundary, net.trainable_variables),
        ):
            total.append(b if a is None else a + b)
        optimizer.apply_gradients(zip(total, net.trainable_variables))

    for _ in range(STEPS):
        train_step(tf.constant(points))


@CASES("fine-tuning with a frozen base")
def frozen_base(callbacks):
    base = mlp(8, "base")
    base.trainable = False
    head = layers.Dense(1, name="head")
    model = keras.Sequential([layers.Input((4,)), base, layers.BatchNormalization(), head])
    optimizer = keras.optimizers.Adam(1e-2)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    for _ in range(STEPS):
        train_step(X, Y)


@CASES("a GAN as in the tutorial: two players, two lists")
def gan_of_the_tutorial(callbacks):
    generator, discriminator = mlp(4, "generator"), mlp(1, "discriminator")
    generator_optimizer, discriminator_optimizer = (
        keras.optimizers.Adam(1e-3),
        keras.optimizers.Adam(1e-3),
    )
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step(images):
        noise = tf.random.normal([16, 4])
        with tf.GradientTape() as gen_tape, tf.GradientTape() as disc_tape:
            generated = generator(noise, training=True)
            real_output = discriminator(images, training=True)
            fake_output = discriminator(generated, training=True)
            gen_loss = cross_entropy(tf.ones_like(fake_output), fake_output)
            disc_loss = cross_entropy(tf.ones_like(real_output), real_output) + cross_entropy(
                tf.zeros_like(fake_output), fake_output
            )
        gen_grads = gen_tape.gradient(gen_loss, generator.trainable_variables)
        disc_grads = disc_tape.gradient(disc_loss, discriminator.trainable_variables)
        generator_optimizer.apply_gradients(zip(gen_grads, generator.trainable_variables))
        discriminator_optimizer.apply_gradients(zip(disc_grads, discriminator.trainable_variables))

    for _ in range(STEPS):
        train_step(X)


@CASES("fit with metrics, batch normalization and a regularizer", by="fit")
def fit_with_metrics(callbacks):
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, CLASSES, batch_size=4, epochs=5, verbose=0, callbacks=callbacks)


@CASES("fit with two outputs, add_loss and a regularizer", by="fit")
def fit_with_two_outputs(callbacks):
    class Activity(layers.Layer):
        def call(self, x):
            self.add_loss(1e-3 * keras.ops.mean(x**2))
            return x

    inputs = keras.Input((4,))
    features = layers.Dense(8, activation="tanh", kernel_regularizer="l2", name="trunk")(inputs)
    features = Activity()(features)
    price = layers.Dense(1, name="price")(features)
    kind = layers.Dense(3, activation="softmax", name="kind")(features)
    model = keras.Model(inputs, {"price": price, "kind": kind})
    model.compile("adam", {"price": "mse", "kind": "sparse_categorical_crossentropy"})
    model.fit(
        X, {"price": Y, "kind": CLASSES}, batch_size=4, epochs=5, verbose=0, callbacks=callbacks
    )


@CASES("pretraining with an auxiliary head, then the main loss alone over the same list")
def auxiliary_head_for_a_while(callbacks):
    trunk, main, auxiliary = (
        mlp(8, "trunk"),
        layers.Dense(1, name="main"),
        layers.Dense(4, name="auxiliary"),
    )
    main.build((None, 8))
    auxiliary.build((None, 8))
    variables = trunk.trainable_variables + main.trainable_variables + auxiliary.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    def apply(grads):
        optimizer.apply_gradients((g, v) for g, v in zip(grads, variables) if g is not None)

    for _ in range(10):
        with tf.GradientTape() as tape:
            pretraining = tf.reduce_mean((auxiliary(trunk(X)) - X) ** 2)
        apply(tape.gradient(pretraining, variables))
    for _ in range(10):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((main(trunk(X)) - Y) ** 2)
        apply(tape.gradient(loss, variables))


@CASES("loss of the data and weight decay by hand, both over all variables")
def weight_decay_over_all(callbacks):
    model = mlp(1, "model")
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(STEPS):
        with gs.GradientTape(persistent=True) as tape:
            data = tf.reduce_mean((model(X) - Y) ** 2)
            decay = 1e-4 * tf.add_n(
                [tf.nn.l2_loss(v) for v in model.trainable_variables if "kernel" in v.name]
            )
        total = []
        for a, b in zip(
            tape.gradient(data, model.trainable_variables),
            tape.gradient(decay, model.trainable_variables),
        ):
            total.append(a if b is None else a + b)
        optimizer.apply_gradients(zip(total, model.trainable_variables))


@CASES("actor and critic on one trunk, advantage without gradient")
def actor_and_critic(callbacks):
    trunk, actor, critic = (
        mlp(8, "trunk"),
        layers.Dense(3, name="actor"),
        layers.Dense(1, name="critic"),
    )
    actor.build((None, 8))
    critic.build((None, 8))
    variables = trunk.trainable_variables + actor.trainable_variables + critic.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(states, returns):
        with tf.GradientTape(persistent=True) as tape:
            features = trunk(states)
            logits, values = actor(features), tf.squeeze(critic(features), 1)
            actions = tf.squeeze(tf.random.categorical(logits, 1), 1)
            log_probability = -tf.nn.sparse_softmax_cross_entropy_with_logits(actions, logits)
            advantage = tf.stop_gradient(returns - values)
            actor_loss = -tf.reduce_mean(log_probability * advantage)
            critic_loss = tf.reduce_mean((returns - values) ** 2)
        total = []
        for a, b in zip(
            tape.gradient(actor_loss, variables), tape.gradient(critic_loss, variables)
        ):
            total.append(b if a is None else a if b is None else a + 0.5 * b)
        optimizer.apply_gradients(zip(total, variables))

    for _ in range(STEPS):
        train_step(X, Y[:, 0])


@CASES("VQ-VAE with a straight-through estimator, three losses")
def vq_vae(callbacks):
    encoder, decoder = mlp(2, "encoder"), mlp(4, "decoder", inputs=2)
    codebook = tf.Variable(RANDOM.normal(size=(8, 2)).astype(np.float32), name="codebook")
    variables = [*encoder.trainable_variables, codebook, *decoder.trainable_variables]
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x):
        with tf.GradientTape(persistent=True) as tape:
            z = encoder(x)
            distances = tf.reduce_sum((z[:, None] - codebook) ** 2, axis=2)
            quantized = tf.gather(codebook, tf.argmin(distances, axis=1))
            commitment = 0.25 * tf.reduce_mean((tf.stop_gradient(quantized) - z) ** 2)
            codes = tf.reduce_mean((quantized - tf.stop_gradient(z)) ** 2)
            straight = z + tf.stop_gradient(quantized - z)
            reconstruction = tf.reduce_mean((decoder(straight) - x) ** 2)
        total = [None] * len(variables)
        for loss in (reconstruction, codes, commitment):
            for i, gradient in enumerate(tape.gradient(loss, variables)):
                if gradient is not None:
                    total[i] = gradient if total[i] is None else total[i] + gradient
        optimizer.apply_gradients(zip(total, variables))

    for _ in range(STEPS):
        train_step(X)


@CASES("VAE, reconstruction and divergence apart")
def vae_with_two_rows(callbacks):
    encoder, decoder = mlp(4, "encoder"), mlp(4, "decoder", inputs=2)
    variables = encoder.trainable_variables + decoder.trainable_variables
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            mean, log_variance = tf.split(encoder(x), 2, axis=1)
            z = mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))
            reconstruction = tf.reduce_mean((decoder(z) - x) ** 2)
            divergence = -0.5 * tf.reduce_mean(1 + log_variance - mean**2 - tf.exp(log_variance))
        grads = tape.gradient(
            {"reconstruction": reconstruction, "divergence": divergence}, variables
        )
        optimizer.apply_gradients(zip(grads, variables))

    for _ in range(STEPS):
        train_step(X)


@CASES("DQN: target network copied now and then, actions by argmax")
def deep_q_learning(callbacks):
    online, target = mlp(3, "online"), mlp(3, "target")
    optimizer = keras.optimizers.Adam(1e-3)
    random = np.random.default_rng(2)

    for step in range(STEPS):
        if step % 5 == 0:
            target.set_weights(online.get_weights())
        if random.random() < 0.5:
            actions = random.integers(0, 3, 16)
        else:
            actions = np.argmax(online(X).numpy(), axis=1)
        wanted = Y[:, 0] + 0.9 * tf.reduce_max(target(X), axis=1)
        with tf.GradientTape() as tape:
            chosen = tf.reduce_sum(online(X) * tf.one_hot(actions, 3), axis=1)
            loss = tf.reduce_mean((wanted - chosen) ** 2)
        grads = tape.gradient(loss, online.trainable_variables)
        optimizer.apply_gradients(zip(grads, online.trainable_variables))


@CASES("mixture of experts: Python routes each batch to one of them")
def experts_by_turns(callbacks):
    experts = [mlp(1, f"expert_{i}") for i in range(3)]
    variables = [v for expert in experts for v in expert.trainable_variables]
    optimizer = keras.optimizers.SGD(0.05)
    optimizer.build(variables)
    random = np.random.default_rng(3)
    for step in range(30):
        rows = random.integers(0, 16, 8)
        expert = experts[int(np.argmax(X[rows].mean(axis=0)[:3]))]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((expert(X[rows]) - Y[rows]) ** 2)
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients((g, v) for g, v in zip(grads, variables) if g is not None)


@CASES("MAML by functions: fast weights are tensors")
def maml_by_functions(callbacks):
    weights = [
        tf.Variable(RANDOM.normal(size=(4, 8)).astype(np.float32) * 0.3, name="w1"),
        tf.Variable(tf.zeros([8]), name="b1"),
        tf.Variable(RANDOM.normal(size=(8, 1)).astype(np.float32) * 0.3, name="w2"),
    ]
    optimizer = keras.optimizers.Adam(1e-3)

    def forward(x, w):
        return tf.tanh(x @ w[0] + w[1]) @ w[2]

    @tf.function
    def meta_step(x, y):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                support_loss = tf.reduce_mean((forward(x[:8], weights) - y[:8]) ** 2)
            grads = inner.gradient(support_loss, weights)
            fast = [w - 0.1 * g for w, g in zip(weights, grads)]
            query_loss = tf.reduce_mean((forward(x[8:], fast) - y[8:]) ** 2)
        optimizer.apply_gradients(zip(outer.gradient(query_loss, weights), weights))

    for _ in range(STEPS):
        meta_step(X, Y)


@CASES("WGAN-GP: gradients of interpolated images inside of a tape")
def wgan_with_penalty(callbacks):
    generator, critic = mlp(4, "generator"), mlp(1, "critic")
    critic_optimizer, generator_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(real):
        noise = tf.random.normal([16, 4])
        with tf.GradientTape() as tape:
            fake = generator(noise)
            mixed = real + tf.random.uniform([16, 1]) * (fake - real)
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                judged = critic(mixed)
            slope = inner.gradient(judged, mixed)
            norm = tf.sqrt(tf.reduce_sum(slope**2, axis=1) + 1e-12)
            critic_loss = (
                tf.reduce_mean(critic(fake))
                - tf.reduce_mean(critic(real))
                + 10.0 * tf.reduce_mean((norm - 1.0) ** 2)
            )
        grads = tape.gradient(critic_loss, critic.trainable_variables)
        # Its last bias cancels out: zero, not None.
        critic_optimizer.apply_gradients(zip(grads, critic.trainable_variables))
        with tf.GradientTape() as tape:
            generator_loss = -tf.reduce_mean(critic(generator(noise)))
        grads = tape.gradient(generator_loss, generator.trainable_variables)
        generator_optimizer.apply_gradients(zip(grads, generator.trainable_variables))

    for _ in range(STEPS):
        train_step(X)


@CASES("domain-adversarial: gradient reversal by a custom gradient")
def gradient_reversal(callbacks):
    features, labels, domains = (
        mlp(8, "features"),
        layers.Dense(1, name="labels"),
        layers.Dense(1, name="domains"),
    )
    labels.build((None, 8))
    domains.build((None, 8))
    variables = (
        features.trainable_variables + labels.trainable_variables + domains.trainable_variables
    )
    optimizer = keras.optimizers.Adam(1e-3)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.custom_gradient
    def reverse(x):
        return tf.identity(x), lambda dy: -0.1 * dy

    @tf.function
    def train_step(source, target, y):
        with tf.GradientTape() as tape:
            task = tf.reduce_mean((labels(features(source)) - y) ** 2)
            both = domains(reverse(features(tf.concat([source, target], 0))))
            where = tf.concat([tf.zeros([16, 1]), tf.ones([16, 1])], 0)
            loss = task + cross_entropy(where, both)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    for _ in range(STEPS):
        train_step(X, X + 0.5, Y)


@CASES("BYOL: a target that follows by moving average, only the online part is asked for")
def moving_average_target(callbacks):
    online, target = mlp(3, "online"), mlp(3, "target")
    optimizer = keras.optimizers.SGD(0.1)

    @tf.function
    def train_step(one, two):
        with tf.GradientTape() as tape:
            predicted = tf.math.l2_normalize(online(one), axis=1)
            wanted = tf.stop_gradient(tf.math.l2_normalize(target(two), axis=1))
            loss = 2.0 - 2.0 * tf.reduce_mean(tf.reduce_sum(predicted * wanted, axis=1))
        grads = tape.gradient(loss, online.trainable_variables)
        optimizer.apply_gradients(zip(grads, online.trainable_variables))
        for a, b in zip(target.trainable_variables, online.trainable_variables):
            a.assign(0.9 * a + 0.1 * b)

    for _ in range(STEPS):
        train_step(X, X + 0.1)


@CASES("gradual unfreezing: each stage asks for more")
def gradual_unfreezing(callbacks):
    lower, upper = mlp(8, "lower"), layers.Dense(1, name="upper")
    upper.build((None, 8))
    optimizer = keras.optimizers.SGD(0.05)
    for step in range(STEPS):
        variables = upper.trainable_variables
        if step >= 10:
            variables = lower.trainable_variables + variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((upper(lower(X)) - Y) ** 2)
        for gradient, variable in zip(tape.gradient(loss, variables), variables):
            variable.assign_sub(0.05 * gradient)


@CASES("a sensor is missing in some batches")
def missing_modality(callbacks):
    class Fusion(keras.Model):
        def __init__(self):
            super().__init__(name="fusion")
            self.camera = layers.Dense(4, name="camera")
            self.radar = layers.Dense(4, name="radar")
            self.head = layers.Dense(1, name="head")
            self.camera.build((None, 4))
            self.radar.build((None, 4))
            self.head.build((None, 4))

        def call(self, camera, radar=None):
            features = self.camera(camera)
            if radar is not None:
                features = features + self.radar(radar)
            return self.head(tf.tanh(features))

    model = Fusion()
    optimizer = keras.optimizers.SGD(0.05)
    optimizer.build(model.trainable_variables)
    for step in range(30):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X, X if step % 3 else None) - Y) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(
            (g, v) for g, v in zip(grads, model.trainable_variables) if g is not None
        )


@CASES("distillation: the teacher runs under the tape, the student is asked for")
def distillation(callbacks):
    teacher, student = mlp(3, "teacher"), mlp(3, "student")
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, classes):
        with tf.GradientTape() as tape:
            soft = tf.nn.softmax(teacher(x) / 2.0)
            logits = student(x)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
            ) + tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, logits / 2.0))
        grads = tape.gradient(loss, student.trainable_variables)
        optimizer.apply_gradients(zip(grads, student.trainable_variables))

    for _ in range(STEPS):
        train_step(X, CLASSES)


@CASES("the Hessian of a product: some of its entries are None")
def second_derivatives_by_hand(callbacks):
    x, y = tf.Variable(1.5, name="x"), tf.Variable(0.5, name="y")
    for _ in range(6):
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape() as inner:
                z = x**3 * y
            dz_dx, dz_dy = inner.gradient(z, [x, y])
        first = outer.gradient(dz_dx, [x, y])
        second = outer.gradient(dz_dy, [x, y])  # of y: None, since z is linear in y
        x.assign_sub(0.01 * dz_dx)
        y.assign_sub(0.01 * dz_dy)


@CASES("alternating tasks in one function, one list of variables")
def alternating_tasks(callbacks):
    shared, tasks = (
        mlp(8, "shared"),
        [layers.Dense(1, name="first"), layers.Dense(1, name="second")],
    )
    for task in tasks:
        task.build((None, 8))
    variables = shared.trainable_variables + [v for task in tasks for v in task.trainable_variables]
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    def train_step(which, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((tasks[which](shared(x)) - y) ** 2)
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients((g, v) for g, v in zip(grads, variables) if g is not None)

    step = tf.function(train_step)
    for i in range(STEPS):
        step(i % 2, X, Y if i % 2 else -Y)


@CASES("all weights of a model, statistics too, filtered by hand", by="tape")
def nones_filtered_by_hand(callbacks):
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        grads = tape.gradient(loss, model.variables)
        optimizer.apply_gradients((g, v) for g, v in zip(grads, model.variables) if g is not None)

    for _ in range(STEPS):
        train_step(X, Y)
