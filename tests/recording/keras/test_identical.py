"""`KerasCallback` changes nothing: weights, optimizers and logs are the same to the last bit."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config

import tb_gradscope as gs
from tests.recording.keras import models

pytestmark = pytest.mark.slow
of = functools.partial


@pytest.fixture(autouse=True)
def _deterministic_ops(request):
    # Keras compiles nothing with XLA where operations must be deterministic.
    if "jit" not in request.node.name:
        tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()
    keras.config.set_dtype_policy("float32")


def fit(make, callbacks=(), policy="float32", **options):
    """Trains a new model; returns it, and every number it has come to."""
    keras.config.set_dtype_policy(policy)
    model = make()
    x, y = models.data(len(getattr(model, "outputs", None) or [0]))
    if "class_weight" in options:
        y = (y > 0).astype(np.float32)
    history = model.fit(
        *((x,) if isinstance(model, models.Gan) else (x, y)),
        **{"epochs": 2, "batch_size": models.BATCH, "verbose": 0, **options},
        callbacks=list(callbacks),
    )
    return model, (models.bits(model), history.history)


def clipping():
    return models.two_outputs(optimizer=keras.optimizers.Adam(0.01, global_clipnorm=0.1))


def accumulating():
    return models.dense(optimizer=keras.optimizers.Adam(0.01, gradient_accumulation_steps=2))


SITUATIONS = {
    "validated and resumed": (
        models.dense,
        {"validation_split": 0.4, "initial_epoch": 1, "epochs": 3},
    ),
    "several steps at once, ragged": (of(models.dense, steps_per_execution=2), {"batch_size": 7}),
    "jit": (of(models.own_step, run_eagerly=False, jit_compile=True), {}),
    "class weights": (of(models.dense, loss="binary_crossentropy"), {"class_weight": {0: 1, 1: 3}}),
    "two outputs, clipped": (clipping, {}),
    "two outputs, eager": (of(models.two_outputs, run_eagerly=True), {}),
    "two outputs, float16": (models.two_outputs, {"policy": "mixed_float16"}),
    "own step, eager": (models.own_step, {}),
    "gan": (models.gan, {}),
    "accumulation, bfloat16": (accumulating, {"policy": "mixed_bfloat16"}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_training_is_the_same(situation, tmp_path):
    make, options = SITUATIONS[situation]
    _, without = fit(make, **options)
    callback = gs.KerasCallback(tmp_path, every=2, on_error="raise")
    model, recorded = fit(make, [callback], **options)
    assert recorded == without
    (run,) = gs.load(tmp_path).runs.values()
    assert run.losses
    assert all(len(loss.steps) for loss in run.losses)
    assert "train_step" not in vars(model)


def batch_normalized():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(6), keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("optimizes", [True, False], ids=["optimized", "not optimized"])
def test_a_graph_optimizer_that_looks_at_who_reads_a_gradient(optimizes, tmp_path):
    # TensorFlow rewrites the gradient of a batch normalization where only the optimizer
    # reads it. Any other reader, a summary of the program's own too, moves its last bits.
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": optimizes})
    try:
        _, (without, _) = fit(batch_normalized)
        _, (recorded, _) = fit(batch_normalized, [gs.KerasCallback(tmp_path, on_error="raise")])
    finally:
        tf.config.optimizer.set_experimental_options({"arithmetic_optimization": True})
    if not optimizes:
        assert recorded == without
    for one, other in zip(recorded, without, strict=True):
        if len(one) != 8:  # whole numbers: how many steps there were
            numbers = np.frombuffer(one, np.float32), np.frombuffer(other, np.float32)
            np.testing.assert_allclose(*numbers, rtol=1e-5, atol=1e-6)


def test_one_bit_is_seen(tmp_path):
    _, without = fit(models.dense)
    _, shuffled = fit(models.dense, shuffle=False)
    assert shuffled != without


def test_batches_between_two_fits_are_the_same(tmp_path):
    def train(callbacks):
        model = models.dense()
        x, y = models.data()
        model.fit(x, y, batch_size=models.BATCH, verbose=0, callbacks=callbacks)
        model.train_on_batch(x, y)
        model.fit(x, y, batch_size=models.BATCH, verbose=0)
        model.fit(x, y, batch_size=models.BATCH, verbose=0, callbacks=callbacks)
        return models.bits(model)

    without = train([])
    assert train([gs.KerasCallback(tmp_path, every=1, on_error="raise")]) == without
