"""Agents, equations of physics, learning to learn."""

# The programs are wrong on purpose, and written as people write them.
# ruff: noqa: B007, B023, B905, E501, E731, F841, RUF015, RUF059, RUF100, SIM117

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.diagnose.cases.fourth.shared import CLASSES, STACK, TF_ISSUE, X, Y, mlp
from tests.diagnose.cases.none_program import Programs

CASES = Programs()


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
