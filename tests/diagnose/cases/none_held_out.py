"""More programs whose gradient is None: no rule was built with these, so they tell how far it goes.

What is expected was written down before they were first run.
"""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, F841, RUF015, RUF100, SIM117

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tests.diagnose.cases.none_case import Cases

CASES = Cases()
GUIDE = "TensorFlow guide"
STACK = "Stack Overflow"
FORUM = "discuss.tensorflow.org"
TF_ISSUE = "github.com/tensorflow/tensorflow/issues/"
KERAS_ISSUE = "github.com/keras-team/keras/issues/"

X = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]], np.float32)


def variable(*shape, name=None, **options):
    values = np.linspace(-0.9, 1.1, int(np.prod(shape)), dtype=np.float32)
    return tf.Variable(values.reshape(shape), name=name, **options)


# Overwritten ---------------------------------------------------------------------------


@CASES("overwritten", STACK + ", x = x - lr * grad in a loop", modes="e", first=1)
def gradient_descent_rebinds(Tape):
    def step():
        x = tf.Variable([5.0, 3.0])
        gradient = None
        for _ in range(3):
            with Tape() as tape:
                y = tf.reduce_sum(x**2)
            gradient = tape.gradient(y, x)
            if gradient is None:
                break
            x = x - 0.1 * gradient  # <--
        return gradient

    return step


@CASES("overwritten", STACK + ", clipped weights put back by assignment")
def weights_clipped_in_place(Tape):
    class Critic(tf.Module):
        def __init__(self):
            super().__init__()
            self.kernel = variable(4, 1)
            self.bias = variable(1)

        def __call__(self, x):
            return x @ self.kernel + self.bias

        def clip(self):
            self.kernel = tf.clip_by_value(self.kernel, -0.5, 0.5)  # <--

    critic = Critic()
    critic.clip()

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean(critic(X))
        return tape.gradient(loss, [critic.kernel, critic.bias])

    return step


# Blocked -------------------------------------------------------------------------------


@CASES("blocked", STACK + ", scipy or scikit-learn in a loss", modes="e")
def numpy_array_of_predictions(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            predicted = tf.sigmoid(X @ w)
            values = np.asarray(predicted)  # <--
            loss = tf.reduce_mean((values - 1.0) ** 2)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", model.predict inside the tape", modes="e")
def predict_inside_the_tape(Tape):
    import keras

    model = keras.Sequential([keras.layers.Dense(1)])
    model(X)

    def step():
        with Tape() as tape:
            predicted = model.predict(X, verbose=0)  # <--
            loss = tf.reduce_mean(tf.square(predicted - 1.0))
        return tape.gradient(loss, model.trainable_variables)

    return step


@CASES("blocked", STACK + ", list of Python floats", modes="e")
def losses_gathered_as_floats(Tape):
    w = variable(3)

    def step():
        with Tape() as tape:
            parts = [float(part) for part in w * 2.0]  # <--
            loss = tf.add_n([tf.constant(part) for part in parts])
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", item() for logging used again", modes="e")
def weight_taken_as_a_number(Tape):
    w, temperature = variable(4, 1), variable()

    def step():
        with Tape() as tape:
            t = temperature.numpy().item()  # <--
            loss = tf.reduce_mean(tf.nn.softmax(X @ w / t))
        return tape.gradient(loss, [temperature, w])

    return step


@CASES("blocked", "wrong order of a straight-through estimator", op="StopGradient")
def straight_through_the_wrong_way(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
            hard = tf.cast(y > 0.0, tf.float32)
            z = tf.stop_gradient(y + hard - y)  # <--
            loss = tf.reduce_sum(z)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", dice loss with a hard mask", op="GreaterEqual")
def dice_with_a_hard_mask(Tape):
    import keras

    network = keras.Sequential([keras.layers.Dense(4, activation="sigmoid")])
    network(X)
    masks = tf.constant([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])

    def dice(y_true, y_pred):
        y_pred = tf.where(y_pred >= 0.5, 1.0, 0.0)  # <--
        overlap = tf.reduce_sum(y_true * y_pred)
        return 1.0 - 2.0 * overlap / (tf.reduce_sum(y_true) + tf.reduce_sum(y_pred))

    def step():
        with Tape() as tape:
            loss = dice(masks, network(X))
        return tape.gradient(loss, network.trainable_variables)

    return step


@CASES("blocked", STACK + ", greedy decoding in the training loop", op="ArgMax")
def greedy_decoding(Tape):
    import keras

    cell, embedding = keras.layers.LSTM(5, return_sequences=True), keras.layers.Embedding(5, 3)
    sequence = np.ones([2, 3, 4], np.float32)
    embedding(np.zeros([2, 3], np.int32))
    cell(sequence)

    def step():
        with Tape() as tape:
            hidden = cell(sequence)
            tokens = tf.argmax(hidden, -1)  # <--
            loss = tf.reduce_sum(embedding(tokens))
        return tape.gradient(loss, [cell.trainable_variables[0]])

    return step


@CASES("blocked", STACK + ", learned loop count", op="Less", modes="g")
def decides_how_often_a_loop_runs(Tape):
    count, w = variable(), variable(4, 1)

    def step():
        with Tape() as tape:
            if count < 3.0:  # <--
                loss = tf.reduce_sum(X @ w)
            else:
                loss = tf.reduce_sum(X @ w) * 2.0
        return tape.gradient(loss, [count])

    return step


@CASES("blocked", STACK + ", if on a tensor", modes="e")
def decides_a_python_branch(Tape):
    gate, w = variable(), variable(4, 1)

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(X @ w)
            if gate > -3.0:  # <--
                loss = loss * 2.0
        return tape.gradient(loss, [gate])

    return step


@CASES("blocked", STACK + ", floor of a coordinate", op="Floor")
def floor_in_a_sampler(Tape):
    shift = variable(2)

    def step():
        with Tape() as tape:
            corner = tf.floor(shift * 3.0)  # <--
            loss = tf.reduce_sum((corner + 0.5) ** 2)
        return tape.gradient(loss, [shift])

    return step


@CASES("blocked", STACK + ", integer division of tensors", op="FloorDiv")
def floor_division(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            bins = (X @ w) // 0.5  # <--
            loss = tf.reduce_sum(bins)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", histogram loss", op="HistogramFixedWidth")
def histogram_loss(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            counts = tf.histogram_fixed_width(X @ w, [0.0, 10.0], nbins=5)  # <--
            loss = tf.reduce_sum(tf.cast(counts, tf.float32) * tf.range(5.0))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", non-maximum suppression in a detector loss")
def boxes_kept_by_suppression(Tape):
    scores = variable(2)
    boxes = tf.constant([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]])

    def step():
        with Tape() as tape:
            kept = tf.image.non_max_suppression(boxes, tf.sigmoid(scores), 2)  # <--
            loss = tf.reduce_sum(tf.gather(boxes, kept))
        return tape.gradient(loss, [scores])

    return step


@CASES("blocked", KERAS_ISSUE + "19333, Lambda layer with stop_gradient", op="StopGradient")
def in_a_functional_model(Tape):
    import keras

    inputs = keras.Input((4,))
    dense = keras.layers.Dense(3)
    hidden = keras.layers.Lambda(lambda t: keras.ops.stop_gradient(t))(dense(inputs))  # <--
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean(model(X))
        return tape.gradient(loss, [dense.kernel])

    return step


@CASES("blocked", STACK + ", two levels of tf.function, one compiled", op="Round")
def in_a_compiled_inner_function(Tape):
    w = variable(4, 1)

    @tf.function(jit_compile=True)
    def quantise(a):
        return tf.round(a * 4.0) / 4.0  # <--

    @tf.function
    def encode(a):
        return quantise(tf.tanh(a))

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(encode(X @ w))
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", STACK + ", vectorized_map", op="StopGradient")
def in_a_vectorized_map(Tape):
    w = variable(4, 3)

    def step():
        with Tape() as tape:
            rows = X @ w
            z = tf.vectorized_map(lambda row: tf.stop_gradient(row) * 2.0, rows)  # <--
            loss = tf.reduce_sum(z)
        return tape.gradient(loss, [w])

    return step


@CASES("blocked", "custom gradient that uses a variable and forgets it", op="project")
def custom_gradient_forgets_a_variable(Tape):
    w = variable(4, 1)

    @tf.custom_gradient
    def project(x):
        def grad(dy, variables=None):
            return dy @ tf.transpose(variables[0]), [None]

        return x @ w, grad

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(project(tf.constant(X)))  # <--
        return tape.gradient(loss, [w])

    return step


# Integer -------------------------------------------------------------------------------


@CASES("integer", STACK + ", arguments of a sparse loss swapped", op="Cast")
def swapped_arguments(Tape):
    import keras

    w = variable(4, 1)
    probabilities = tf.constant([[0.2, 0.8], [0.5, 0.5]])
    loss_fn = keras.losses.SparseCategoricalCrossentropy()

    def step():
        with Tape() as tape:
            predicted = tf.sigmoid(X @ w)[:, 0]
            loss = loss_fn(predicted, probabilities)  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("integer", STACK + ", loss of type int", op="Cast")
def integer_loss(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(tf.cast(X @ w, tf.int64))  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("integer", GUIDE + ", strings are not differentiable", op="AsString")
def through_strings(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            texts = tf.strings.as_string(X @ w)  # <--
            loss = tf.reduce_sum(tf.strings.to_number(texts))
        return tape.gradient(loss, [w])

    return step


@CASES("integer", STACK + ", cast to bool as a mask", op="Cast")
def cast_to_bool(Tape):
    w = variable(4, 4)

    def step():
        with Tape() as tape:
            on = tf.cast(tf.nn.relu(X @ w), tf.bool)  # <--
            loss = tf.reduce_sum(tf.where(on, X, 0.0))
        return tape.gradient(loss, [w])

    return step


@CASES("integer", STACK + ", optimizer.iterations among the sources", variable="iteration")
def optimizer_iterations(Tape):
    import keras

    w = variable(4, 1)
    optimizer = keras.optimizers.SGD()
    optimizer.build([w])

    def step():
        with Tape() as tape:
            rate = tf.cast(optimizer.iterations, tf.float32)  # <--
            loss = tf.reduce_sum(X @ w) * rate
        return tape.gradient(loss, [optimizer.iterations])

    return step


# State ---------------------------------------------------------------------------------


@CASES("state", STACK + ", target network updated before the tape")
def target_network(Tape):
    online, target = variable(4, 1), variable(4, 1, trainable=False)

    def step():
        target.assign(0.9 * target + 0.1 * online)  # <--
        with Tape() as tape:
            loss = tf.reduce_sum(X @ target)
        return tape.gradient(loss, [online])

    return step


@CASES("state", STACK + ", recurrent state kept in a variable")
def recurrent_state(Tape):
    w, u = variable(4, 2), variable(2, 1)
    memory = variable(2, 2, trainable=False)

    def step():
        with Tape() as tape:
            memory.assign(tf.tanh(X @ w))  # <--
            loss = tf.reduce_mean(memory @ u)
        return tape.gradient(loss, [w, u])

    return step


@CASES("state", STACK + ", replay buffer written with scatter_nd_update")
def memory_bank(Tape):
    w = variable(4, 4)
    bank = tf.Variable(tf.zeros([3, 2, 4]), trainable=False)

    def step():
        with Tape() as tape:
            y = X @ w
            bank.scatter_nd_update([[1]], y[None])  # <--
            loss = tf.reduce_sum(bank)
        return tape.gradient(loss, [w])

    return step


@CASES("state", KERAS_ISSUE + ", metric object called as a loss")
def metric_called_as_loss(Tape):
    import keras

    dense = keras.layers.Dense(4)
    metric = keras.metrics.MeanSquaredError()
    metric(X, dense(X))

    def step():
        with Tape() as tape:
            loss = metric(X, dense(X))  # <--
        return tape.gradient(loss, dense.trainable_variables)

    return step


# Not watched ---------------------------------------------------------------------------


@CASES("not_watched", STACK + ", saliency map without watch")
def saliency_without_watch(Tape):
    import keras

    model = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    image = tf.constant(X)
    model(image)

    def step():
        with Tape() as tape:
            scores = model(image)  # <--
            top = tf.reduce_max(scores, axis=1)
        return tape.gradient(top, image)

    return step


@CASES("not_watched", STACK + ", gradient penalty without watch")
def penalty_without_watch(Tape):
    critic = variable(4, 1)

    def step():
        mixed = tf.constant(X) * 0.5
        with Tape() as tape:
            score = tf.tanh(mixed @ critic)  # <--
        return tape.gradient(score, [mixed])

    return step


@CASES("not_watched", KERAS_ISSUE + ", add_weight(trainable=False)")
def layer_weight_not_trainable(Tape):
    import keras

    class Scale(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(4,), trainable=False, name="scale")

        def call(self, x):
            return x * self.scale  # <--

    layer = Scale()
    layer(X)

    def step():
        with Tape() as tape:
            loss = tf.reduce_sum(layer(X))
        return tape.gradient(loss, [layer.scale])

    return step


# Outside the tape ----------------------------------------------------------------------


@CASES("outside_tape", TF_ISSUE + "26404, loss function called below the with")
def keras_loss_after_the_tape(Tape):
    import keras

    dense = keras.layers.Dense(1)
    dense(X)
    loss_fn = keras.losses.MeanSquaredError()

    def step():
        with Tape() as tape:
            predicted = dense(X)
        loss = loss_fn(tf.ones([2, 1]), predicted)  # <--
        return tape.gradient(loss, dense.trainable_variables)

    return step


@CASES("outside_tape", STACK + ", weights read once for all steps")
def read_before_the_tape(Tape):
    w = variable(4, 1)

    def step():
        kernel = w * 1.0  # <--
        with Tape() as tape:
            loss = tf.reduce_sum(X @ kernel)
        return tape.gradient(loss, [w])

    return step


@CASES("outside_tape", "WGAN-GP, inner gradient taken below the outer tape")
def penalty_below_the_outer_tape(Tape):
    critic = variable(4, 1)

    def step():
        x = tf.constant(X)
        with Tape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                score = tf.reduce_sum(tf.tanh(x @ critic))
        slope = inner.gradient(score, x)  # <--
        penalty = tf.reduce_sum(slope**2)
        return outer.gradient(penalty, [critic])

    return step


@CASES("outside_tape", STACK + ", one of two losses is below the tape")
def second_loss_after_the_tape(Tape):
    a, b = variable(4, 1), variable(4, 1)

    def step():
        with Tape(persistent=True) as tape:
            first, second = X @ a, X @ b
            loss_a = tf.reduce_mean(first**2)
        loss_b = tf.reduce_mean(second**2)  # <--
        tape.gradient(loss_a, [a])
        return tape.gradient(loss_b, [b])

    return step


# Stopped -------------------------------------------------------------------------------


@CASES("stopped", "features of a model kept off the tape")
def submodel_in_stop_recording(Tape):
    import keras

    encoder, head = keras.layers.Dense(4), keras.layers.Dense(1)
    head(encoder(X))

    def step():
        with Tape() as tape:
            with tape.stop_recording():  # <--
                features = encoder(X)
            loss = tf.reduce_mean(head(features))
        return tape.gradient(loss, encoder.trainable_variables)

    return step


@CASES("stopped", GUIDE + ", reset in a loop")
def reset_after_the_forward_pass(Tape):
    w = variable(4, 1)

    def step():
        with Tape(persistent=True) as tape:
            hidden = tf.nn.relu(X @ w)
            scaled = hidden * 2.0
            tape.reset()  # <--
            loss = tf.reduce_sum(scaled**2)
        return tape.gradient(loss, [w])

    return step


# Unused --------------------------------------------------------------------------------


@CASES("unused", STACK + ", only the regularisation loss was differentiated")
def only_the_regulariser(Tape):
    import keras

    first, second = keras.layers.Dense(4, kernel_regularizer="l2"), keras.layers.Dense(1)
    model = keras.Sequential([first, second])
    model(X)

    def step():
        with Tape() as tape:
            model(X)
            loss = tf.add_n(model.losses)  # <--
        return tape.gradient(loss, [second.kernel, first.kernel])

    return step


@CASES("unused", TF_ISSUE + "56968, loss is a constant")
def constant_loss(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as tape:
            y = X @ w
            loss = tf.constant(4.4328732) * 1.0  # <--
        return tape.gradient(loss, [w])

    return step


@CASES("unused", STACK + ", a layer made in __init__ and not called")
def layer_never_called(Tape):
    import keras

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = keras.layers.Dense(4), keras.layers.Dense(4)
            self.out = keras.layers.Dense(1)

        def build(self, shape):
            for layer in (self.a, self.b, self.out):
                layer.build((None, 4))

        def call(self, x):
            return self.out(self.a(x))

    model = Model()
    model(X)

    def step():
        with Tape() as tape:
            loss = tf.reduce_mean(model(X) ** 2)  # <--
        return tape.gradient(loss, [model.b.kernel, model.a.kernel])

    return step


@CASES("unused", STACK + ", second derivative of something linear")
def second_derivative_of_a_line(Tape):
    w = variable(4, 1)

    def step():
        with Tape() as outer:
            with tf.GradientTape() as inner:
                y = tf.reduce_sum(X @ w)
            g = inner.gradient(y, w)  # <--
        return outer.gradient(g, [w])

    return step


@CASES("unused", FORUM + "/t/20305, losses of the outputs mixed up")
def wrong_output_differentiated(Tape):
    heads = [variable(4, 1) for _ in range(3)]

    def step():
        with Tape(persistent=True) as tape:
            outputs = [X @ head for head in heads]
            losses = [tf.reduce_mean(out**2) for out in outputs]  # <--
        return tape.gradient(losses[0], [heads[2]])

    return step
