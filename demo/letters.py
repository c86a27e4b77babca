"""A recurrent network that guesses the next letter of a text.

`exploding` and `healthy` train this same network. They differ in the matrix that
the recurrent layer starts with, and in nothing else.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs
from demo.data import batches, text
from demo.progress import progress

UNITS = 48
LENGTH = 32
CLIP_NORM = 0.9


def train(name: str, logdir: str, steps: int, recurrent_initializer: Any) -> list[Any]:
    """Trains, records into `logdir` and returns the weights.

    Args:
      name: for the progress bar.
      logdir: where to record.
      steps: how many.
      recurrent_initializer: of the matrix that leads from one letter's state to
        the next one's, and so is applied `LENGTH` times.
    """
    keras.utils.set_random_seed(1)
    letters, alphabet = text()
    excerpts = np.lib.stride_tricks.sliding_window_view(letters, LENGTH + 1)
    model = keras.Sequential(
        [
            keras.Input((LENGTH,), dtype="int32"),
            keras.layers.Embedding(len(alphabet), 16, name="embedding"),
            keras.layers.SimpleRNN(
                UNITS,
                return_sequences=True,
                recurrent_initializer=recurrent_initializer,
                name="rnn",
            ),
            keras.layers.Dense(len(alphabet), name="next"),
        ],
        name="letters",
    )
    optimizer = keras.optimizers.Adam(5e-3)

    @tf.function
    def train_step(excerpt: Any) -> None:
        variables = model.trainable_variables
        with gs.GradientTape() as tape:  # was tf.GradientTape
            logits = model(excerpt[:, :-1])
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels=excerpt[:, 1:], logits=logits)
            )
        gradients = tape.gradient(loss, variables)
        # Was tf.clip_by_global_norm.
        gradients, _ = gs.clip_by_global_norm(gradients, CLIP_NORM, variables=variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    with gs.record(logdir):
        for (excerpt,) in progress(batches(steps, 8, excerpts), name):
            train_step(excerpt)
    return list(model.trainable_variables)
