"""Mixed-precision loss scaling: true numbers, and skipped steps that are no explosions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tests.recording.optimizer.trainings import (
    GRAPHS,
    INPUTS,
    LABELS,
    MODES,
    in_mode,
    make_model,
    train,
)


def scaled(inner, initial=2.0**10, growth=2000):
    return keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=initial, dynamic_growth_steps=growth
    )


@pytest.mark.parametrize("mode", MODES)
def test_numbers_are_those_without_the_scale(mode, recorded):
    inner = keras.optimizers.SGD(0.1, name="sgd", clipnorm=0.1)
    train(gs.watch_optimizer(scaled(inner, growth=2)), mode, gs.GradientTape, steps=4)
    train(keras.optimizers.SGD(0.1, clipnorm=0.1), mode, gs.GradientTape, steps=4)
    run = recorded()
    found, plain = run.losses
    assert (found.label.stage, plain.label.stage) == ("unscaled", "raw")
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-3, atol=1e-5)
    assert found.loss_scales.tolist() == [2**10, 2**10, 2**11, 2**11]
    (optimizer,) = run.optimizers
    assert (optimizer.name, optimizer.class_name, optimizer.has_loss_scale) == ("sgd", "SGD", True)
    assert optimizer.label.stage == "unscaled"
    np.testing.assert_allclose(optimizer.values, plain.values, rtol=1e-3, atol=1e-5)
    assert optimizer.loss_scales.tolist() == found.loss_scales.tolist()
    np.testing.assert_allclose(optimizer.learning_rates, 0.1)
    (clip,) = run.clips
    assert clip.name == "sgd.clipnorm"
    np.testing.assert_allclose(clip.norms[:, :, 0], plain.values[:, :, 1], rtol=1e-3)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("every", [1, 4])
def test_skipped_steps_are_counted_and_marked(mode, every, logdir):
    """Steps 2 and 3 overflow: `float32` ends at 3.4e38."""
    factors = [1, 1, 1e38, 1e38, 1, 1, 1, 1]
    optimizer = scaled(keras.optimizers.SGD(0.1, global_clipnorm=1.0))
    with gs.record(logdir, every=every, on_error="raise"):
        train(gs.watch_optimizer(optimizer), mode, scale=factors)
    (run,) = gs.load(logdir).runs.values()
    (found,) = run.optimizers
    # Between records, the sentinel sees a step turn to infinity, and back.
    assert found.steps.tolist() == (list(range(8)) if every == 1 else [0, 2, 4])
    assert found.skipped[-1] == 2
    assert found.applied[-1] == found.calls[-1] - 2
    assert found.skipped_steps.tolist() == ([2, 3] if every == 1 else [2])
    skip = found.steps.tolist().index(2)
    assert found.loss_scales[[skip, -1]].tolist() == [2**10, 2**8]
    assert not found.update_norms[skip].any()
    assert np.isin(found.values[skip, :, Statistic.STATE], (State.INF, State.NAN)).any()
    (clip,) = run.clips
    assert 2 not in clip.steps  # nothing was clipped
    assert not clip.nonfinite.any()


@pytest.mark.parametrize("mode", GRAPHS)
def test_a_fixed_scale(mode, recorded):
    fixed = keras.optimizers.SGD(0.1, loss_scale_factor=64.0)
    train(gs.watch_optimizer(fixed), mode, gs.GradientTape, steps=2)
    train(keras.optimizers.SGD(0.1), mode, gs.GradientTape, steps=2)
    run = recorded()
    found, plain = run.losses
    assert found.loss_scales.tolist() == run.optimizers[0].loss_scales.tolist() == [64, 64]
    np.testing.assert_allclose(found.values, plain.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(run.optimizers[0].values, plain.values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", GRAPHS)
def test_parts_of_a_scaled_sum(mode, recorded):
    variable = tf.Variable(3.0, name="v")
    optimizer = gs.watch_optimizer(scaled(keras.optimizers.SGD(0.1)))

    def step():
        with gs.GradientTape() as tape:
            one, other = variable**2, 4.0 * variable
            total = optimizer.scale_loss(one + other)
        tape.losses(one=one, other=other)
        tape.gradient(total, [variable])

    in_mode(mode, step)()
    norms = {loss.name: loss.values[0, 0, Statistic.NORM] for loss in recorded().losses}
    assert norms == {"total": 10, "one": 6, "other": 4}


@pytest.mark.parametrize("jit_compile", [False, True])
def test_keras_wraps_the_optimizer_of_a_model_itself(jit_compile, recorded):
    """Watched is the optimizer inside, before Keras puts its loss scale around it."""

    def trained(optimizer):
        model = make_model()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, jit_compile=jit_compile)
        model.fit(INPUTS.reshape(-1, 5), LABELS.ravel(), batch_size=8, shuffle=False, verbose=0)
        return model

    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        plain = trained(keras.optimizers.Adam(0.01))
        model = trained(gs.watch_optimizer(keras.optimizers.Adam(0.01), name="inside"))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    (found,) = recorded().optimizers
    assert (found.name, found.class_name, found.has_loss_scale) == ("inside", "Adam", True)
    assert found.loss_scales.tolist() == [2**15] * 4
    assert found.applied.tolist() == [1, 2, 3, 4]
    assert (found.values[:, :, Statistic.NORM] < 10).all()
