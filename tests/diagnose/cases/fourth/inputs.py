"""Distances, images, texts: gradients with respect to inputs, and layers that are not tracked."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases.fourth.shared import CLASSES, IMAGES, RANDOM, STACK, TF_ISSUE, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


@CASES(STACK + ", mean IoU as the loss", ("state", "blocked"), ("segmenter",))
def mean_iou_as_the_loss(callbacks):
    model = mlp(3, "segmenter")
    optimizer = keras.optimizers.Adam(1e-3)
    iou = keras.metrics.MeanIoU(num_classes=3)

    def iou_loss(y_true, y_pred):
        iou.reset_state()
        iou.update_state(y_true, tf.argmax(y_pred, axis=-1))  # <--
        return 1.0 - iou.result()

    for _ in range(2):
        with tf.GradientTape() as tape:
            loss = iou_loss(CLASSES, model(X))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(STACK + ", distances of pairs gathered with numpy()", "blocked", ("tower",))
def siamese_distances_as_numbers(callbacks):
    tower = mlp(3, "tower")
    optimizer = keras.optimizers.Adam(1e-3)

    def pair_distance(a, b):
        return tf.norm(tower(a[None]) - tower(b[None]))

    for _ in range(2):
        with tf.GradientTape() as tape:
            distances = [pair_distance(a, b).numpy() for a, b in zip(X[:4], X[4:8])]  # <--
            loss = tf.reduce_mean(distances)
        grads = tape.gradient(loss, tower.trainable_variables)
        optimizer.apply_gradients(zip(grads, tower.trainable_variables))


@CASES(
    "BYOL, weights of the target asked for",
    "blocked",
    ("target",),
    op="StopGradient",
    severity="warning",
    by="tape",
)
def byol_target_asked_for(callbacks):
    online, target = mlp(3, "online"), mlp(3, "target")
    optimizer = keras.optimizers.SGD(0.1)

    @tf.function
    def train_step(one, two):
        with gs.GradientTape() as tape:
            predicted = tf.math.l2_normalize(online(one), axis=1)
            wanted = tf.stop_gradient(target(two))  # <--
            wanted = tf.math.l2_normalize(wanted, axis=1)
            loss = 2.0 - 2.0 * tf.reduce_mean(tf.reduce_sum(predicted * wanted, axis=1))
        variables = online.trainable_variables + target.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))

    for _ in range(6):
        train_step(X, X + 0.1)


@CASES(
    "WGAN-GP, interpolated images not watched",
    "not_watched",
    ("interpolated",),
    loss="pred",
    by="tape",
)
def interpolated_not_watched(callbacks):
    critic = mlp(1, "critic")
    optimizer = keras.optimizers.Adam(1e-4)

    def gradient_penalty(real, fake):
        alpha = tf.random.uniform([16, 1])
        interpolated = real + alpha * (fake - real)
        with gs.GradientTape() as gp_tape:
            pred = critic(interpolated, training=True)  # <--
        grads = gp_tape.gradient(pred, [interpolated])[0]
        norm = tf.sqrt(tf.reduce_sum(tf.square(grads), axis=1))
        return tf.reduce_mean((norm - 1.0) ** 2)

    @tf.function
    def train_step(real):
        fake = tf.random.normal([16, 4])
        with gs.GradientTape() as tape:
            cost = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real))
            d_loss = cost + 10.0 * gradient_penalty(real, fake)
        grads = tape.gradient(d_loss, critic.trainable_variables)
        optimizer.apply_gradients(zip(grads, critic.trainable_variables))

    train_step(X)


@CASES(
    TF_ISSUE + "59652, Grad-CAM with two models",
    "unused",
    ("conv_output",),
    loss="class_channel",
    by="tape",
)
def grad_cam_of_two_models(callbacks):
    inputs = keras.Input((8, 8, 1))
    conv = layers.Conv2D(2, 3, activation="relu", name="conv")(inputs)
    outputs = layers.Dense(3)(layers.Flatten()(conv))
    model = keras.Model(inputs, outputs)
    last_conv = keras.Model(inputs, conv)

    with gs.GradientTape() as tape:
        conv_output = last_conv(IMAGES[:1])
        preds = model(IMAGES[:1])
        class_channel = preds[:, 1]  # <--
    grads = tape.gradient(class_channel, conv_output)
    heatmap = tf.reduce_sum(conv_output * tf.reduce_mean(grads, axis=(0, 1, 2)), axis=-1)


@CASES(
    TF_ISSUE + "36596, saliency of the predicted class's number",
    ("blocked", "integer"),
    ("image",),
    loss="predicted",
)
def saliency_of_the_class_number(callbacks):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")]
    )
    image = tf.Variable(IMAGES[:1], name="image")
    with tf.GradientTape() as tape:
        scores = model(image)
        predicted = tf.argmax(scores[0])  # <--
    saliency = tape.gradient(predicted, image)
    tf.reduce_max(tf.abs(saliency), axis=-1)


@CASES(
    "TensorFlow tutorial, style transfer, clipped image bound anew",
    "overwritten",
    ("image",),
    severity="warning",
)
def style_transfer_rebinds_the_image(callbacks):
    features = layers.Conv2D(2, 3, name="features")
    features(IMAGES)
    target = features(IMAGES[1:2])
    image = tf.Variable(IMAGES[:1], name="image")
    optimizer = keras.optimizers.Adam(0.02)

    def clip_0_1(image):
        return tf.clip_by_value(image, 0.0, 1.0)

    for step in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((features(image) - target) ** 2)
        grad = tape.gradient(loss, image)
        optimizer.apply_gradients([(grad, image)])
        image = clip_0_1(image)  # <--


@CASES(
    STACK + ", adversarial image cast to uint8 on the way", "integer", ("perturbation",), op="Cast"
)
def adversarial_image_in_bytes(callbacks):
    model = keras.Sequential([layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    perturbation = tf.Variable(tf.zeros((4, 8, 8, 1)), name="perturbation")

    def preprocess(images):
        images = tf.clip_by_value(images, 0.0, 1.0) * 255.0
        images = tf.cast(images, tf.uint8)  # <--
        return tf.cast(images, tf.float32) / 127.5 - 1.0

    @tf.function
    def attack(labels):
        with tf.GradientTape() as tape:
            loss = loss_fn(labels, model(preprocess(IMAGES + perturbation)))
        gradient = tape.gradient(loss, perturbation)
        perturbation.assign_add(0.01 * tf.sign(gradient))

    attack(CLASSES[:4])


@CASES(
    "Hypergradients: the learning rate through an assigned weight",
    "state",
    ("rate",),
    loss="validation_loss",
)
def learned_rate_through_an_update(callbacks):
    w = tf.Variable(tf.zeros([4, 1]), name="w")
    rate = tf.Variable(0.1, name="rate")

    @tf.function
    def step(x, y):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                training_loss = tf.reduce_mean((x @ w - y) ** 2)
            gradient = inner.gradient(training_loss, w)
            w.assign_sub(rate * gradient)  # <--
            validation_loss = tf.reduce_mean((x[8:] @ w - y[8:]) ** 2)
        rate.assign_sub(0.01 * outer.gradient(validation_loss, rate))

    step(X, Y)


@CASES(
    STACK + ", mixed precision, hard sigmoid gate that rounds",
    "blocked",
    ("gate",),
    op="Round",
    loss="scaled",
    severity="warning",
)
def mixed_precision_gate(callbacks):
    policy = keras.mixed_precision.DTypePolicy("mixed_float16")
    gate = layers.Dense(4, activation="sigmoid", name="gate", dtype=policy)
    head = layers.Dense(1, name="head", dtype=policy)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3))
    gate.build((None, 4))
    head.build((None, 4))
    variables = gate.trainable_variables + head.trainable_variables
    optimizer.build(variables)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            opened = keras.ops.round(gate(x))  # <--
            predicted = tf.cast(head(opened * tf.cast(x, opened.dtype)), tf.float32)
            loss = tf.reduce_mean((predicted - y) ** 2)
            scaled = optimizer.scale_loss(loss)
        grads = tape.gradient(scaled, variables)
        live = [(g, v) for g, v in zip(grads, variables) if g is not None]
        return loss

    for _ in range(5):
        train_step(X, Y)


@CASES(
    STACK + ", layer made anew at each call",
    kind="unrequested",
    variables=("dense",),
    severity="info",
)
def layer_made_in_call(callbacks):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="outer")
            self.out = layers.Dense(1, name="out")

        def call(self, x):
            x = layers.Dense(8, activation="relu")(x)
            return self.out(x)

    model = Net()
    optimizer = keras.optimizers.SGD(1e-2)
    for _ in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X) - Y) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)  # <--
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(
    STACK + ", frozen by hand with trainable=False, then asked for",
    "not_watched",
    ("table",),
    severity="warning",
    by="tape",
)
def table_not_trainable(callbacks):
    table = tf.Variable(
        RANDOM.normal(size=(3, 4)).astype(np.float32), trainable=False, name="table"
    )
    w = tf.Variable(tf.ones([4, 1]), name="w")
    for _ in range(5):
        with gs.GradientTape() as tape:
            embedded = tf.nn.embedding_lookup(table, CLASSES)  # <--
            loss = tf.reduce_mean((embedded @ w - Y) ** 2)
        g_table, g_w = tape.gradient(loss, [table, w])
        w.assign_sub(0.1 * g_w)


@CASES(STACK + ", logits decoded to text for the loss", ("integer", "blocked"), ("writer",))
def edit_distance_as_the_loss(callbacks):
    writer = layers.Dense(5, name="writer")
    truth = tf.sparse.from_dense(
        tf.constant([[1, 2, 3, 4], [2, 2, 1, 3], [4, 1, 1, 2], [3, 3, 2, 1]], tf.int64)
    )
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(2):
        with tf.GradientTape() as tape:
            logits = writer(X.reshape(4, 4, 4))
            best = tf.argmax(logits, axis=-1)  # <--
            hypothesis = tf.sparse.from_dense(best)
            loss = tf.reduce_mean(tf.edit_distance(hypothesis, truth))
        grads = tape.gradient(loss, writer.trainable_variables)
        optimizer.apply_gradients(zip(grads, writer.trainable_variables))
