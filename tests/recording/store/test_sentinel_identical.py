"""With a sentinel that looks at every step, training is the same to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import Reason

STEPS, ODD = 40, 31


class Model:
    """A table, two dense layers, Adam by hand, and one batch that is a hundred times too large."""

    def __init__(self):
        random = np.random.default_rng(3)

        def weights(*shape):
            return tf.Variable(random.normal(scale=0.3, size=shape).astype(np.float32))

        self.variables = [weights(20, 8), weights(8, 130), weights(130), weights(130, 3)]
        self.moments = [
            (tf.Variable(tf.zeros_like(v)), tf.Variable(tf.zeros_like(v))) for v in self.variables
        ]
        self.words = random.integers(0, 20, [STEPS, 16])
        self.targets = random.normal(size=[STEPS, 16, 3]).astype(np.float32)
        self.targets[ODD] *= 100

    def step(self, tape, words, targets):
        table, first, bias, second = self.variables
        with tape:
            hidden = tf.nn.relu(tf.gather(table, words) @ first + bias)
            loss = tf.reduce_mean((hidden @ second - targets) ** 2)
        gradients = tape.gradient(loss, self.variables)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        for gradient, variable, (mean, square) in zip(
            gradients, self.variables, self.moments, strict=True
        ):
            mean.assign(0.9 * mean + 0.1 * gradient)
            square.assign(0.999 * square + 0.001 * gradient**2)
            variable.assign_sub(0.01 * mean / (tf.sqrt(square) + 1e-6))

    def trained(self, tape_of, options):
        def step(words, targets):
            self.step(tape_of(), words, targets)

        run = step if options is None else tf.function(step, **options)
        for words, targets in zip(self.words, self.targets, strict=True):
            run(tf.constant(words), tf.constant(targets))
        kept = self.variables + [each for pair in self.moments for each in pair]
        return [variable.numpy().tobytes() for variable in kept]


@pytest.mark.parametrize(
    "options", [None, {}, {"jit_compile": True}], ids=["eager", "graph", "xla"]
)
def test_weights_are_identical(options, logdir):
    plain = Model().trained(tf.GradientTape, options)
    with gs.record(logdir, every=1000, on_error="raise"):
        ours = Model().trained(gs.GradientTape, options)
    assert ours == plain
    (run,) = gs.load(logdir).runs.values()
    reasons = dict(zip(run.losses[0].steps.tolist(), run.losses[0].reasons.tolist(), strict=True))
    assert reasons[ODD] == Reason.SPIKE
