"""Autoencoders, GANs, teachers and students."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.fourth.shared import CLASSES, STACK, TF_ISSUE, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


@CASES(
    "Keras examples, VQ-VAE, straight-through estimator left out",
    "blocked",
    ("encoder",),
    op="ArgMin",
    loss="total_loss",
    severity="warning",
    by="fit",
)
def vq_vae_in_fit(callbacks):
    class VectorQuantizer(layers.Layer):
        def __init__(self, size, dim):
            super().__init__(name="quantizer")
            self.size = size
            self.codes = self.add_weight(
                shape=(dim, size), initializer="random_uniform", name="codes"
            )

        def call(self, x):
            similarity = tf.matmul(x, self.codes)
            distances = (
                tf.reduce_sum(x**2, axis=1, keepdims=True)
                + tf.reduce_sum(self.codes**2, axis=0)
                - 2 * similarity
            )
            indices = tf.argmin(distances, axis=1)  # <--
            return tf.matmul(tf.one_hot(indices, self.size), self.codes, transpose_b=True)

    class VQVAE(keras.Model):
        def __init__(self):
            super().__init__(name="vqvae")
            self.encoder = layers.Dense(2, name="encoder")
            self.quantizer = VectorQuantizer(8, 2)
            self.decoder = layers.Dense(4, name="decoder")
            self.tracker = keras.metrics.Mean(name="loss")

        def call(self, x):
            return self.decoder(self.quantizer(self.encoder(x)))

        @property
        def metrics(self):
            return [self.tracker]

        def train_step(self, x):
            with tf.GradientTape() as tape:
                reconstructions = self(x, training=True)
                total_loss = tf.reduce_mean((x - reconstructions) ** 2)
            grads = tape.gradient(total_loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
            self.tracker.update_state(total_loss)
            return {"loss": self.tracker.result()}

    model = VQVAE()
    model.compile(optimizer="adam")
    model.fit(X, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)


@CASES(STACK + ", VAE that samples with NumPy", "blocked", ("encoder",), severity="warning")
def vae_sample_by_numpy(callbacks):
    encoder = layers.Dense(4, name="encoder")
    decoder = layers.Dense(4, name="decoder")
    optimizer = keras.optimizers.Adam(1e-3)

    def sample(mu, log_var):
        return np.random.normal(mu, np.exp(log_var / 2)).astype(np.float32)  # <--

    for epoch in range(5):
        with tf.GradientTape() as tape:
            mu, log_var = tf.split(encoder(X), 2, axis=1)
            z = sample(mu, log_var)
            loss = tf.reduce_mean((decoder(z) - X) ** 2)
        variables = encoder.trainable_variables + decoder.trainable_variables
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables))


@CASES(
    TF_ISSUE + "31265, two tapes, the wrong one asked",
    "outside_tape",
    ("generator",),
    loss="gen_loss",
)
def wrong_tape_of_two(callbacks):
    generator, discriminator = mlp(4, "generator"), mlp(1, "discriminator")
    gen_optimizer, disc_optimizer = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)
    cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def train_step(images):
        noise = tf.random.normal([16, 4])
        with tf.GradientTape() as gen_tape:
            generated = generator(noise, training=True)  # <--
            fake_output = discriminator(generated, training=True)
            gen_loss = cross_entropy(tf.ones_like(fake_output), fake_output)  # <--
        with tf.GradientTape() as disc_tape:
            real_output = discriminator(images, training=True)
            fake_output = discriminator(generated, training=True)
            real_loss = cross_entropy(tf.ones_like(real_output), real_output)
            fake_loss = cross_entropy(tf.zeros_like(fake_output), fake_output)
            disc_loss = real_loss + fake_loss
        gen_grads = disc_tape.gradient(gen_loss, generator.trainable_variables)
        disc_grads = gen_tape.gradient(disc_loss, discriminator.trainable_variables)
        disc_optimizer.apply_gradients(zip(disc_grads, discriminator.trainable_variables))
        gen_optimizer.apply_gradients(zip(gen_grads, generator.trainable_variables))

    train_step(X)


@CASES(
    "TensorFlow guide, distributed training, average taken below the tape",
    "outside_tape",
    ("replicated",),
)
def average_below_the_tape(callbacks):
    strategy = tf.distribute.MirroredStrategy(["/cpu:0"])
    with strategy.scope():
        model = mlp(1, "replicated")
        optimizer = keras.optimizers.SGD(0.1)
        loss_object = keras.losses.MeanSquaredError(reduction="none")

    def train_step(inputs):
        x, y = inputs
        with tf.GradientTape() as tape:
            predictions = model(x, training=True)
            per_example = loss_object(y, predictions)
        loss = tf.nn.compute_average_loss(per_example, global_batch_size=16)  # <--
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    @tf.function
    def distributed_train_step(inputs):
        return strategy.reduce(
            tf.distribute.ReduceOp.SUM, strategy.run(train_step, args=(inputs,)), axis=None
        )

    distributed_train_step((X, Y))


@CASES(
    TF_ISSUE + "20630, predict_on_batch inside the tape",
    "blocked",
    ("student",),
    loss="distillation_loss",
)
def predict_on_batch_of_the_student(callbacks):
    teacher, student = mlp(3, "teacher", "softmax"), mlp(3, "student", "softmax")
    optimizer = keras.optimizers.Adam(1e-3)
    divergence = keras.losses.KLDivergence()

    for batch in np.split(X, 2):
        targets = teacher.predict_on_batch(batch)
        with tf.GradientTape() as tape:
            predictions = student.predict_on_batch(batch)  # <--
            distillation_loss = divergence(targets, predictions)
        gradients = tape.gradient(distillation_loss, student.trainable_variables)
        optimizer.apply_gradients(zip(gradients, student.trainable_variables))


@CASES(STACK + ", output wrapped into a variable again", "state", ("scorer",))
def output_wrapped_in_a_variable(callbacks):
    model = mlp(1, "scorer")
    optimizer = keras.optimizers.Adam(1e-3)
    for epoch in range(2):
        with tf.GradientTape() as tape:
            scores = tf.Variable(model(X))  # <--
            loss = tf.reduce_mean(tf.square(scores - Y))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(TF_ISSUE + "50111, tensors built anew from arrays", "blocked", ("regressor",))
def tensors_built_anew(callbacks):
    model = mlp(1, "regressor")
    optimizer = keras.optimizers.Adam(1e-3)

    def postprocess(outputs):
        outputs = np.array(outputs)  # <--
        outputs[outputs < 0] = 0.0
        return tf.convert_to_tensor(outputs)

    for epoch in range(2):
        with tf.GradientTape() as tape:
            predicted = postprocess(model(X))
            loss = tf.reduce_mean(tf.square(predicted - Y))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(
    STACK + ", stop_gradient in a helper of another module",
    "blocked",
    ("backbone",),
    op="StopGradient",
    severity="warning",
)
def features_frozen_in_a_helper(callbacks):
    backbone, head = (
        layers.Dense(8, activation="relu", name="backbone"),
        layers.Dense(1, name="head"),
    )
    optimizer = keras.optimizers.Adam(1e-3)

    def freeze(tree):
        return tf.nest.map_structure(tf.stop_gradient, tree)  # <--

    def extract(x):
        outputs = {"features": backbone(x)}
        return freeze(outputs)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            features = extract(x)["features"]
            loss = tf.reduce_mean((head(features) - y) ** 2)
        variables = backbone.trainable_variables + head.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))

    backbone(X), head(backbone(X))
    for _ in range(5):
        train_step(X, Y)


@CASES(STACK + ", reloaded model runs, the old one is trained", "unused", ("classifier",))
def old_model_is_trained(callbacks):
    model = mlp(3, "classifier")
    optimizer = keras.optimizers.Adam(1e-3)
    variables = model.trainable_variables
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder + "/model.keras")
        model = keras.models.load_model(folder + "/model.keras")

    for epoch in range(2):
        with tf.GradientTape() as tape:
            logits = model(X, training=True)
            loss = loss_fn(CLASSES, logits)  # <--
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))
