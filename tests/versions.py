"""What the tests may expect of the Keras that is installed."""

from __future__ import annotations

import keras
import pytest

KERAS = tuple(int(part) for part in keras.version().split(".")[:2])

SUMS_OVER_REPLICAS = KERAS >= (3, 5)
"""Before, Keras updates each copy of a variable with the gradient of its own replica."""

NOT_SUMMED = (
    "tb_gradscope: this Keras does not sum gradients over replicas: each copy of a variable "
    "is updated with the gradient of its own replica, and the copies drift apart. Keras 3.5 "
    "sums them."
)
"""What is said of that."""

TENSORBOARD_COUNTS_BATCHES = KERAS >= (3, 7)
"""Before, `keras.callbacks.TensorBoard` writes the scalars of all batches at step 0."""


def requires_keras(version: tuple[int, int], reason: str) -> pytest.MarkDecorator:
    """Skips a test where Keras is older, and says what an older one does instead."""
    return pytest.mark.skipif(version > KERAS, reason=reason)
