"""Programs whose gradient is None, with the right answer: the rules were built with these.

Each is a report of the public, made small. What is expected was written down
before the rule that finds it.
"""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, F841, RUF015, RUF100, SIM117

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.diagnose.cases.none_case import Cases

CASES = Cases()
GUIDE = "TensorFlow guide, Introduction to gradients and automatic differentiation"
ADVANCED = "TensorFlow guide, Advanced automatic differentiation"
STACK = "Stack Overflow"
TF_ISSUE = "github.com/tensorflow/tensorflow/issues/"
KERAS_ISSUE = "github.com/keras-team/keras/issues/"

X = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)


def variable(*shape, name=None, **options):
    values = np.linspace(-1.0, 1.0, int(np.prod(shape)), dtype=np.float32)
    return tf.Variable(values.reshape(shape), name=name, **options)


# Overwritten ---------------------------------------------------------------------------


@CASES("overwritten", GUIDE + ", 1. Replaced a variable with a tensor", modes="e")
def replaced_by_a_tensor(Tape):
    def step():
        x = tf.Variable(2.0)
        x = x + 1  # <--
        with Tape() as tape:
            y = x * x
        return tape.gradient(y, x)

    return step


@CASES(
    "overwritten",
    STACK + ", manual gradient descent works once, then None",
    modes="e",
    variable="w",
    first=1,
)
def weights_updated_by_hand(Tape):
    w = variable(4, 1)

    def step():
        weights = [w]
        for _ in range(2):
            with Tape() as tape:
                loss = tf.reduce_mean((X @ weights[0]) ** 2)
            gradients = tape.gradient(loss, weights)
            if gradients[0] is None:
                return gradients
            weights = [v - 0.01 * g for v, g in zip(weights, gradients)]  # <--
        return None

    return step


@CASES("overwritten", TF_ISSUE + "37335, attribute of a module rebound")
def attribute_rebound(Tape):
    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = variable(4, 1)

        def normalise(self):
            self.w = tf.math.l2_normalize(self.w)  # <--

    model = Model()
    model.normalise()

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(X @ model.w)
        return tape.gradient(loss, [model.w])

    return step


# Blocked -------------------------------------------------------------------------------


@CASES("blocked", GUIDE + ", 2. Did calculations outside of TensorFlow", modes="e")
def mean_by_numpy(Tape):
    x = variable(2, 2)

    def step():
        with Tape() as tape:
            x2 = x**2
            y = np.mean(x2, axis=0)  # <--
            y = tf.reduce_mean(y, axis=0)
        return tape.gradient(y, x)

    return step


@CASES("blocked", STACK + ", .numpy() in a custom loss", modes="e")
def numpy_round_trip(Tape):
    w = variable(4, 2)

    def step():
        with Tape() as tape:
            y = tf.nn.softmax(X @ w)
            picked = y.numpy() * 2.0  # <--
            loss = tf.reduce_sum(tf.convert_to_tensor(picked) ** 2)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", float() of a learned scale", modes="e")
def python_float(Tape):
    scale = variable()

    def step():
        with Tape() as tape:
            s = float(scale)  # <--
            loss = tf.reduce_sum(tf.constant(X) * s)
        return tape.gradient(loss, [scale])

    return step


@CASES("blocked", TF_ISSUE + "36596, accuracy as a loss", op="ArgMax")
def accuracy_as_loss(Tape):
    w = variable(4, 3)
    labels = tf.constant([0, 2], tf.int64)

    def step():
        with Tape() as tape:
            logits = X @ w
            predicted = tf.argmax(logits, axis=-1)  # <--
            hits = tf.cast(tf.equal(predicted, labels), tf.float32)
            loss = 1.0 - tf.reduce_mean(hits)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", thresholded predictions in a custom F1 loss", op="Greater")
def f1_with_a_threshold(Tape):
    w = variable(4, 1)
    y_true = tf.constant([[0.0], [1.0]])

    def step():
        with Tape() as tape:
            y_pred = tf.sigmoid(X @ w)
            hard = tf.cast(y_pred > 0.5, tf.float32)  # <--
            true_positive = tf.reduce_sum(hard * y_true)
            loss = 1.0 - 2.0 * true_positive / (tf.reduce_sum(hard) + tf.reduce_sum(y_true) + 1e-7)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", tf.round in a loss", op="Round")
def rounded_output(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean(
                tf.square(
                    tf.round(X @ w)  # <--
                    - 1.0
                )
            )
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", "VQ-VAE without the straight-through estimator, Keras examples", op="ArgMin")
def vq_vae_without_straight_through(Tape):
    encoder, codebook = variable(4, 3), variable(8, 3)

    def step():
        with Tape() as tape:
            z = X @ encoder
            distances = tf.reduce_sum((z[:, None] - codebook[None]) ** 2, -1)
            index = tf.argmin(distances, 1)  # <--
            loss = tf.reduce_mean(tf.gather(codebook, index) ** 2)
        return tape.gradient(loss, [encoder])

    return step


@CASES("blocked", STACK + ", reinforcement learning, sampled action", op="Multinomial")
def sampled_action(Tape):
    policy = variable(4, 2)

    def step():
        with Tape() as tape:
            action = tf.random.categorical(X @ policy, 1)  # <--
            loss = -tf.reduce_mean(tf.cast(action, tf.float32))
        return tape.gradient(loss, [policy])

    return step


@CASES("blocked", STACK + ", GAN generator gets no gradient", op="StopGradient")
def detached_fake(Tape):
    generator, critic = variable(4, 4), variable(4, 1)

    def step():
        with Tape() as tape:
            fake = tf.tanh(X @ generator)
            fake = tf.stop_gradient(fake)  # <--
            loss = -tf.reduce_mean(fake @ critic)
        return tape.gradient(loss, [generator, critic])

    return step


@CASES("blocked", ADVANCED + ", custom gradients", op="scale")
def custom_gradient_forgets_an_argument(Tape):
    w = variable(4, 1)

    @tf.custom_gradient
    def scale(x, s):
        def grad(dy):
            return dy * s, None

        return x * s, grad

    def step():
        with Tape() as tape:
            s = tf.reduce_mean(X @ w)
            loss = tf.reduce_sum(scale(tf.constant(X), s))  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", tf.numpy_function in a loss")
def numpy_function(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
            z = tf.numpy_function(lambda a: np.square(a), [y], tf.float32)  # <--
            loss = tf.reduce_sum(z)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", "helper of another function, found by reading it", op="StopGradient")
def in_a_function_called(Tape):
    w = variable(4, 1)

    def normalise(y):
        spread = tf.math.reduce_std(y)
        return tf.stop_gradient(y / spread)  # <--

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(normalise(X @ w))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", loss inside a tf.function", op="ArgMax")
def in_an_inner_function(Tape):
    w = variable(4, 3)

    @tf.function
    def score(x):
        return tf.cast(tf.argmax(x @ w, axis=1), tf.float32)  # <--

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(score(tf.constant(X)))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", tf.cond in a loss", op="StopGradient")
def in_both_branches(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
            if tf.reduce_sum(tf.constant(X)) > 0.0:
                z = tf.stop_gradient(y)  # <--
            else:
                z = tf.stop_gradient(2.0 * y)  # <--
            loss = tf.reduce_sum(z)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", KERAS_ISSUE + "19246, a layer that rounds", op="Round")
def in_a_keras_layer(Tape):
    import keras

    class Quantise(keras.layers.Layer):
        def call(self, x):
            x = keras.ops.relu(x)
            return keras.ops.round(x)  # <--

    dense, quantise = keras.layers.Dense(3), Quantise()
    quantise(dense(X))

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(quantise(dense(X)))
        return tape.gradient(loss, [dense.kernel])

    return step


@CASES("blocked", STACK + ", mask from a learned gate", op="Greater")
def boolean_mask(Tape):
    gate = variable(2, 4)

    def step():
        with Tape() as tape:
            kept = tf.boolean_mask(tf.constant(X), gate > 0.0)  # <--
            loss = tf.reduce_sum(kept)
        return tape.gradient(loss, [gate])

    return step


@CASES("blocked", STACK + ", sort order as a loss", op="TopKV2")
def ranking_by_argsort(Tape):
    w = variable(4, 4)

    def step():
        with Tape() as tape:
            order = tf.argsort(X @ w)  # <--
            loss = tf.reduce_sum(tf.gather(tf.constant(X), order, batch_dims=1))
        return tape.gradient(loss, [w])

    return step


# Integer -------------------------------------------------------------------------------


@CASES("integer", GUIDE + ", 3. Took gradients through an integer")
def integer_source(Tape):
    def step():
        x = tf.constant(10)
        with Tape() as tape:
            tape.watch(x)
            y = x * x  # <--
        return tape.gradient(y, x)

    return step


@CASES("integer", STACK + ", variable made of Python integers")
def integer_variable(Tape):
    x = tf.Variable([1, 2, 3, 4])

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(X * tf.cast(x, tf.float32))  # <--
        return tape.gradient(loss, [x])

    return step


@CASES("integer", STACK + ", learned position used as an index", op="Cast")
def index_from_a_float(Tape):
    position, table = variable(2), variable(5, 4)

    def step():
        with Tape() as tape:
            index = tf.cast(tf.sigmoid(position) * 4.0, tf.int32)  # <--
            loss = tf.reduce_sum(tf.gather(table, index))
        return tape.gradient(loss, [position])

    return step


@CASES("integer", STACK + ", target cast to int before the loss", op="Cast")
def cast_on_the_way(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            pixels = tf.cast(255.0 * tf.sigmoid(X @ w), tf.int32)  # <--
            loss = tf.reduce_mean(tf.cast(pixels, tf.float32) / 255.0)
        return tape.gradient(loss, [w])

    return step


@CASES("integer", KERAS_ISSUE + "12532, floats into an Embedding", op="Cast")
def floats_into_an_embedding(Tape):
    import keras

    w = variable(4, 2)
    embedding = keras.layers.Embedding(100, 3)
    embedding(np.zeros([2, 2], np.int32))

    def step():
        with Tape() as tape:
            codes = tf.abs(X @ w)
            loss = tf.reduce_sum(embedding(codes))  # <--
        return tape.gradient(loss, [w])

    return step


# State ---------------------------------------------------------------------------------


@CASES("state", GUIDE + ", 4. Took gradients through a stateful object", op="AssignAddVariableOp")
def stateful_object(Tape):
    x0, x1 = tf.Variable(3.0), tf.Variable(0.0)

    def step():
        with Tape() as tape:
            x1.assign_add(x0)  # <--
            y = x1**2
        return tape.gradient(y, x0)

    return step


@CASES("state", STACK + ", a Keras metric as the loss")
def metric_as_loss(Tape):
    import keras

    w = variable(4, 1)
    metric = keras.metrics.Mean()
    metric.update_state([0.0])

    def step():
        with Tape() as tape:
            metric.update_state(tf.square(X @ w))  # <--
            loss = metric.result()
        return tape.gradient(loss, [w])

    return step


# Not watched ---------------------------------------------------------------------------


@CASES("not_watched", GUIDE + ", Controlling what the tape watches")
def plain_tensor(Tape):
    x = tf.constant(3.0)

    def step():
        with Tape() as tape:
            y = x**2  # <--
        return tape.gradient(y, x)

    return step


@CASES("not_watched", GUIDE + ", Controlling what the tape watches, trainable=False")
def not_trainable(Tape):
    w = variable(4, 1, trainable=False)

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(X @ w)  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("not_watched", GUIDE + ", watch_accessed_variables=False")
def watching_switched_off(Tape):
    a, b = variable(4, 1), variable(4, 1)

    def step():
        with Tape(watch_accessed_variables=False) as tape:
            tape.watch(b)
            hidden = X @ a  # <--
            loss = tf.reduce_sum(hidden + X @ b)
        return tape.gradient(loss, [a, b])

    return step


@CASES("not_watched", TF_ISSUE + "26404, moving statistics among model.variables")
def moving_statistics(Tape):
    import keras

    norm = keras.layers.BatchNormalization()
    norm(X)

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(norm(X, training=False))  # <--
        return tape.gradient(loss, [norm.moving_mean])

    return step


# Outside the tape ----------------------------------------------------------------------


@CASES("outside_tape", STACK + ", forward pass above the with")
def forward_before_the_tape(Tape):
    w = variable(4, 1)

    def step():
        y = X @ w  # <--
        with Tape() as tape:
            loss = tf.reduce_mean(y * y)
        return tape.gradient(loss, [w])

    return step


@CASES("outside_tape", TF_ISSUE + "26404, loss below the with")
def loss_after_the_tape(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
        loss = tf.reduce_mean(tf.square(y))  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("outside_tape", STACK + ", fake images made outside the tape")
def keras_forward_before_the_tape(Tape):
    import keras

    generator, critic = keras.layers.Dense(4), keras.layers.Dense(1)
    critic(generator(X))

    def step():
        fake = generator(X)  # <--
        with Tape() as tape:
            loss = -tf.reduce_mean(critic(fake))
        return tape.gradient(loss, [generator.kernel])

    return step


@CASES("outside_tape", STACK + ", two tapes mixed up")
def on_another_tape(Tape):
    w = variable(4, 1)

    def step():
        with tf.GradientTape() as other:
            y = X @ w  # <--
        with Tape() as tape:
            loss = tf.reduce_sum(y)
        return tape.gradient(loss, [w])

    return step


# Stopped -------------------------------------------------------------------------------


@CASES("stopped", GUIDE + ", Stop recording")
def inside_stop_recording(Tape):
    x = tf.Variable(2.0)

    def step():
        with Tape() as tape:
            y = x * x
            with tape.stop_recording():  # <--
                z = tf.sqrt(y)
            loss = z * 3.0
        return tape.gradient(loss, x)

    return step


@CASES("stopped", GUIDE + ", Reset")
def before_a_reset(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
            tape.reset()  # <--
            loss = tf.reduce_sum(y)
        return tape.gradient(loss, [w])

    return step


# Unused --------------------------------------------------------------------------------


@CASES("unused", TF_ISSUE + "24849, variable not in the expression")
def not_in_the_expression(Tape):
    x, y = tf.Variable(2.0), tf.Variable(3.0)

    def step():
        with Tape() as tape:
            z = y * y  # <--
        return tape.gradient(z, x)

    return step


@CASES("unused", STACK + ", the head of another task")
def head_of_another_task(Tape):
    trunk, head_a, head_b = variable(4, 4), variable(4, 1), variable(4, 1)

    def step():
        with Tape(persistent=True) as tape:
            hidden = tf.nn.relu(X @ trunk)
            loss_a = tf.reduce_mean(hidden @ head_a)  # <--
            loss_b = tf.reduce_mean(hidden @ head_b)
        tape.gradient(loss_b, [head_b])
        return tape.gradient(loss_a, [head_b, trunk])

    return step


@CASES("unused", STACK + ", residual branch computed and dropped")
def branch_dropped(Tape):
    import keras

    blocks = [keras.layers.Dense(4) for _ in range(3)]
    for block in blocks:
        block(X)

    def step():
        with Tape() as tape:
            hidden = tf.constant(X)
            for number, block in enumerate(blocks):
                out = block(hidden)
                if number != 1:
                    hidden = hidden + out
            loss = tf.reduce_mean(hidden)  # <--
        return tape.gradient(loss, [blocks[1].kernel])

    return step


@CASES("unused", STACK + ", a copy of the model was trained")
def clone_is_used(Tape):
    import keras

    model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])
    model(X)
    clone = keras.models.clone_model(model)
    clone(X)

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean(clone(X))  # <--
        return tape.gradient(loss, [model.trainable_variables[0]])

    return step
