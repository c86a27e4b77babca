"""A model on two virtual devices, trained plain and recorded: `mirrored.py LOGDIR`.

Fails unless both come to the same.
"""

from __future__ import annotations

import sys

import keras
import numpy as np
import tensorflow as tf

import tb_gradscope as gs
from tests.recording.keras import models


def train(callbacks, broken=False):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = models.two_outputs(optimizer=keras.optimizers.Adam(0.01, global_clipnorm=0.1))
    x, y = models.data(2)
    x[0] *= np.nan if broken else 1.0
    options = {"batch_size": models.BATCH, "epochs": 2, "verbose": 0, "callbacks": callbacks}
    history = model.fit(x, y, **options)  # here fit is called
    return models.bits(model), history.history


if __name__ == "__main__":
    devices = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    recording = gs.KerasCallback(sys.argv[1], every=2, on_error="raise")
    assert train([recording]) == train([])
    findings = []
    told = gs.KerasCallback(f"{sys.argv[1]}/broken", every=1, on_finding=findings.append)
    train([told], broken=True)
    print("nan of", ", ".join(sorted(one.loss for one in findings if one.kind == "nan")))
