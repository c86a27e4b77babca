"""Rows for the losses that Keras adds up: those of `compile`, `add_loss` and regularizers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import Statistic
from tests.recording.keras import models


@pytest.fixture
def callback(tmp_path):
    return gs.KerasCallback(tmp_path, every=1, on_error="raise")


@pytest.fixture
def rows(tmp_path):
    """A function that reads the norms of the first record: by loss, by variable; None left out."""

    def read():
        (run,) = gs.load(tmp_path).runs.values()
        names = [variable.name for variable in run.variables]
        return {
            loss.name: {
                names[variable]: float(norm)
                for variable, norm in zip(
                    loss.variables, loss.values[0, :, Statistic.NORM], strict=True
                )
                if not np.isnan(norm)
            }
            for loss in run.losses
        }

    return read


def fit(model, callback, **options):
    x, y = models.data(len(model.outputs) if model.built and model.outputs else 1)
    options = {"batch_size": models.BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(x, y, callbacks=[callback], **options)


def norms(model, loss):
    """The same by hand, of the first batch: `loss(outputs, targets)`."""
    x, y = models.data()
    with tf.GradientTape() as tape:
        value = loss(model(x[: models.BATCH], training=True), y[: models.BATCH])
    gradients = tape.gradient(value, [v.value for v in model.trainable_variables])
    return {
        variable.path: float(tf.norm(gradient))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is not None
    }


def mse(prediction, target):
    return tf.reduce_mean((prediction - target) ** 2)


def mae(prediction, target):
    return tf.reduce_mean(tf.abs(prediction - target))


def l2(model):
    return 0.01 * tf.reduce_sum(model.get_layer("hidden").kernel.value ** 2)


@pytest.mark.parametrize(
    "options",
    [{}, {"run_eagerly": True}, {"jit_compile": True}],
    ids=["graph", "eager", "jit"],
)
def test_each_loss_has_the_gradient_it_adds_to_the_total(options, callback, rows):
    model = models.two_outputs(**options)
    expected = {
        "loss": norms(model, lambda p, y: mse(p[0], y) + 0.5 * mae(p[1], y) + l2(model)),
        "a_loss": norms(model, lambda p, y: mse(p[0], y)),
        "b_loss": norms(model, lambda p, y: 0.5 * mae(p[1], y)),
        "regularization": norms(model, lambda p, y: l2(model)),
    }
    logs = fit(model, callback).history
    found = rows()
    assert found.keys() == expected.keys()
    assert logs.keys() <= found.keys()  # as Keras calls them; up to 3.6 it logs the total alone
    for name, by_variable in expected.items():
        assert found[name] == pytest.approx(by_variable, rel=1e-4), name


def test_parts_say_what_they_are_part_of(tmp_path):
    callback = gs.KerasCallback(tmp_path, every=2, on_error="raise")
    fit(models.two_outputs(run_eagerly=True), callback, epochs=2)
    (run,) = gs.load(tmp_path).runs.values()
    assert len({tuple(loss.steps) for loss in run.losses}) == 1  # together with the total
    parts = {loss.name: loss.part_of for loss in run.losses}
    assert parts == {"loss": "", "a_loss": "loss", "b_loss": "loss", "regularization": "loss"}
    assert {loss.where.code for loss in run.losses} == {
        "return model.fit(x, y, callbacks=[callback], **options)"
    }


def test_one_loss_alone_is_no_sum(callback, rows):
    fit(models.dense(run_eagerly=True), callback)
    assert list(rows()) == ["loss"]


class Noisy(keras.layers.Layer):
    """Adds two losses of its own."""

    def call(self, inputs):
        self.add_loss(1e-3 * keras.ops.sum(keras.ops.square(inputs)))
        self.add_loss(1e-3 * keras.ops.sum(keras.ops.abs(inputs)))
        return inputs


def test_add_loss_and_regularizers_are_told_apart(callback, rows):
    keras.utils.set_random_seed(1)
    hidden = keras.layers.Dense(6, kernel_regularizer="l2", name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, Noisy(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    expected = norms(model, lambda p, y: l2(model))
    fit(model, callback)
    found = rows()
    # A Sequential names no outputs: Keras would name the loss after its function.
    assert list(found) == ["loss", "mse_loss", "add_loss", "regularization"]
    assert found["regularization"] == pytest.approx(expected, rel=1e-4)
    assert found["add_loss"].keys() == {hidden.kernel.path, hidden.bias.path}


def test_outputs_by_name(callback, rows):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    heads = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("depth", "angle")}
    model = keras.Model(inputs, heads)
    model.compile(
        "sgd",
        {"depth": "mse", "angle": "mae"},
        loss_weights={"depth": 1.0, "angle": 2.0},
        run_eagerly=True,
    )
    x, y = models.data()
    model.fit(x, {"depth": y, "angle": y}, verbose=0, callbacks=[callback])
    assert set(rows()) == {"loss", "depth_loss", "angle_loss"}


def test_a_compute_loss_of_the_programs_own_has_one_row(callback, rows):
    class Own(keras.Model):
        def compute_loss(self, *args, **kwargs):
            return 2.0 * super().compute_loss(*args, **kwargs) + 1.0

    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    model = Own(inputs, [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)])
    model.compile("sgd", "mse", run_eagerly=True)
    fit(model, callback)
    assert list(rows()) == ["loss"]


def test_a_step_of_the_programs_own_that_sums_no_further_has_parts(callback, rows):
    class Own(keras.Model):
        factor = None

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                total = self.compute_loss(x, y, self(x, training=True))
                if self.factor is not None:
                    total = self.factor * total
            gradients = tape.gradient(total, self.trainable_weights)
            self.optimizer.apply(gradients, self.trainable_weights)
            return {"total": total}

    def train(factor):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((4,))
        heads = [keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")]
        model = Own(inputs, heads)
        model.factor = factor
        model.compile("sgd", "mse", run_eagerly=True)
        fit(model, callback)
        return list(rows())

    assert train(None) == ["total", "a_loss", "b_loss"]
    assert train(3.0) == ["total"]  # what Keras has summed is no longer what is differentiated


def test_a_keras_that_does_not_tell_its_losses(callback, rows, monkeypatch):
    monkeypatch.setattr("tb_gradscope.recording.keras.internals.compiled_losses", lambda model: [])
    fit(models.two_outputs(run_eagerly=True), callback)
    assert list(rows()) == ["loss"]
