"""Data and a small network that the programs of this folder share."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

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
