"""Fresh variants of what the fourth set had shown to be missing, and other programs."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.none_program import Programs

CASES = Programs()
STACK = "Stack Overflow"

RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(12, 5)).astype(np.float32)
Y = RANDOM.normal(size=(12, 1)).astype(np.float32)
CLASSES = RANDOM.integers(0, 4, 12).astype(np.int32)


def net(outputs, name, activation=None):
    return keras.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(6, activation="relu"),
            layers.Dense(outputs, activation=activation),
        ],
        name=name,
    )


@CASES(STACK + ", smoothing by scipy in a method", "blocked", ("trend",))
def smoothing_in_a_method(callbacks):
    class Forecaster:
        def __init__(self):
            self.model = net(1, "trend")
            self.optimizer = keras.optimizers.Adam(1e-3)

        def smooth(self, series, width=3):
            kernel = np.ones(width) / width
            flat = np.asarray(series).ravel()  # <--
            return np.convolve(flat, kernel, mode="same").astype(np.float32)

        def step(self, x, y):
            with tf.GradientTape() as tape:
                raw = self.model(x)
                smoothed = self.smooth(raw)
                loss = tf.reduce_mean((smoothed - y[:, 0]) ** 2)
            weights = self.model.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))

    Forecaster().step(X, Y)


@CASES(STACK + ", arrays stacked in a helper of a helper", "blocked", ("pair",))
def arrays_stacked_deep_down(callbacks):
    model = net(2, "pair")

    def to_arrays(items):
        return [np.array(item) for item in items]  # <--

    def batch_up(items):
        stacked = np.stack(to_arrays(items))
        return tf.constant(stacked)

    with tf.GradientTape() as tape:
        outputs = tf.unstack(model(X))
        batch = batch_up(outputs)
        loss = tf.reduce_sum(batch**2)
    grads = tape.gradient(loss, model.trainable_variables)
    keras.optimizers.SGD(0.1).apply_gradients(zip(grads, model.trainable_variables))


@CASES(
    "Reptile and MAML, weights copied by assign in a helper", "state", ("slow",), loss="meta_loss"
)
def fast_weights_assigned_in_a_helper(callbacks):
    slow, fast = net(1, "slow"), net(1, "fast")
    optimizer = keras.optimizers.Adam(1e-3)

    def adapt(grads):
        for target, source, g in zip(fast.weights, slow.weights, grads):
            target.assign(source - 0.05 * g)  # <--

    for _ in range(2):
        with tf.GradientTape() as meta_tape:
            with tf.GradientTape() as tape:
                inner = tf.reduce_mean((slow(X[:6]) - Y[:6]) ** 2)
            adapt(tape.gradient(inner, slow.trainable_weights))
            meta_loss = tf.reduce_mean((fast(X[6:]) - Y[6:]) ** 2)
        grads = meta_tape.gradient(meta_loss, slow.trainable_weights)
        optimizer.apply_gradients(zip(grads, slow.trainable_weights))


@CASES(
    "learned optimizer: its step size only in an assign_add",
    "state",
    ("step_size",),
    loss="after",
    severity="error",
)
def learned_step_size(callbacks):
    theta, step_size = (
        tf.Variable(tf.ones([5, 1]), name="theta"),
        tf.Variable(-1.0, name="step_size"),
    )
    for _ in range(2):
        with tf.GradientTape(persistent=True) as tape:
            before = tf.reduce_mean((X @ theta - Y) ** 2)
            slope = tape.gradient(before, theta)
            theta.assign_add(-tf.exp(step_size) * slope)  # <--
            after = tf.reduce_mean((X @ theta - Y) ** 2)
        change = tape.gradient(after, step_size)
        step_size.assign_sub(0.1 * change)


@CASES(STACK + ", per-example loss by map_fn that rounds", "blocked", ("rater",), op="Round")
def rounded_rating_by_map_fn(callbacks):
    rater = net(1, "rater", "sigmoid")
    optimizer = keras.optimizers.Adam(1e-3)

    def stars(score):
        scaled = score * 5.0
        return tf.round(scaled)  # <--

    for _ in range(2):
        with tf.GradientTape() as tape:
            rating = tf.map_fn(stars, rater(X))
            loss = tf.reduce_mean(tf.abs(rating - Y))
        grads = tape.gradient(loss, rater.trainable_variables)
        optimizer.apply_gradients(zip(grads, rater.trainable_variables))


@CASES(
    STACK + ", trainable_weights of a layer that was never built",
    kind="unrequested",
    variables=("late",),
)
def weights_of_an_unbuilt_layer(callbacks):
    class Late(keras.Model):
        def __init__(self):
            super().__init__(name="late")
            self.stack = [layers.Dense(6, activation="relu"), layers.Dense(1)]
            self.weights_to_train = self.trainable_weights

        def call(self, x):
            for layer in self.stack:
                x = layer(x)
            return x

    model = Late()

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        gradients = tape.gradient(loss, model.weights_to_train)  # <--
        for gradient, weight in zip(gradients, model.weights_to_train):
            weight.assign_sub(0.1 * gradient)
        return loss

    for _ in range(3):
        train_step(X, Y)


@CASES(
    STACK + ", cosine similarity of hard assignments as a penalty",
    "blocked",
    ("clusters",),
    op="ArgMin",
    loss="balance",
    severity="warning",
)
def balance_penalty_of_hard_clusters(callbacks):
    encoder = net(3, "clusters")
    centres = tf.Variable(RANDOM.normal(size=(4, 3)).astype(np.float32), name="centres")
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x):
        with tf.GradientTape() as tape:
            z = encoder(x)
            distances = tf.reduce_sum((z[:, None] - centres) ** 2, axis=-1)
            assigned = tf.one_hot(tf.argmin(distances, axis=1), 4)  # <--
            balance = tf.reduce_sum(tf.reduce_mean(assigned, axis=0) ** 2)
            compact = tf.reduce_mean(tf.reduce_min(distances, axis=1))
            loss = compact + 0.5 * balance
        variables = encoder.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    for _ in range(5):
        train_step(X)


@CASES(
    STACK + ", accuracy within a custom loss in fit",
    "blocked",
    ("judge",),
    op="ArgMax",
    loss="accuracy",
    severity="warning",
)
def accuracy_within_a_loss_of_fit(callbacks):
    def loss_fn(y_true, y_pred):
        entropy = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        labels = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        accuracy = tf.cast(tf.equal(labels, tf.argmax(y_pred, axis=-1)), tf.float32)  # <--
        return entropy - 0.1 * accuracy

    model = net(4, "judge", "softmax")
    model.compile("adam", loss=loss_fn)
    model.fit(X, CLASSES, batch_size=4, epochs=2, verbose=0)


@CASES(
    STACK + ", seq2seq, teacher forcing off, tokens fed back",
    "blocked",
    ("encoder",),
    op="ArgMax",
    severity="warning",
)
def tokens_fed_back(callbacks):
    encoder = layers.GRU(6, return_state=True, name="encoder")
    embedding = layers.Embedding(7, 6, name="embedding")
    first, decoder = layers.Dense(7, name="encoder_out"), layers.Dense(7, name="decoder")
    optimizer = keras.optimizers.Adam(1e-3)
    source = tf.constant(RANDOM.normal(size=(4, 3, 5)), tf.float32)
    target = tf.constant(RANDOM.integers(0, 7, 4))
    _, warm = encoder(source)
    decoder(embedding(tf.argmax(first(warm), -1)))

    @tf.function
    def train_step():
        with tf.GradientTape() as tape:
            _, state = encoder(source)
            token = tf.argmax(first(state), axis=-1)  # <--
            logits = decoder(embedding(token))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(target, logits))
        variables = [
            v for layer in (encoder, first, embedding, decoder) for v in layer.trainable_variables
        ]
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    for _ in range(5):
        train_step()


@CASES(
    STACK + ", contrastive loss with tf.unique labels of clusters",
    ("blocked", "integer"),
    ("embedder",),
)
def labels_of_learned_clusters(callbacks):
    embedder = net(2, "embedder")
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(2):
        with tf.GradientTape() as tape:
            codes = tf.cast(embedder(X) > 0.1, tf.int32)  # <--
            labels = codes[:, 0] * 2 + codes[:, 1]
            counts = tf.math.bincount(labels, minlength=4)
            shares = tf.cast(counts, tf.float32) / 12.0
            loss = tf.reduce_sum(shares**2)
        grads = tape.gradient(loss, embedder.trainable_variables)
        optimizer.apply_gradients(zip(grads, embedder.trainable_variables))


@CASES(
    STACK + ", Lagrange multiplier updated with its own tape outside",
    "outside_tape",
    ("multiplier",),
    loss="dual",
)
def multiplier_with_a_late_tape(callbacks):
    policy = net(1, "policy")
    multiplier = tf.Variable(0.5, name="multiplier")
    optimizer = keras.optimizers.SGD(0.01)
    for _ in range(2):
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(policy(X) ** 2)
            weighted = tf.nn.softplus(multiplier) * cost  # <--
        grads = tape.gradient(weighted, policy.trainable_variables)
        optimizer.apply_gradients(zip(grads, policy.trainable_variables))
        with tf.GradientTape() as dual_tape:
            dual = -weighted + 0.1
        multiplier.assign_sub(0.1 * dual_tape.gradient(dual, multiplier))


@CASES(
    STACK + ", learned temperature turned into an int",
    "integer",
    ("top",),
    op="Cast",
    severity="warning",
)
def learned_k_of_top_k(callbacks):
    top = tf.Variable(2.3, name="top")
    scorer = net(5, "scorer")
    optimizer = keras.optimizers.SGD(0.01)
    for _ in range(5):
        with tf.GradientTape() as tape:
            k = tf.cast(tf.round(top) * 0 + top, tf.int32)  # <--
            best, _ = tf.math.top_k(scorer(X), k)
            loss = -tf.reduce_mean(best)
        variables = [top, *scorer.trainable_variables]
        for g, v in zip(tape.gradient(loss, variables), variables):
            if g is not None:
                v.assign_sub(0.01 * g)


@CASES(STACK + ", lookup table of strings", ("integer", "blocked"), ("namer",))
def lookup_by_strings(callbacks):
    namer = net(1, "namer")
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["0", "1"], [0.0, 1.0]), 0.5
    )
    with tf.GradientTape() as tape:
        names = tf.strings.as_string(namer(X), precision=0)  # <--
        loss = tf.reduce_mean(table.lookup(names))
    grads = tape.gradient(loss, namer.trainable_variables)
    keras.optimizers.SGD(0.1).apply_gradients(zip(grads, namer.trainable_variables))


@CASES(
    "Keras guide, a second optimizer for weights of a metric model",
    "not_watched",
    ("norm",),
    severity="info",
)
def all_weights_with_statistics_at_inference(callbacks):
    model = keras.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(6),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(1e-3)
    for _ in range(5):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X, training=False) - Y) ** 2)  # <--
        grads = tape.gradient(loss, model.weights)
        for g, v in zip(grads, model.weights):
            if g is not None:
                v.assign_sub(0.01 * g)
