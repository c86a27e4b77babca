"""Whole training programs with a missing gradient, as people report them, and the right answer.

Of each a user must be told the cause, the line, the loss, the variables, and how bad it
is. What is expected was written down before they were first run.
"""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import dataclasses
import tempfile

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tb_gradscope as gs
from tests.diagnose.cases.none_program import Programs

CASES = Programs()
TF_ISSUE = "github.com/tensorflow/tensorflow/issues/"
KERAS_ISSUE = "github.com/keras-team/keras/issues/"
STACK = "Stack Overflow"

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(16, 4)).astype(np.float32)
Y = RANDOM.normal(size=(16, 1)).astype(np.float32)
CLASSES = RANDOM.integers(0, 3, 16).astype(np.int32)
BINARY = (RANDOM.random((16, 1)) > 0.5).astype(np.float32)
IMAGES = RANDOM.random((4, 8, 8, 1)).astype(np.float32)


def mlp(outputs, name, activation=None, width=8):
    return keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(width, activation="tanh", name="hidden"),
            layers.Dense(outputs, activation=activation, name="out"),
        ],
        name=name,
    )


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


@CASES(STACK + ", REINFORCE on the sampled action itself", "blocked", ("policy",), op="Multinomial")
def reward_of_a_sampled_action(callbacks):
    policy = mlp(3, "policy")
    optimizer = keras.optimizers.Adam(1e-2)
    rewards = tf.constant([0.0, 1.0, 0.5])

    @tf.function
    def train_step(states):
        with tf.GradientTape() as tape:
            logits = policy(states)
            actions = tf.random.categorical(logits, 1)  # <--
            reward = tf.gather(rewards, tf.squeeze(actions, 1))
            loss = -tf.reduce_mean(reward)
        grads = tape.gradient(loss, policy.trainable_variables)
        optimizer.apply_gradients(zip(grads, policy.trainable_variables))

    for episode in range(3):
        train_step(X)


@CASES(STACK + ", DQN with Q values as arrays", "blocked", ("q_network",))
def q_values_as_arrays(callbacks):
    q_network = mlp(3, "q_network")
    target_network = mlp(3, "target")
    optimizer = keras.optimizers.Adam(1e-3)

    class Agent:
        def act(self, state):
            return int(tf.argmax(q_network(state[None]), axis=1)[0])

        def learn(self, states, actions, rewards, next_states):
            target = rewards + 0.99 * np.max(target_network(next_states).numpy(), axis=1)
            with tf.GradientTape() as tape:
                q_values = q_network(states).numpy()  # <--
                chosen = q_values[np.arange(len(actions)), actions]
                loss = tf.reduce_mean(tf.square(target - chosen))
            grads = tape.gradient(loss, q_network.trainable_variables)
            optimizer.apply_gradients(zip(grads, q_network.trainable_variables))

    agent = Agent()
    for episode in range(2):
        action = agent.act(X[0])
        agent.learn(X, CLASSES, Y[:, 0], X)


@CASES(
    STACK + ", actor of discrete actions in DDPG",
    "blocked",
    ("actor",),
    op="ArgMax",
    loss="actor_loss",
)
def greedy_action_into_the_critic(callbacks):
    actor = mlp(3, "actor")
    critic = keras.Sequential(
        [layers.Input((7,)), layers.Dense(8, activation="relu"), layers.Dense(1)], name="critic"
    )
    actor_optimizer, critic_optimizer = keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3)

    @tf.function
    def learn(states, returns):
        with tf.GradientTape() as tape:
            q = critic(tf.concat([states, tf.one_hot(tf.argmax(actor(states), 1), 3)], 1))
            critic_loss = tf.reduce_mean((q - returns) ** 2)
        grads = tape.gradient(critic_loss, critic.trainable_variables)
        critic_optimizer.apply_gradients(zip(grads, critic.trainable_variables))
        with tf.GradientTape() as tape:
            logits = actor(states)
            actions = tf.one_hot(
                tf.argmax(logits, axis=1),  # <--
                3,
            )
            actor_loss = -tf.reduce_mean(critic(tf.concat([states, actions], 1)))
        grads = tape.gradient(actor_loss, actor.trainable_variables)
        actor_optimizer.apply_gradients(zip(grads, actor.trainable_variables))

    for _ in range(3):
        learn(X, Y)


@CASES(STACK + ", DDPG, target actor in the actor's loss", "unused", ("actor",), loss="actor_loss")
def target_actor_in_the_loss(callbacks):
    actor, target_actor = mlp(2, "actor"), mlp(2, "target_actor")
    target_actor.set_weights(actor.get_weights())
    critic = keras.Sequential(
        [layers.Input((6,)), layers.Dense(8, activation="relu"), layers.Dense(1)], name="critic"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    for _ in range(3):
        with tf.GradientTape() as tape:
            actions = target_actor(X, training=True)
            critic_value = critic(tf.concat([X, actions], axis=1), training=True)
            actor_loss = -tf.math.reduce_mean(critic_value)  # <--
        actor_grad = tape.gradient(actor_loss, actor.trainable_variables)
        optimizer.apply_gradients(zip(actor_grad, actor.trainable_variables))


@CASES(
    TF_ISSUE + "31519, second derivative, inner gradient below the outer tape",
    "outside_tape",
    ("x",),
    loss="u_x",
)
def pinn_gradient_below_the_tape(callbacks):
    model = mlp(1, "u")
    optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def train_step(x):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as outer:
                outer.watch(x)
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    u = model(x)
            u_x = inner.gradient(u, x)  # <--
            u_xx = outer.gradient(u_x, x)
            loss = tf.reduce_mean((u_xx + tf.sin(x)) ** 2)
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))

    train_step(tf.constant(X))


@CASES(STACK + ", PINN, collocation points not watched", "not_watched", ("t",), loss="u")
def pinn_points_not_watched(callbacks):
    net = keras.Sequential(
        [layers.Input((1,)), layers.Dense(8, activation="tanh"), layers.Dense(1)], name="net"
    )
    optimizer = keras.optimizers.Adam(1e-3)

    class Oscillator:
        def __init__(self, points):
            self.t = tf.convert_to_tensor(points, tf.float32)

        def residual(self):
            t = self.t
            with tf.GradientTape() as inner:
                u = net(t)  # <--
            u_t = inner.gradient(u, t)
            return u_t + u

        def train(self):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.residual() ** 2)
            grads = tape.gradient(loss, net.trainable_variables)
            optimizer.apply_gradients(zip(grads, net.trainable_variables))

    Oscillator(np.linspace(0, 1, 8)[:, None]).train()


@CASES(
    STACK + ", PINN, relu has no second derivative, nor has a line", "unused", ("x",), loss="u_x"
)
def pinn_of_a_linear_net(callbacks):
    net = keras.Sequential([layers.Input((4,)), layers.Dense(8), layers.Dense(1)], name="net")

    @tf.function
    def laplacian(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                u = net(x)
            u_x = inner.gradient(u, x)  # <--
        u_xx = outer.gradient(u_x, x)
        return tf.reduce_sum(u_xx, axis=1)

    laplacian(tf.constant(X))


@CASES(STACK + ", MAML with a copy that is assigned", "state", ("learner",), loss="query_loss")
def maml_with_an_assigned_copy(callbacks):
    learner, fast = mlp(1, "learner"), mlp(1, "fast")
    meta_optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def meta_step(support_x, support_y, query_x, query_y):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                support_loss = tf.reduce_mean((learner(support_x) - support_y) ** 2)
            grads = inner.gradient(support_loss, learner.trainable_variables)
            for copy, weight, grad in zip(
                fast.trainable_variables, learner.trainable_variables, grads
            ):
                copy.assign(weight - 0.01 * grad)  # <--
            query_loss = tf.reduce_mean((fast(query_x) - query_y) ** 2)
        meta_grads = outer.gradient(query_loss, learner.trainable_variables)
        meta_optimizer.apply_gradients(zip(meta_grads, learner.trainable_variables))

    for _ in range(2):
        meta_step(X[:8], Y[:8], X[8:], Y[8:])


@CASES(
    STACK + ", MAML with clone_model and set_weights",
    ("unused", "state", "blocked"),
    ("meta",),
    loss="test_loss",
)
def maml_with_set_weights(callbacks):
    model = mlp(1, "meta")
    optimizer = keras.optimizers.Adam(1e-3)

    def copy_model(model):
        copied = keras.models.clone_model(model)
        copied.set_weights(model.get_weights())  # <--
        return copied

    for task in range(2):
        with tf.GradientTape() as test_tape:
            model_copy = copy_model(model)
            with tf.GradientTape() as train_tape:
                train_loss = tf.reduce_mean((model_copy(X[:8]) - Y[:8]) ** 2)
            gradients = train_tape.gradient(train_loss, model_copy.trainable_variables)
            for weight, gradient in zip(model_copy.trainable_variables, gradients):
                weight.assign_sub(0.01 * gradient)
            test_loss = tf.reduce_mean((model_copy(X[8:]) - Y[8:]) ** 2)  # <--
        gradients = test_tape.gradient(test_loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))


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
