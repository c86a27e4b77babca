"""A training whose gradients are what it is fed, times a fixed pattern of each variable."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs


class FedTraining:
    """Linear in its variables, so that their gradients are known beforehand.

    Attributes:
      variables: one of each shape.
      patterns: `[variable]`, what each gradient is for a factor of 1.
      optimizer: Keras' SGD, watched under the name "sgd".
    """

    def __init__(self, shapes=((3,), (2, 2)), **options):
        """Makes the variables, and an optimizer with these options."""
        random = np.random.default_rng(5)
        self.variables = [
            tf.Variable(random.normal(size=shape).astype(np.float32), name=f"v{number}")
            for number, shape in enumerate(shapes)
        ]
        self.patterns = [
            tf.constant(random.normal(size=v.shape), tf.float32) for v in self.variables
        ]
        self.optimizer = gs.watch_optimizer(keras.optimizers.SGD(0.1, **options), name="sgd")
        self.optimizer.build(self.variables)

    def terms(self, factors):
        each = zip(self.variables, self.patterns, tf.unstack(factors), strict=True)
        return [tf.reduce_sum(variable * pattern) * factor for variable, pattern, factor in each]

    def gradients(self, factors, tape_class=gs.GradientTape):
        with tape_class() as tape:
            loss = tf.add_n(self.terms(factors))
        return tape.gradient(loss, self.variables)

    def apply(self, gradients):
        self.optimizer.apply(gradients, self.variables)
