"""Whole little training programs whose gradient is None, with the right answer.

Written after the rules stood, and harder: helpers, classes, other steps than the first.
What is expected was written down before they were first run.
"""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, F841, RUF015, RUF100, SIM117

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.diagnose.cases.none_case import Cases

CASES = Cases()
STACK = "Stack Overflow"
TF_ISSUE = "github.com/tensorflow/tensorflow/issues/"
KERAS_ISSUE = "github.com/keras-team/keras/issues/"

X = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)
Y = np.array([[1.0], [0.0]], np.float32)


def variable(*shape, name=None, **options):
    values = np.linspace(-0.8, 1.2, int(np.prod(shape)), dtype=np.float32)
    return tf.Variable(values.reshape(shape), name=name, **options)


@CASES(
    "overwritten",
    STACK + ", list of parameters made before the loop",
    modes="e",
    variable="w",
    first=1,
)
def names_rebound_list_kept(Tape):
    def step():
        w = tf.Variable(np.ones([4, 1], np.float32))
        b = tf.Variable(np.zeros([1], np.float32))
        parameters = [w, b]
        gradients = None
        for _ in range(3):
            with Tape() as tape:
                loss = tf.reduce_mean((X @ w + b - Y) ** 2)
            gradients = tape.gradient(loss, parameters)
            if gradients[0] is None:
                break
            w = w - 0.01 * gradients[0]  # <--
            b = b - 0.01 * gradients[1]
        return gradients

    return step


@CASES("overwritten", STACK + ", weights of a class updated by assignment", modes="e", first=1)
def attribute_rebound_while_training(Tape):
    class Linear:
        def __init__(self):
            self.w = variable(4, 1)

        def __call__(self, x):
            return tf.matmul(x, self.w)

    def step():
        model = Linear()
        gradient = None
        for _ in range(2):
            with Tape() as tape:
                loss = tf.reduce_mean((model(X) - Y) ** 2)
            gradient = tape.gradient(loss, model.w)
            if gradient is None:
                break
            model.w = model.w - 0.1 * gradient  # <--
        return gradient

    return step


@CASES(
    "overwritten",
    KERAS_ISSUE + "18525, a layer overwrites its own weight in call",
    modes="e",
    variable="kernel",
    first=1,
)
def layer_overwrites_its_weight(Tape):
    import keras

    class Masked(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(4, 2), name="kernel")
            self.mask = np.ones([4, 2], np.float32)

        def call(self, x):
            self.kernel = self.kernel * self.mask  # <--
            return tf.matmul(x, self.kernel)

    def step():
        layer = Masked()
        layer.build((None, 4))
        variables, gradients = list(layer.trainable_variables), None
        for _ in range(3):
            with Tape() as tape:
                loss = tf.reduce_mean(layer(X) ** 2)
            gradients = tape.gradient(loss, variables)
        return gradients

    return step


@CASES(
    "overwritten",
    STACK + ", variables named otherwise than their names",
    modes="e",
    variable="kernel",
    first=1,
)
def named_variables_rebound(Tape):
    def step():
        W = tf.Variable(np.ones([4, 1], np.float32), name="kernel")
        trainable, gradients = [W], None
        for _ in range(3):
            with Tape() as tape:
                loss = tf.reduce_mean((tf.matmul(X, W) - Y) ** 2)
            gradients = tape.gradient(loss, trainable)
            if gradients[0] is None:
                break
            W = W - 0.1 * gradients[0]  # <--
        return gradients

    return step


@CASES("blocked", STACK + ", a helper turns tensors into arrays", modes="e")
def helper_to_numpy(Tape):
    w = variable(4, 1)

    def to_numpy(tensor):
        return tensor.numpy()  # <--

    def mse(a, b):
        return ((a - b) ** 2).mean()

    def step():
        with Tape() as tape:
            predicted = tf.matmul(X, w)
            loss = tf.constant(mse(to_numpy(predicted), Y))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", loss function written with NumPy", modes="e")
def numpy_loss_function(Tape):
    w = variable(4, 1)

    def rmse(y_true, y_pred):
        return np.sqrt(np.mean(np.square(y_true - y_pred)))  # <--

    def step():
        with Tape() as tape:
            predicted = tf.matmul(X, w)
            loss = tf.convert_to_tensor(rmse(Y, predicted))
        return tape.gradient(loss, [w])

    return step


@CASES("unused", STACK + ", logged only, must not be blamed", modes="e")
def logging_is_no_cause(Tape):
    a, b = variable(4, 1), variable(4, 1)

    def step():
        with Tape() as tape:
            first = tf.reduce_mean(tf.matmul(X, a) ** 2)
            second = tf.reduce_mean(tf.matmul(X, b) ** 2)
            print(f"second {float(second):.3f}", end="\r")
            history = [second.numpy()]
            loss = first * 2.0  # <--
        return tape.gradient(loss, [b, a])

    return step


@CASES("unused", STACK + ", NaN check must not be blamed", modes="e")
def nan_check_is_no_cause(Tape):
    a, b = variable(4, 1), variable(4, 1)

    def step():
        with Tape() as tape:
            first = tf.reduce_mean(tf.matmul(X, a) ** 2)
            second = tf.reduce_mean(tf.matmul(X, b) ** 2)
            if tf.math.is_nan(second):
                raise ValueError("second is NaN")
            loss = first + 1.0  # <--
        return tape.gradient(loss, [b, a])

    return step


@CASES("blocked", STACK + ", top-k accuracy as a loss", op="InTopKV2")
def in_top_k(Tape):
    w = variable(4, 3)

    def step():
        with Tape() as tape:
            hits = tf.math.in_top_k([1, 2], tf.matmul(X, w), k=1)  # <--
            loss = 1.0 - tf.reduce_mean(tf.cast(hits, tf.float32))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", features frozen by hand", op="StopGradient")
def frozen_features(Tape):
    import keras

    encoder, head = keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)
    head(encoder(X))

    def step():
        with Tape() as tape:
            features = tf.stop_gradient(encoder(X))  # <--
            loss = tf.reduce_mean((head(features) - Y) ** 2)
        return tape.gradient(loss, encoder.trainable_variables + head.trainable_variables)

    return step


@CASES("blocked", STACK + ", Gumbel sample made hard", op="ArgMax")
def hard_gumbel_softmax(Tape):
    import keras

    class Selector(keras.Model):
        def __init__(self):
            super().__init__()
            self.scores = keras.layers.Dense(4)
            self.out = keras.layers.Dense(1)

        def select(self, logits):
            noise = tf.random.uniform(tf.shape(logits), 1e-3, 1.0)
            noisy = (logits - tf.math.log(-tf.math.log(noise + 1e-6))) / 0.5
            return tf.one_hot(tf.argmax(noisy, axis=-1), 4)  # <--

        def call(self, x):
            return self.out(self.select(self.scores(x)) * x)

    model = Selector()
    model(X)

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean((model(X) - Y) ** 2)
        return tape.gradient(loss, [model.scores.kernel, model.out.kernel])

    return step


@CASES("not_watched", TF_ISSUE + "51542, watch comes after the use")
def watched_too_late(Tape):
    def step():
        x = tf.constant(X)
        with Tape() as tape:
            y = tf.tanh(x)  # <--
            tape.watch(x)
            loss = tf.reduce_sum(y)
        return tape.gradient(loss, [x])

    return step


@CASES("outside_tape", STACK + ", empty with block")
def all_above_the_tape(Tape):
    w = variable(4, 1)

    def step():
        predicted = tf.matmul(X, w)  # <--
        loss = tf.reduce_mean((predicted - Y) ** 2)
        with Tape() as tape:
            tape.watch(w)
        return tape.gradient(loss, [w])

    return step


@CASES("outside_tape", STACK + ", loss computed in a method after the with")
def class_with_loss_outside(Tape):
    import keras

    class Trainer:
        def __init__(self):
            self.model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])
            self.model(X)

        def loss(self, y_true, y_pred):
            return tf.reduce_mean(tf.square(y_true - y_pred))  # <--

        def step(self):
            with Tape() as tape:
                predicted = self.model(X, training=True)
            loss = self.loss(Y, predicted)
            return tape.gradient(loss, self.model.trainable_variables)

    trainer = Trainer()
    return lambda: trainer.step()


@CASES("state", STACK + ", hidden state of a hand-written cell")
def cell_with_state(Tape):
    class Cell(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel, self.recurrent = variable(4, 2), variable(2, 2)
            self.state = variable(2, 2, trainable=False)

        def __call__(self, x):
            hidden = tf.tanh(tf.matmul(x, self.kernel) + tf.matmul(self.state, self.recurrent))
            self.state.assign(hidden)  # <--

    cell = Cell()

    def step():
        with Tape() as tape:
            cell(X)
            loss = tf.reduce_sum(cell.state)
        return tape.gradient(loss, [cell.kernel])

    return step


@CASES("state", STACK + ", moving average network", op="AssignVariableOp")
def moving_average_network(Tape):
    import keras

    student, teacher = keras.layers.Dense(2), keras.layers.Dense(2)
    student(X), teacher(X)

    def step():
        for source, target in zip(student.weights, teacher.weights):
            target.assign(0.99 * target + 0.01 * source)  # <--
        with Tape() as tape:
            loss = tf.reduce_mean(teacher(X) ** 2)
        return tape.gradient(loss, student.trainable_variables)

    return step


@CASES("unused", "a name used again is no cause", modes="e", variable="extra")
def name_used_again(Tape):
    def step():
        spare = tf.Variable(np.ones([4, 1], np.float32), name="extra")
        w = tf.Variable(np.ones([4, 1], np.float32), name="weights")
        kept = [w]
        w = tf.nn.softmax(w, axis=0)
        with Tape() as tape:
            loss = tf.reduce_mean(tf.matmul(X, kept[0]) ** 2)  # <--
        return tape.gradient(loss, [spare, *kept])

    return step


@CASES("unused", STACK + ", optimizer step between two losses is no path")
def after_an_update(Tape):
    a, b = variable(4, 1), variable(4, 1)

    def step():
        with Tape() as first:
            loss_a = tf.reduce_mean((tf.matmul(X, a) + tf.matmul(X, b)) ** 2)
        a.assign_sub(0.1 * first.gradient(loss_a, a))
        with Tape() as second:
            loss_b = tf.reduce_mean(tf.matmul(X, a) ** 2)  # <--
        return second.gradient(loss_b, [b])

    return step


@CASES("unused", STACK + ", pooler of a pretrained network")
def output_not_used(Tape):
    import keras

    inputs = keras.Input((4,))
    trunk = keras.layers.Dense(3, name="trunk")(inputs)
    pooler = keras.layers.Dense(2, name="pooler")
    model = keras.Model(inputs, [trunk, pooler(trunk)])

    def step():
        with Tape() as tape:
            sequence, _ = model(X)
            loss = tf.reduce_mean(sequence**2)  # <--
        return tape.gradient(loss, [pooler.kernel])

    return step


@CASES("integer", STACK + ", probabilities turned into classes", op="Cast")
def classes_from_probabilities(Tape):
    import keras

    dense = keras.layers.Dense(1, activation="sigmoid")
    dense(X)

    def step():
        with Tape() as tape:
            probability = dense(X)
            classes = keras.ops.cast(probability + 0.5, "int32")  # <--
            loss = keras.ops.mean(keras.ops.abs(keras.ops.cast(classes, "float32") - Y))
        return tape.gradient(loss, dense.trainable_variables)

    return step


@CASES("blocked", STACK + ", features through tf.data", modes="e")
def through_a_dataset(Tape):
    w = variable(4, 2)

    def step():
        with Tape() as tape:
            features = tf.matmul(X, w)
            batches = tf.data.Dataset.from_tensor_slices(features).batch(2)
            for batch in batches:  # <--
                loss = tf.reduce_mean(batch**2)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", learned threshold", op="Greater")
def learned_threshold(Tape):
    threshold = variable()

    def step():
        with Tape() as tape:
            mask = tf.cast(tf.constant(X) > threshold, tf.float32)  # <--
            loss = tf.reduce_mean(mask * X)
        return tape.gradient(loss, [threshold])

    return step


@CASES("blocked", STACK + ", number of bins from searchsorted")
def quantised_by_searchsorted(Tape):
    w = variable(4, 1)
    edges = tf.constant([-1.0, 0.0, 1.0])
    centres = variable(4)

    def step():
        with Tape() as tape:
            y = tf.reshape(tf.matmul(X, w), [-1])
            index = tf.searchsorted(edges, y)  # <--
            loss = tf.reduce_sum(tf.gather(centres, index))
        return tape.gradient(loss, [w, centres])

    return step
