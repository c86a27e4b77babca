"""Finding: `exploding` and `clip_saturated`. Norms of 1,000 and more, clipped nearly always.

A recurrent network on English text, letter by letter. Its recurrent matrix
starts six times as large as one that keeps a state's length, and on the way
back through 32 letters a gradient is multiplied with it 32 times. What arrives
at the first ones is huge.

Clipping by global norm keeps the numbers finite, so that nothing crashes. But it
acts in almost every step, and scales to a thousandth and less: then it is the
threshold that sets the size of a step, not the gradient. `healthy` is the same
network with a good start.
"""

from __future__ import annotations

from typing import Any

import keras

from demo import letters

GAIN = 6.0


def train(logdir: str, steps: int) -> list[Any]:
    """Trains, records into `logdir` and returns the weights."""
    # A random square matrix with this deviation makes vectors GAIN times as long.
    wild = keras.initializers.RandomNormal(stddev=GAIN / letters.UNITS**0.5, seed=1)
    return letters.train("exploding", logdir, steps, recurrent_initializer=wild)
