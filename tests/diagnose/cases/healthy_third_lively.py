"""Healthy trainings that converge, jump or restart: the second part of the third set."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases import training
from tests.diagnose.cases.faults_third import variable
from tests.diagnose.cases.training import Trainings, cross_entropy, fit, keras_fit, mean_square

CASES = Trainings()


def descend(loss_of, variables, rate, steps):
    """Plain gradient descent on all the data at once."""

    @tf.function
    def train_step():
        with gs.GradientTape() as tape:
            loss = loss_of()
        for one, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            one.assign_sub(rate * gradient)

    for _ in range(steps):
        train_step()


@CASES(steps=500)
def least_squares_that_has_converged(steps):
    x, _ = next(training.rows(1, batch=64))
    noise = tf.random.normal((64, 1))  # nothing to learn: the loss hardly falls
    kernel, bias = variable("kernel", 10, 1, scale=0.01), tf.Variable([0.0], name="bias")
    descend(lambda: mean_square(noise, x @ kernel + bias), [kernel, bias], 0.1, steps)


@CASES(steps=500)
def logistic_regression_on_few_rows(steps):
    x, y = next(training.rows(1, batch=12))
    kernel, bias = variable("kernel", 10, 1), tf.Variable([0.0], name="bias")

    def loss_of():
        labels = tf.cast(y > 0, tf.float32)
        logits = x @ kernel + bias
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))

    descend(loss_of, [kernel, bias], 5.0, steps)


@CASES(steps=200)
def hinge_that_is_satisfied(steps):
    model = keras.Sequential([layers.Input((10,)), layers.Dense(1)])
    x, y = next(training.rows(1, batch=16))
    sign = tf.sign(y)

    def hinge(y, scores):
        return tf.reduce_mean(tf.nn.relu(1 - y * scores))

    fit(model, hinge, keras.optimizers.SGD(0.3), iter([(x, sign)] * steps))


@CASES(steps=500, by="fit", every=10)
def memorised_to_the_last_bit(steps, callback):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(64, activation="relu"), layers.Dense(1)]
    )
    rows = next(training.rows(1, batch=8))
    keras_fit(model, "mse", keras.optimizers.Adam(5e-3), iter([rows] * steps), callback)


@CASES(steps=200)
def siamese_pairs_with_a_margin(steps):
    tower = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, 2, activation="relu"), layers.Flatten()]
        + [layers.Dense(8)]
    )

    def contrastive(y, z):
        other, same = tf.roll(z, 1, 0), tf.cast(tf.equal(y, tf.roll(y, 1, 0)), tf.float32)
        distance = tf.sqrt(tf.reduce_sum((z - other) ** 2, 1) + 1e-9)
        return tf.reduce_mean(same * distance**2 + (1 - same) * tf.nn.relu(1 - distance) ** 2)

    fit(tower, contrastive, keras.optimizers.Adam(2e-3), training.images(steps, batch=8))


@CASES(steps=200)
def wave_equation_in_balance(steps):
    model = keras.Sequential(
        [layers.Input((2,))] + [layers.Dense(20, "tanh") for _ in range(4)] + [layers.Dense(1)]
    )
    variables, optimizer = model.trainable_variables, keras.optimizers.Adam(2e-3)

    @tf.function
    def train_step(points, start):
        with gs.GradientTape() as tape:
            with tf.GradientTape() as second:
                second.watch(points)
                with tf.GradientTape() as first:
                    first.watch(points)
                    u = model(points)
                slope = first.gradient(u, points)
            curvature = second.batch_jacobian(slope, points)
            residual = tf.reduce_mean((curvature[:, 1, 1] - curvature[:, 0, 0]) ** 2)
            initial = tf.reduce_mean((model(start) - tf.sin(np.pi * start[:, :1])) ** 2)
        gradients = tape.gradient({"residual": residual, "initial": initial}, variables)
        optimizer.apply(gradients, variables)

    random = np.random.default_rng(0)
    for _ in range(steps):
        points = tf.constant(random.uniform(0, 1, (64, 2)), tf.float32)
        train_step(points, points * [[1.0, 0.0]])


@CASES(steps=100)
def style_on_an_image(steps):
    image = tf.Variable(tf.random.uniform((1, 24, 24, 3), seed=1), name="image")
    filters = tf.random.normal((5, 5, 3, 16), stddev=0.2, seed=2)
    style, content = (tf.random.uniform((1, 24, 24, 3), seed=i) for i in (3, 4))
    optimizer = keras.optimizers.Adam(0.02, beta_1=0.99, epsilon=1e-1)

    def features(picture):
        return tf.nn.relu(tf.nn.conv2d(picture, filters, 1, "SAME"))

    def gram(one):
        return tf.einsum("bijc,bijd->bcd", one, one) / 576

    @tf.function
    def train_step():
        with gs.GradientTape() as tape:
            found = features(image)
            of_style = 1e2 * tf.reduce_mean((gram(found) - gram(features(style))) ** 2)
            of_content = 1e4 * tf.reduce_mean((found - features(content)) ** 2)
        gradient = tape.gradient({"style": of_style, "content": of_content}, image)
        optimizer.apply([gradient], [image])
        image.assign(tf.clip_by_value(image, 0.0, 1.0))

    for _ in range(steps):
        train_step()


@CASES(steps=120, by="patch")
def batches_of_one(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    for x, y in training.rows(steps, batch=1):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(x) - y))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))


@CASES(steps=300)
def curriculum_that_gets_harder(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(32, activation="relu"), layers.Dense(32, "relu")]
        + [layers.Dense(1)]
    )
    data = (
        (x * (1 + step // 100), y * (1, 5, 10)[min(step // 100, 2)])
        for step, (x, y) in enumerate(training.rows(steps))
    )
    fit(model, mean_square, keras.optimizers.Adam(3e-3), data)


@CASES(steps=160)
def restart_from_a_checkpoint(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )
    optimizer = keras.optimizers.Adam(3e-3)
    step = tf.Variable(0, dtype=tf.int64)
    variables = model.trainable_variables
    writer = tf.summary.create_noop_writer()

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            loss = mean_square(y, model(x))
        optimizer.apply(tape.gradient(loss, variables), variables)
        step.assign_add(1)

    saved: list[np.ndarray] = []
    with writer.as_default(step=step):
        for number, (x, y) in enumerate(training.rows(steps)):
            if number == steps // 3:
                saved = [v.numpy() for v in variables]
            if number == steps // 2:
                for one, value in zip(variables, saved, strict=True):
                    one.assign(value)
                step.assign(steps // 3)
            train_step(x, y)


@CASES(steps=300, by="fit", every=1)
def rate_that_goes_up_and_down(steps, callback):
    class Triangle(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            phase = tf.abs(tf.cast(step, tf.float32) % 60 / 30 - 1)
            return 1e-4 + (1 - phase) * 0.1

    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(24, activation="relu")]
        + [layers.Dense(4)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(Triangle(), momentum=0.9)
    keras_fit(model, loss, optimizer, training.images(steps), callback)


@CASES(steps=200)
def noise_prediction_of_a_diffusion(steps):
    model = keras.Sequential(
        [layers.Input((3,)), layers.Dense(48, "swish"), layers.Dense(48, "swish"), layers.Dense(2)]
    )
    random = np.random.default_rng(0)

    def batches():
        for _ in range(steps):
            sigma = np.exp(random.normal(-1.2, 1.2, (64, 1)))
            noise = random.normal(size=(64, 2))
            noisy = random.normal(1, 0.3, (64, 2)) + sigma * noise
            yield (
                tf.constant(np.concatenate([noisy, np.log(sigma)], 1), tf.float32),
                tf.constant(noise / sigma, tf.float32),
            )

    fit(model, mean_square, keras.optimizers.AdamW(2e-3), batches())


@CASES(steps=200)
def actor_critic_with_a_temperature(steps):
    actor = keras.Sequential([layers.Input((4,)), layers.Dense(24, "relu"), layers.Dense(3)])
    critic = keras.Sequential([layers.Input((4,)), layers.Dense(24, "relu"), layers.Dense(3)])
    log_alpha = tf.Variable(0.0, name="log_alpha")
    of_actor, of_critic, of_alpha = (keras.optimizers.Adam(3e-3) for _ in "123")

    @tf.function
    def train_step(x, action, reward):
        with gs.GradientTape() as tape:
            q = tf.gather(critic(x), action, batch_dims=1)
            critic_loss = tf.reduce_mean((q - reward) ** 2)
        of_critic.apply(
            tape.gradient(critic_loss, critic.trainable_variables), critic.trainable_variables
        )
        with gs.GradientTape() as tape:
            log = tf.nn.log_softmax(actor(x))
            alpha = tf.stop_gradient(tf.exp(log_alpha))
            values = tf.stop_gradient(critic(x))
            actor_loss = tf.reduce_mean(tf.reduce_sum(tf.exp(log) * (alpha * log - values), 1))
        of_actor.apply(
            tape.gradient(actor_loss, actor.trainable_variables), actor.trainable_variables
        )
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.exp(log) * log, 1))
        with gs.GradientTape() as tape:
            alpha_loss = tf.exp(log_alpha) * tf.stop_gradient(entropy - 0.5)
        of_alpha.apply([tape.gradient(alpha_loss, log_alpha)], [log_alpha])

    random = np.random.default_rng(0)
    for _ in range(steps):
        x, action = random.normal(size=(32, 4)), random.integers(0, 3, 32)
        reward = -10.0 * (action != (x[:, 0] > 0))
        train_step(tf.constant(x, tf.float32), tf.constant(action), tf.constant(reward, tf.float32))


@CASES(steps=200)
def tasks_weighted_by_their_uncertainty(steps):
    trunk = keras.Sequential([layers.Input((10,)), layers.Dense(24, "relu"), layers.Dense(2)])
    log_variances = [tf.Variable(0.0, name=f"log_variance{i}") for i in "12"]
    variables = trunk.trainable_variables + log_variances
    optimizer = keras.optimizers.Adam(3e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            a, b = tf.split(trunk(x), 2, axis=1)
            errors = mean_square(y, a), mean_square(10 * tf.abs(y), 10 * b)
            one, other = (
                tf.exp(-s) * error + s for s, error in zip(log_variances, errors, strict=True)
            )
        optimizer.apply(tape.gradient({"one": one, "other": other}, variables), variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(steps=200)
def straight_through_codes(steps):
    encoder, decoder = variable("encoder", 10, 8), variable("decoder", 8, 10, seed=1)
    codebook = variable("codebook", 16, 8, seed=2)
    variables, optimizer = [encoder, decoder, codebook], keras.optimizers.Adam(2e-3)

    @tf.function
    def train_step(x):
        with gs.GradientTape() as tape:
            z = x @ encoder
            nearest = tf.argmin(tf.reduce_sum((z[:, None] - codebook) ** 2, -1), 1)
            code = tf.gather(codebook, nearest)
            through = z + tf.stop_gradient(code - z)
            recon = mean_square(x, through @ decoder)
            commit = 0.25 * mean_square(tf.stop_gradient(code), z)
            book = mean_square(tf.stop_gradient(z), code)
            loss = recon + commit + book
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, _ in training.rows(steps):
        train_step(x)


@CASES(steps=200)
def scales_of_residuals_that_start_at_zero(steps):
    first, head = variable("first", 10, 16), variable("head", 16, 1, seed=1)
    blocks = [variable(f"block{i}", 16, 16, seed=i + 2) for i in range(8)]
    scales = [tf.Variable(0.0, name=f"scale{i}") for i in range(8)]
    variables, optimizer = [first, *blocks, *scales, head], keras.optimizers.SGD(0.02)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            z = x @ first
            for block, scale in zip(blocks, scales, strict=True):
                z += scale * tf.nn.relu(z @ block)
            loss = mean_square(y, z @ head)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, y in training.rows(steps):
        train_step(x, y)


@CASES(steps=150)
def waves_for_a_picture(steps):
    model = keras.Sequential([layers.Input((2,))])
    for i in range(4):
        bound = 0.5 if i == 0 else (6 / 32) ** 0.5 / 30
        start = keras.initializers.RandomUniform(-bound, bound, seed=i)
        model.add(layers.Dense(32, lambda z: tf.sin(30 * z), kernel_initializer=start))
    model.add(layers.Dense(1))
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 12)] * 2), -1).reshape(-1, 2)
    picture = np.sign(np.sin(4 * grid[:, :1]) * np.cos(5 * grid[:, 1:]))
    data = (tf.constant(grid, tf.float32), tf.constant(picture, tf.float32))
    fit(model, mean_square, keras.optimizers.Adam(1e-4), iter([data] * steps))


@CASES(steps=120, by="patch")
def keras_fit_that_knows_nothing(steps):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D()]
        + [layers.Flatten(), layers.Dropout(0.5), layers.Dense(4)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(1e-3, clipnorm=1.0)
    keras_fit(model, loss, optimizer, training.images(steps))


@CASES(steps=200)
def counts_with_a_long_tail(steps):
    model = keras.Sequential(
        [layers.Input((10,)), layers.Dense(16, activation="relu"), layers.Dense(1)]
    )

    def poisson(y, z):
        return tf.reduce_mean(tf.exp(z) - y * z)

    random = np.random.default_rng(3)
    data = (
        (x, tf.constant(random.pareto(1.5, (32, 1)), tf.float32)) for x, _ in training.rows(steps)
    )
    fit(model, poisson, keras.optimizers.Adam(1e-3), data, clip=10.0)


@CASES(steps=150)
def pupil_and_teacher(steps):
    teacher = keras.Sequential([layers.Input((64,)), layers.Dense(32, "relu"), layers.Dense(4)])
    pupil = keras.Sequential([layers.Input((64,)), layers.Dense(16, "relu"), layers.Dense(4)])
    variables, optimizer = pupil.trainable_variables, keras.optimizers.Adam(2e-3)

    @tf.function
    def train_step(x, y):
        with gs.GradientTape() as tape:
            logits = pupil(x)
            soft = tf.nn.softmax(teacher(x) / 4)
            hard = cross_entropy(y, logits)
            each = tf.nn.softmax_cross_entropy_with_logits(labels=soft, logits=logits / 4)
            tape.losses(hard=hard, distilled=16 * tf.reduce_mean(each))
            loss = hard + 16 * tf.reduce_mean(each)
        optimizer.apply(tape.gradient(loss, variables), variables)

    for x, y in training.images(steps):
        train_step(tf.reshape(x, (32, 64)), y)
