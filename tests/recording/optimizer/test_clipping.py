"""Clipping that a Keras optimizer does itself: a clip site named after it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.record import is_none
from tests.recording.optimizer.trainings import MODES, in_mode

WEIGHTS = np.array([3.0, -4.0], np.float32)
BIAS = np.array([0.3, 0.4], np.float32)
FACTORS = [1.0, 0.01, 10.0]


def clipped_by(option, mode, threshold=1.0, extra=()):
    """Applies gradients of norm 5 and 0.5, times each factor; returns the gradients applied."""
    weights = [keras.Variable(np.zeros(2, np.float32), name=name) for name in ("w", "b")]
    weights += [keras.Variable(np.zeros(2, np.float32), name="more") for _ in extra]
    optimizer = keras.optimizers.SGD(1.0, name="sgd", **{option: threshold})
    gs.watch_optimizer(optimizer).build(weights)
    applied = []

    def step(factor):
        optimizer.apply([WEIGHTS * factor, BIAS * factor, *extra], weights)

    run = in_mode(mode, step)
    for factor in FACTORS:
        before = [weight.numpy() for weight in weights]
        run(tf.constant(factor))
        applied.append([b - w.numpy() for b, w in zip(before, weights, strict=True)])
    return applied


def norms(applied):
    return [[np.linalg.norm(gradient) for gradient in each] for each in applied]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("option", "method", "calls_clipped"),
    [
        ("clipnorm", "norm", [1, 1, 2]),
        ("global_clipnorm", "global_norm", [1, 1, 2]),
        ("clipvalue", "value", [1, 1, 2]),
    ],
)
def test_its_own_clipping_is_recorded(option, method, calls_clipped, mode, recorded):
    applied = clipped_by(option, mode)
    run = recorded()
    (clip,), (optimizer,) = run.clips, run.optimizers
    assert (clip.name, clip.method) == (f"sgd.{option}", method)
    assert clip.variables == ("w", "b")
    assert clip.steps.tolist() == optimizer.steps.tolist() == [0, 1, 2]
    assert clip.threshold.tolist() == [1] * 3
    before = [[5 * factor, 0.5 * factor] for factor in FACTORS]
    np.testing.assert_allclose(clip.norms[:, :, 0], before, rtol=1e-5)
    # What was really applied is what came out.
    np.testing.assert_allclose(clip.norms[:, :, 1], norms(applied), rtol=1e-4)
    np.testing.assert_allclose(clip.norm_before, np.linalg.norm(before, axis=1), rtol=1e-5)
    after = np.linalg.norm(norms(applied), axis=1)
    np.testing.assert_allclose(clip.norm_after, after, rtol=1e-4)
    np.testing.assert_allclose(clip.scale, after / clip.norm_before, rtol=1e-4)
    assert clip.clipped.tolist() == calls_clipped
    assert not clip.counts_every_call
    # The gradients of the optimizer's row are those before clipping.
    np.testing.assert_allclose(optimizer.values[:, :, 1], before, rtol=1e-5)


@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm"])
def test_sparse_gradients_are_measured_as_keras_clips_them(option, recorded):
    rows = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([0, 0]), tf.constant([2, 2]))
    table = keras.Variable(np.zeros((2, 2), np.float32), name="table")
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(1.0, **{option: 1.0}))
    optimizer.apply([rows], [table])
    (clip,) = recorded().clips
    # Rows of the same index are not summed before they are clipped.
    np.testing.assert_allclose(clip.norms, [[[2, 1]]], rtol=1e-5)
    np.testing.assert_allclose(table.numpy(), [[-1, -1], [0, 0]], rtol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_missing_and_broken_gradients(mode, recorded):
    variables = [keras.Variable(1.0, name=name) for name in ("v", "none")]
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(1.0, global_clipnorm=1.0))
    optimizer.build(variables)
    run = in_mode(mode, lambda g: optimizer.apply([g, None], variables))
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        run(tf.constant(2.0))
    run(tf.constant(np.inf))
    (clip,) = recorded().clips
    assert is_none(clip.norms[:, 1]).all()
    np.testing.assert_allclose(clip.norms[0, 0], [2, 1])
    assert clip.nonfinite.tolist() == [0, 1]
    assert clip.clipped.tolist() == [1, 1]


def test_what_a_clip_function_has_clipped_before(recorded):
    variable = keras.Variable(3.0, name="v")
    optimizer = gs.watch_optimizer(keras.optimizers.SGD(1.0, name="sgd", clipnorm=1.0))
    with gs.GradientTape() as tape:
        loss = variable**2
    gradients, _ = gs.clip_by_global_norm(tape.gradient(loss, [variable.value]), 2.0, name="mine")
    optimizer.apply(gradients, [variable])
    mine, own = recorded().clips
    assert (mine.after, own.name, own.after) == ("", "sgd.clipnorm", "mine")
    np.testing.assert_allclose(own.norm_before, [2])
