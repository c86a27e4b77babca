"""Small trainings with Keras optimizers, with and without GradScope."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs

MODES = ["eager", "graph", "jit"]
GRAPHS = ["eager", "graph"]  # where nothing differs under XLA
STEPS = 8

_random = np.random.default_rng(0)
INPUTS = _random.normal(size=(STEPS, 4, 5)).astype(np.float32)
LABELS = _random.integers(0, 3, (STEPS, 4))


def make_model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.layers.Input((5,)),
            keras.layers.Dense(6, activation="tanh", name="hidden"),
            keras.layers.Dense(3, name="out"),
        ]
    )


def loss_of(model, inputs, labels):
    logits = model(inputs)
    return tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    )


def in_mode(mode, step):
    if mode == "eager":
        return step
    return tf.function(step, jit_compile=mode == "jit")


def train(optimizer, mode, tape=tf.GradientTape, steps=STEPS, scale=1.0, before=None):
    """Trains a model by hand and returns it.

    Args:
      optimizer: applied to all gradients.
      mode: one of `MODES`.
      tape: class of the tape.
      steps: how many.
      scale: a number that the loss is multiplied by, or one for each step.
      before: called with the gradients, the variables and the step before each update.
    """
    model = make_model()
    variables = model.trainable_variables
    optimizer.build(variables)

    def step(inputs, labels, factor):
        with tape() as recording:
            loss = loss_of(model, inputs, labels) * factor
            scaled = optimizer.scale_loss(loss)
        gradients = recording.gradient(scaled, variables)
        if before is not None:
            before(gradients, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    run = in_mode(mode, step)
    factors = np.broadcast_to(np.float32(scale), (steps,))
    for index in range(steps):
        run(
            tf.constant(INPUTS[index % STEPS]),
            tf.constant(LABELS[index % STEPS]),
            tf.constant(factors[index]),
        )
    return model


def state(model, optimizer):
    """All numbers that training has changed."""
    return [variable.numpy() for variable in [*model.trainable_variables, *optimizer.variables]]


def assert_same(one, other):
    """The same to the last bit."""
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def watch(make, **arguments):
    return gs.watch_optimizer(make(), **arguments)
