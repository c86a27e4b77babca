"""Operations and control flow without a gradient."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.fourth.shared import CLASSES, IMAGES, RANDOM, STACK, TF_ISSUE, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


@CASES(
    STACK + ", predicted ids into an embedding",
    "integer",
    ("encoder",),
    op="Cast",
    severity="warning",
)
def predicted_ids_into_an_embedding(callbacks):
    encoder = mlp(1, "encoder", "sigmoid")
    embedding = layers.Embedding(10, 4, name="codes")
    decoder = layers.Dense(4, name="decoder")
    optimizer = keras.optimizers.Adam(1e-2)

    @tf.function
    def train_step(x):
        with tf.GradientTape() as tape:
            ids = tf.cast(encoder(x) * 9.0, tf.int32)  # <--
            codes = tf.squeeze(embedding(ids), 1)
            loss = tf.reduce_mean((decoder(codes) - x) ** 2)
        variables = (
            encoder.trainable_variables
            + embedding.trainable_variables
            + decoder.trainable_variables
        )
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))

    for _ in range(6):
        train_step(X)


@CASES(
    TF_ISSUE + "31945, a custom gradient that forgets what it uses",
    "blocked",
    ("scale",),
    op="scaled_relu",
    severity="warning",
    by="fit",
)
def custom_gradient_in_a_layer(callbacks):
    @tf.custom_gradient
    def scaled_relu(x, scale):
        y = tf.nn.relu(x) * scale

        def grad(dy):
            return dy * tf.cast(x > 0, dy.dtype) * scale, None

        return y, grad

    class ScaledReLU(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x):
            return scaled_relu(x, tf.convert_to_tensor(self.scale))  # <--

    model = keras.Sequential([layers.Input((4,)), layers.Dense(8), ScaledReLU(), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)


@CASES(STACK + ", fixed point iteration that rounds", "blocked", ("quantizer",), op="Round")
def loop_that_rounds(callbacks):
    model = mlp(2, "quantizer")
    optimizer = keras.optimizers.SGD(0.01)

    def body(i, value):
        value = tf.round(value * 10.0) / 10.0  # <--
        return i + 1, value

    for _ in range(2):
        with tf.GradientTape() as tape:
            _, value = tf.while_loop(lambda i, value: i < 3, body, [0, model(X)])
            loss = tf.reduce_mean(value**2)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(
    STACK + ", decoder that writes tokens into a TensorArray", ("integer", "blocked"), ("decoder",)
)
def tokens_in_a_tensor_array(callbacks):
    decoder = layers.Dense(5, name="decoder")
    decoder.build((None, 4))
    targets = tf.constant(np.arange(16).reshape(4, 4) % 5, tf.int32)
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(states):
        with tf.GradientTape() as tape:
            tokens = tf.TensorArray(tf.int32, size=4)
            for i in tf.range(4):
                logits = decoder(states[:, i])
                tokens = tokens.write(i, tf.argmax(logits, axis=-1, output_type=tf.int32))  # <--
            predicted = tf.transpose(tokens.stack())
            wrong = tf.cast(predicted, tf.float32) - tf.cast(targets, tf.float32)
            loss = tf.reduce_mean(tf.abs(wrong))
        grads = tape.gradient(loss, decoder.trainable_variables)
        optimizer.apply_gradients(zip(grads, decoder.trainable_variables))

    train_step(tf.reshape(tf.constant(X), (4, 4, 4)))


@CASES(TF_ISSUE + "19897, best box of each image by map_fn", "blocked", ("detector",), op="ArgMax")
def best_box_by_map_fn(callbacks):
    detector = layers.Dense(6, name="detector")
    detector.build((None, 4))
    boxes = tf.constant(RANDOM.random((6, 4)), tf.float32)
    optimizer = keras.optimizers.Adam(1e-3)

    def best(scores):
        return tf.gather(boxes, tf.argmax(scores))  # <--

    def train_step(features, truth):
        with tf.GradientTape() as tape:
            predicted = tf.map_fn(best, detector(features))
            loss = tf.reduce_mean(tf.abs(predicted - truth))
        grads = tape.gradient(loss, detector.trainable_variables)
        optimizer.apply_gradients(zip(grads, detector.trainable_variables))

    train_step(X, X)


@CASES(STACK + ", scheduled sampling", "blocked", ("speaker",), op="ArgMax")
def scheduled_sampling(callbacks):
    speaker = layers.Dense(3, name="speaker")
    speaker.build((None, 4))
    table = tf.constant(RANDOM.normal(size=(3, 4)), tf.float32)
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, labels, use_teacher):
        with tf.GradientTape() as tape:
            logits = speaker(x)
            token = tf.cond(
                use_teacher,
                lambda: tf.cast(labels, tf.int64),
                lambda: tf.argmax(logits, axis=-1),  # <--
            )
            loss = tf.reduce_mean((tf.gather(table, token) - x) ** 2)
        grads = tape.gradient(loss, speaker.trainable_variables)
        optimizer.apply_gradients(zip(grads, speaker.trainable_variables))

    train_step(X, CLASSES, tf.constant(False))


@CASES(
    STACK + ", levels of quantization by switch_case",
    "blocked",
    ("compressor",),
    severity="warning",
)
def levels_by_switch_case(callbacks):
    compressor, decoder = layers.Dense(4, name="compressor"), layers.Dense(4, name="decoder")
    compressor.build((None, 4))
    decoder.build((None, 4))
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, level):
        with tf.GradientTape() as tape:
            code = compressor(x)
            coarse = lambda: tf.round(code)  # <--
            fine = lambda: tf.floor(code * 4.0) / 4.0  # <--
            quantized = tf.switch_case(level, [coarse, fine])
            loss = tf.reduce_mean((decoder(quantized) - x) ** 2)
        variables = [*compressor.trainable_variables, *decoder.trainable_variables]
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients((g, v) for g, v in zip(grads, variables) if g is not None)

    for step in range(6):
        train_step(X, tf.constant(step % 2))


@CASES(
    "github.com/tensorflow/addons/issues/2659, spatial transformer",
    "blocked",
    ("localization",),
    op="ImageProjectiveTransformV3",
    severity="warning",
)
def spatial_transformer(callbacks):
    class STN(keras.Model):
        def __init__(self):
            super().__init__(name="stn")
            self.localization = layers.Dense(8, name="localization")
            self.flatten = layers.Flatten()
            self.classifier = layers.Dense(3, name="classifier")

        def call(self, images):
            theta = self.localization(self.flatten(images))
            warped = tf.raw_ops.ImageProjectiveTransformV3(  # <--
                images=images,
                transforms=theta,
                output_shape=tf.constant([8, 8]),
                fill_value=0.0,
                interpolation="BILINEAR",
            )
            return self.classifier(self.flatten(warped))

    model = STN()
    optimizer = keras.optimizers.Adam(1e-3)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for epoch in range(5):
        with tf.GradientTape() as tape:
            loss = loss_fn(CLASSES[:4], model(IMAGES, training=True))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(
    STACK + ", hard attention crops at a predicted place",
    ("integer", "blocked"),
    ("where",),
    severity="warning",
)
def crop_at_a_predicted_place(callbacks):
    where = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, activation="sigmoid")],
        name="where",
    )
    what = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)], name="what"
    )
    optimizer = keras.optimizers.Adam(1e-3)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(images, labels):
        with tf.GradientTape() as tape:
            corner = where(images) * 4.0
            row = tf.cast(corner[0, 0], tf.int32)  # <--
            column = tf.cast(corner[0, 1], tf.int32)  # <--
            patch = tf.image.crop_to_bounding_box(images, row, column, 4, 4)
            loss = loss_fn(labels, what(patch))
        variables = where.trainable_variables + what.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))

    for _ in range(5):
        train_step(IMAGES, CLASSES[:4])


@CASES(
    STACK + ", JPEG artefacts between encoder and decoder",
    ("integer", "blocked"),
    ("hider",),
    severity="warning",
)
def jpeg_in_the_middle(callbacks):
    hider = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(3, 3, padding="same", activation="sigmoid")],
        name="hider",
    )
    reader = keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1)], name="reader"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    for _ in range(5):
        with tf.GradientTape() as tape:
            hidden = hider(IMAGES)
            squeezed = tf.image.adjust_jpeg_quality(hidden[0], 80)  # <--
            loss = tf.reduce_mean(reader(squeezed[None]) ** 2)
        variables = hider.trainable_variables + reader.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))
