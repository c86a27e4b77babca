"""Gradient accumulation: micro-batches, and the gradients that are applied."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tests import versions
from tests.recording.optimizer.trainings import GRAPHS, MODES, in_mode, train

MICRO = [1.0, 2.0, 6.0, -3.0, 0.0, 0.0, 9.0]


def accumulated(mode, gradients=MICRO, build=True, **options):
    """Applies scalar gradients, three to an update."""
    variable = keras.Variable(1.0, name="v")
    optimizer = keras.optimizers.SGD(0.5, name="sgd", gradient_accumulation_steps=3, **options)
    gs.watch_optimizer(optimizer)
    if build:
        optimizer.build([variable])
    run = in_mode(mode, lambda gradient: optimizer.apply([gradient], [variable]))
    for gradient in gradients:
        run(tf.constant(gradient))
    return variable


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("build", [True, False])
def test_updates_are_of_the_mean_of_the_micro_batches(mode, build, recorded):
    variable = accumulated(mode, build=build)
    assert float(variable.numpy()) == 0
    (found,) = recorded().optimizers
    assert found.accumulation == 3
    assert found.label.batch == "accumulated"
    assert found.steps.tolist() == [2, 5]  # every third call
    assert found.calls.tolist() == [3, 6]
    assert found.applied.tolist() == [1, 2]
    assert found.values[:, 0, Statistic.MEAN].tolist() == [3, -1]
    assert found.update_norms.tolist() == [[1.5], [0.5]]


@pytest.mark.parametrize("mode", GRAPHS)
def test_the_cadence_is_that_of_updates(mode, logdir):
    with gs.record(logdir, every=2, on_error="raise"):
        accumulated(mode, gradients=[1.0] * 15)
    (run,) = gs.load(logdir).runs.values()
    # Updates 0, 2 and 4: otherwise calls 0, 2, 4... would meet few of them.
    assert run.optimizers[0].steps.tolist() == [2, 8, 14]


@versions.requires_keras((3, 5), "an older one clips each micro-batch instead")
@pytest.mark.parametrize("mode", GRAPHS)
def test_clipping_is_that_of_what_is_accumulated(mode, recorded):
    accumulated(mode, clipnorm=2.0)
    (clip,) = recorded().clips
    assert clip.name == "sgd.clipnorm"
    assert clip.label.batch == "accumulated"
    assert clip.steps.tolist() == [2, 5]
    np.testing.assert_allclose(clip.norms[:, 0], [[3, 2], [1, 1]], rtol=1e-6)
    assert clip.clipped.tolist() == [1, 1]


@pytest.mark.skipif(versions.KERAS >= (3, 5), reason="a newer one clips what is accumulated")
def test_clipping_of_micro_batches_is_not_recorded(recorded):
    with pytest.warns(gs.GradscopeWarning, match="this Keras clips each micro-batch before it"):
        accumulated("eager", clipnorm=2.0)
    run = recorded()
    assert not run.clips
    assert run.optimizers[0].steps.tolist() == [2, 5]


@pytest.mark.parametrize("mode", GRAPHS)
def test_gradients_of_a_tape_are_micro_batches(mode, recorded):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    train(gs.watch_optimizer(optimizer), mode, gs.GradientTape, steps=4)
    run = recorded()
    (loss,), (applied,) = run.losses, run.optimizers
    assert (loss.label.batch, applied.label.batch) == ("micro_batch", "accumulated")
    assert loss.steps.tolist() == [0, 1, 2, 3]
    assert applied.steps.tolist() == [1, 3]
    means = loss.values[:, :, Statistic.MEAN]
    np.testing.assert_allclose(
        applied.values[:, :, Statistic.MEAN], (means[::2] + means[1::2]) / 2, rtol=1e-3, atol=1e-6
    )


def test_what_keras_traced_before_it_could_accumulate_is_no_loss_of_its_own(tmp_path):
    """The first step makes what accumulates: until then, nothing tells of micro-batches."""
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), "mse")
    callback = gs.KerasCallback(tmp_path, every=1)
    model.fit(np.ones([12, 3]), np.ones([12, 2]), batch_size=3, verbose=0, callbacks=[callback])
    (loss,) = gs.load(tmp_path).runs["train"].losses
    assert loss.label.batch == "micro_batch"
    assert loss.steps.tolist() == [0, 1, 2, 3]
    assert not loss.traced_only


@pytest.mark.parametrize("mode", GRAPHS)
def test_sparse_gradients(mode, recorded):
    table = keras.Variable(np.zeros((3, 1), np.float32), name="table")
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    gs.watch_optimizer(optimizer).build([table])

    def step(row):
        values = tf.constant([[2.0], [4.0]])
        rows = tf.IndexedSlices(values, tf.stack([row, row]), tf.constant([3, 1]))
        optimizer.apply([rows], [table])

    run = in_mode(mode, step)
    for row in (0, 2):
        run(tf.constant(row))
    np.testing.assert_allclose(table.numpy().ravel(), [-3, 0, -3])
    (found,) = recorded().optimizers
    np.testing.assert_allclose(found.values[0, 0, Statistic.NORM], np.sqrt(18), rtol=1e-6)
    np.testing.assert_allclose(found.update_norms, [[np.sqrt(18)]], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_an_update_with_a_broken_micro_batch_is_recorded(mode, logdir):
    micro = [1.0] * 9 + [np.nan] + [1.0] * 5
    with gs.record(logdir, every=1000, on_error="raise"):
        accumulated(mode, gradients=micro)
    (run,) = gs.load(logdir).runs.values()
    (found,) = run.optimizers
    assert found.steps.tolist() == [2, 11, 14]  # the first, the broken one, and well again
    states = found.values[:, 0, Statistic.STATE].tolist()
    assert states == [State.OK, State.NAN, State.OK]


@pytest.mark.parametrize("mode", MODES)
def test_with_a_loss_scale(mode, recorded):
    """A micro-batch that overflows is skipped, and does not count towards the update."""
    variable = keras.Variable(1.0, name="v")
    inner = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0)
    gs.watch_optimizer(optimizer).build([variable])
    run = in_mode(mode, lambda gradient: optimizer.apply([gradient], [variable]))
    for gradient in (8.0, np.inf, 8.0, 4.0, 4.0):
        run(tf.constant(gradient))
    (found,) = recorded().optimizers
    assert found.applied[-1] == 2
    assert found.skipped[-1] == 1
    taken = found.update_norms[:, 0] > 0
    assert found.steps[taken].tolist() == [2, 4]
    np.testing.assert_allclose(found.values[taken, 0, Statistic.MEAN], [3, 2])
    np.testing.assert_allclose(found.update_norms[taken], [[1.5], [1]])
