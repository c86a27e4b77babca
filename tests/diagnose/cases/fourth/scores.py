"""Scores as losses, heads, gates, and recording that stopped."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.fourth.shared import BINARY, KERAS_ISSUE, STACK, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


@CASES(KERAS_ISSUE + "19246, an F1 score as the loss", "blocked", ("tagger",), op="Round", by="fit")
def f1_score_as_the_loss(callbacks):
    def f1_loss(y_true, y_pred):
        y_pred = keras.ops.round(y_pred)  # <--
        tp = keras.ops.sum(y_true * y_pred)
        fp = keras.ops.sum((1 - y_true) * y_pred)
        fn = keras.ops.sum(y_true * (1 - y_pred))
        return 1 - 2 * tp / (2 * tp + fp + fn + 1e-7)

    model = mlp(1, "tagger", "sigmoid")
    model.compile(keras.optimizers.Adam(1e-3), loss=f1_loss, metrics=["accuracy"])
    model.fit(X, BINARY, batch_size=8, epochs=1, verbose=0, callbacks=callbacks)


@CASES(
    KERAS_ISSUE + "11157, argmax in a Lambda layer",
    "blocked",
    ("words",),
    op="ArgMax",
    severity="warning",
    by="fit",
)
def argmax_in_a_lambda(callbacks):
    inputs = keras.Input((4,))
    scores = layers.Dense(6, activation="softmax", name="words")(inputs)
    best = layers.Lambda(lambda s: tf.cast(tf.argmax(s, axis=-1), tf.float32))  # <--
    ids = best(scores)[:, None]
    outputs = layers.Dense(1, name="answer")(ids)
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0, callbacks=callbacks)


@CASES(
    STACK + ", ragged rows of predicted lengths",
    ("integer", "blocked"),
    ("lengths",),
    severity="warning",
)
def ragged_rows_of_predicted_lengths(callbacks):
    lengths, values = (
        layers.Dense(1, activation="sigmoid", name="lengths"),
        layers.Dense(1, name="values"),
    )
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(5):
        with tf.GradientTape() as tape:
            counts = tf.cast(tf.round(lengths(X[:4])[:, 0] * 0.0 + 4.0), tf.int64)  # <--
            ragged = tf.RaggedTensor.from_row_lengths(values(X)[:, 0], counts)
            loss = tf.reduce_mean(tf.reduce_sum(ragged, axis=1) ** 2)
        variables = lengths.trainable_variables + values.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))


@CASES(
    STACK + ", edges of a graph from learned scores",
    "blocked",
    ("scorer",),
    op="Greater",
    severity="warning",
)
def sparse_graph_from_scores(callbacks):
    scorer, update = layers.Dense(16, name="scorer"), layers.Dense(4, name="update")
    scorer.build((None, 4))
    update.build((None, 4))
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(nodes):
        with tf.GradientTape() as tape:
            keep = scorer(nodes) > 0.0  # <--
            adjacency = tf.sparse.from_dense(tf.cast(keep, tf.float32))
            messages = tf.sparse.sparse_dense_matmul(adjacency, update(nodes))
            loss = tf.reduce_mean(messages**2)
        variables = scorer.trainable_variables + update.trainable_variables
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))

    for _ in range(5):
        train_step(X)


@CASES(STACK + ", block of stop_recording too long", "stopped", ("net",))
def loss_within_stop_recording(callbacks):
    model = mlp(1, "net")
    optimizer = keras.optimizers.Adam(1e-3)
    accuracy = keras.metrics.MeanSquaredError()

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            predictions = model(x)
            with tape.stop_recording():  # <--
                accuracy.update_state(y, predictions)
                loss = tf.reduce_mean((predictions - y) ** 2)  # <--
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    train_step(X, Y)


@CASES(STACK + ", persistent tape reset between two losses", "stopped", ("net_a",), loss="loss_a")
def reset_between_two_losses(callbacks):
    net_a, net_b = mlp(1, "net_a"), mlp(1, "net_b")
    optimizer = keras.optimizers.SGD(1e-2)
    for _ in range(3):
        with tf.GradientTape(persistent=True) as tape:
            loss_a = tf.reduce_mean((net_a(X) - Y) ** 2)
            tape.reset()  # <--
            loss_b = tf.reduce_mean((net_b(X) - Y) ** 2)
        grads_b = tape.gradient(loss_b, net_b.trainable_variables)
        grads_a = tape.gradient(loss_a, net_a.trainable_variables)
        optimizer.apply_gradients(
            zip(grads_a + grads_b, net_a.trainable_variables + net_b.trainable_variables)
        )


@CASES(
    STACK + ", uncertainty weighting with float()",
    "blocked",
    ("log_sigma",),
    loss="total",
    severity="warning",
)
def uncertainty_as_a_float(callbacks):
    class MultiTask:
        def __init__(self):
            self.trunk = mlp(2, "trunk")
            self.log_sigma = tf.Variable([0.0, 0.0], name="log_sigma")

        def loss(self, x, y):
            predicted = self.trunk(x)
            mse = tf.reduce_mean((predicted - y) ** 2, axis=0)
            weights = [float(tf.exp(-s)) for s in self.log_sigma]  # <--
            return weights[0] * mse[0] + weights[1] * mse[1]

    task = MultiTask()
    variables = [*task.trunk.trainable_variables, task.log_sigma]
    for _ in range(5):
        with tf.GradientTape() as tape:
            total = task.loss(X, Y)
        for variable, gradient in zip(variables, tape.gradient(total, variables)):
            if gradient is not None:
                variable.assign_sub(0.01 * gradient)


@CASES(STACK + ", the same head in both losses", "unused", ("head_b",), severity="warning")
def same_head_twice(callbacks):
    class TwoTasks(keras.Model):
        def __init__(self):
            super().__init__(name="tasks")
            self.trunk = layers.Dense(8, activation="relu", name="trunk")
            self.head_a = layers.Dense(1, name="head_a")
            self.head_b = layers.Dense(1, name="head_b")

        def build(self, shape):
            self.trunk.build((None, 4))
            self.head_a.build((None, 8))
            self.head_b.build((None, 8))

        def call(self, x):
            features = self.trunk(x)
            return self.head_a(features), self.head_a(features)

    model = TwoTasks()
    model.build((None, 4))
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x, ya, yb):
        with tf.GradientTape() as tape:
            a, b = model(x)
            loss = tf.reduce_mean((a - ya) ** 2) + tf.reduce_mean((b - yb) ** 2)  # <--
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    for _ in range(6):
        train_step(X, Y, -Y)


@CASES(
    STACK + ", learned threshold in an attention mask",
    "blocked",
    ("threshold",),
    op="Greater",
    severity="warning",
    by="fit",
)
def learned_threshold_in_attention(callbacks):
    class SparseAttention(layers.Layer):
        def build(self, shape):
            self.query = layers.Dense(4, name="query")
            self.key = layers.Dense(4, name="key")
            self.threshold = self.add_weight(shape=(), initializer="zeros", name="threshold")
            self.query.build(shape)
            self.key.build(shape)

        def call(self, x):
            scores = tf.matmul(self.query(x), self.key(x), transpose_b=True)
            mask = scores > self.threshold  # <--
            return tf.matmul(tf.nn.softmax(tf.where(mask, scores, -1e9)), x)

    inputs = keras.Input((4, 4))
    attended = SparseAttention(name="attention")(inputs)
    outputs = layers.Dense(1)(layers.GlobalAveragePooling1D()(attended))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "mse")
    model.fit(X.reshape(4, 4, 4), Y[:4], batch_size=2, epochs=3, verbose=0, callbacks=callbacks)


@CASES(
    STACK + ", effective weight computed once", "outside_tape", ("mask_logits",), severity="warning"
)
def gate_computed_once(callbacks):
    mask_logits = tf.Variable(tf.zeros([4]), name="mask_logits")
    model = mlp(1, "net")
    optimizer = keras.optimizers.Adam(1e-3)
    gate = tf.sigmoid(mask_logits)  # <--

    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X * gate) - Y) ** 2)
        variables = [mask_logits, *model.trainable_variables]
        grads = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(grads, variables))


@CASES("Keras guide, train_step with a metric's result as the loss", "state", ("net",), by="fit")
def result_of_a_metric_in_fit(callbacks):
    class Custom(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = mlp(1, "net")
            self.loss_tracker = keras.metrics.MeanSquaredError(name="loss")

        def call(self, x):
            return self.net(x)

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                y_pred = self(x, training=True)
                self.loss_tracker.update_state(y, y_pred)  # <--
                loss = self.loss_tracker.result()
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
            return {"loss": loss}

    model = Custom()
    model.compile(optimizer="adam")
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=callbacks)
