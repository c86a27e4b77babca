"""Networks trained on labels."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.fourth.shared import BINARY, CLASSES, STACK, TF_ISSUE, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


@CASES(
    TF_ISSUE + "30190, losses gathered as Python floats", "blocked", ("iris",), loss="loss_value"
)
def histogram_of_losses(callbacks):
    model = mlp(3, "iris")
    loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(0.01)

    def distance_to_normal(samples):
        counts, edges = np.histogram(samples, bins=5, density=True)
        centers = (edges[1:] + edges[:-1]) / 2
        return float(np.abs(counts - np.exp(-(centers**2) / 2)).sum())

    def loss(model, x, y):
        y_ = model(x)
        losses = []
        for i in range(y.shape[0]):
            losses.append(float(loss_object(y_true=y[i : i + 1], y_pred=y_[i : i + 1])))  # <--
        return tf.convert_to_tensor(distance_to_normal(losses), dtype=np.float32)

    def grad(model, inputs, targets):
        with tf.GradientTape() as tape:
            loss_value = loss(model, inputs, targets)
            tape.watch(inputs)
        return loss_value, tape.gradient(loss_value, model.trainable_variables)

    for epoch in range(3):
        loss_value, grads = grad(model, tf.constant(X), CLASSES)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))


@CASES(TF_ISSUE + "58614, a loss that counts predictions", "blocked", ("binary",), op="Round")
def counting_loss(callbacks):
    model = mlp(1, "binary", "sigmoid")
    optimizer = keras.optimizers.Adam(0.01)

    def custom_loss(output, prediction):
        rounded = tf.round(prediction)  # <--
        correct = tf.math.count_nonzero(tf.math.equal(rounded, tf.cast(output, tf.float32)))
        total = tf.size(output, out_type=tf.int64)
        return 1.0 - tf.cast(correct / total, tf.float32)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            prediction = model(x, training=True)
            loss = custom_loss(y, prediction)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        return loss

    for epoch in range(3):
        train_step(X, BINARY)


@CASES(
    TF_ISSUE + "35713, Spearman correlation by scipy", "blocked", ("ranker",), op="PyFunc", by="fit"
)
def spearman_in_fit(callbacks):
    def ranks(values):
        return np.argsort(np.argsort(values)).astype(np.float32)

    def spearman(y_true, y_pred):
        a = tf.squeeze(y_true, -1)
        b = tf.squeeze(y_pred, -1)
        rank_a = tf.numpy_function(ranks, [a], Tout=tf.float32)
        rank_b = tf.numpy_function(ranks, [b], Tout=tf.float32)  # <--
        return 6 * tf.reduce_sum((rank_a - rank_b) ** 2) / (16.0**3 - 16.0)

    model = mlp(1, "ranker")
    model.compile(optimizer="adam", loss=spearman)
    model.fit(X, Y, batch_size=16, epochs=1, verbose=0, callbacks=callbacks)


@CASES(TF_ISSUE + "31919, moments of the fakes by NumPy", "blocked", ("generator",), loss="g_error")
def generator_through_numpy(callbacks):
    G = keras.Sequential(
        [layers.Input((2,)), layers.Dense(8, activation="tanh"), layers.Dense(1)], name="generator"
    )
    D = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="discriminator",
    )
    criterion = keras.losses.BinaryCrossentropy()
    g_optimizer = keras.optimizers.SGD(1e-3)

    def get_moments(d):
        mean = np.mean(d)
        std = np.std(d)
        z = (d - mean) / std
        return np.array([mean, std, np.mean(z**3), np.mean(z**4) - 3.0], np.float32)

    for step in range(2):
        with tf.GradientTape() as tape:
            g_fake_data = G(tf.random.normal((16, 2)))
            moments = get_moments(g_fake_data.numpy().T).reshape((1, 4))  # <--
            dg_fake_decision = D(moments)
            g_error = criterion(tf.ones((1, 1)), dg_fake_decision)
        gradients = tape.gradient(g_error, G.trainable_variables)
        g_optimizer.apply_gradients(zip(gradients, G.trainable_variables))


@CASES(
    "github.com/google-research/simclr/issues/105, the head of pretraining",
    "unused",
    ("projection_head",),
    severity="warning",
)
def projection_head_in_fine_tuning(callbacks):
    class SimCLR(keras.Model):
        def __init__(self):
            super().__init__(name="simclr")
            self.encoder = layers.Dense(8, activation="relu", name="encoder")
            self.projection_head = layers.Dense(4, name="projection_head")
            self.classifier = layers.Dense(3, name="classifier")

        def call(self, x):
            features = self.encoder(x)
            return self.projection_head(features), self.classifier(features)

    model = SimCLR()
    optimizer = keras.optimizers.Adam(1e-3)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def train_step(x, labels):
        with tf.GradientTape() as tape:
            projections, logits = model(x, training=True)
            loss = cross_entropy(labels, logits)  # <--
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        return loss

    for epoch in range(6):
        train_step(X, CLASSES)


@CASES(
    "github.com/tensorflow/probability/issues/927, a weight that call() forgets",
    "unused",
    ("interim",),
    severity="warning",
    by="fit",
)
def weight_never_used_in_call(callbacks):
    class Gated(layers.Layer):
        def __init__(self, units):
            super().__init__(name="gated")
            self.units = units

        def build(self, shape):
            self.gate = self.add_weight(shape=(shape[-1], self.units), name="gate")
            self.interim = self.add_weight(shape=(shape[-1], self.units), name="interim")
            self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

        def call(self, x):
            gate = keras.ops.sigmoid(keras.ops.matmul(x, self.gate))
            return gate * keras.ops.tanh(keras.ops.matmul(x, self.kernel))

    model = keras.Sequential([layers.Input((4,)), Gated(6), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)  # <--


@CASES(
    STACK + ", list of variables taken before the model is built",
    kind="unrequested",
    variables=("net",),
)
def variables_taken_before_build(callbacks):
    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.hidden = layers.Dense(8, activation="relu")
            self.out = layers.Dense(1)

        def call(self, x):
            return self.out(self.hidden(x))

    model = Net()
    variables = model.trainable_variables
    optimizer = keras.optimizers.SGD(0.1)
    for epoch in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X) - Y) ** 2)
        grads = tape.gradient(loss, variables)  # <--
        optimizer.apply_gradients(zip(grads, variables))


@CASES(
    TF_ISSUE + "29073, layers kept where Keras does not look",
    kind="unrequested",
    variables=("block",),
    severity="info",
)
def layers_of_a_plain_object(callbacks):
    @dataclasses.dataclass
    class Blocks:
        first: layers.Layer
        second: layers.Layer

    class UNet(keras.Model):
        def __init__(self):
            super().__init__(name="unet")
            self.blocks = Blocks(layers.Dense(8, name="block_1"), layers.Dense(8, name="block_2"))
            self.out = layers.Dense(1, name="out")

        def call(self, x):
            return self.out(self.blocks.second(tf.nn.relu(self.blocks.first(x))))

    model = UNet()
    optimizer = keras.optimizers.Adam(1e-2)
    for epoch in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X) - Y) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)  # <--
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
