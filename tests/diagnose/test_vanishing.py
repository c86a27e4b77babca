"""Gradients that die away with depth, and profiles that are healthy."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.vanishing import vanishing
from tests.diagnose import histories


def found(norms, variables=None, **changes):
    run = histories.run(histories.loss(norms, **changes), variables=variables)
    return list(vanishing(run, Thresholds()))


def profile(decades, layers=10, count=20):
    """A stack of kernels whose gradients fall by so many decades from the loss to the input."""
    return np.logspace(-decades, 0, layers) * histories.noise(count, layers) * 0.1


@pytest.mark.parametrize("count", [5, 200])
def test_a_stack_that_falls_steadily(count):
    (one,) = found(profile(7, count=count), weights=5.0)
    assert (one.kind, one.severity) == ("vanishing", "warning")
    assert one.variables[0] == "v0"
    assert "v9" not in one.variables
    assert "times a layer" in one.message
    assert one.evidence["ratio"] > 1e3


@pytest.mark.parametrize("decades", [0, 1, 2])
def test_a_stack_that_hardly_falls_is_healthy(decades):
    assert not found(profile(decades), weights=5.0)


def test_large_steps_are_healthy_whatever_the_profile():
    assert not found(profile(5) * 1e6, weights=1.0)


def test_three_layers_are_no_profile():
    assert not found(profile(6, layers=3), weights=5.0)


def test_a_lone_small_kernel_is_healthy():
    norms = histories.noise(20, 8)
    norms[:, 3] *= 1e-6
    assert not found(norms, weights=5.0)


def test_biases_and_embeddings_have_scales_of_their_own():
    names = [f"block{i}/{part}" for i in range(6) for part in ("kernel", "bias")]
    variables = [
        histories.variable(name, (32, 32) if "kernel" in name else (32,)) for name in names
    ]
    norms = histories.noise(20, 12)
    norms[:, 1::2] *= np.logspace(-9, 0, 6)
    assert not found(norms, variables, weights=5.0)


def with_biases(kernels):
    """Six layers whose biases' gradients fall by nine decades, and kernels of such a size."""
    names = [f"block{i}/{part}" for i in range(6) for part in ("kernel", "bias")]
    shapes = [(32, 32), (32,)] * 6
    norms = histories.noise(20, 12) * kernels
    norms[:, 1::2] = np.logspace(-9, 0, 6) * histories.noise(20, 6)
    variables = [histories.variable(*one) for one in zip(names, shapes, strict=True)]
    return found(norms, variables, weights=5.0)


def test_biases_that_fall_where_the_kernels_hardly_move():
    (one,) = with_biases(1e-4)
    assert one.variables[0] == "block0/bias"


def test_biases_that_fall_where_the_kernels_move_are_healthy():
    assert not with_biases(1.0)


def test_next_to_nothing_from_the_first_step_on():
    (one,) = found(histories.noise(20, 2) * 1e-11)
    assert "next to nothing from the first step on" in one.message
    assert one.variables == ()


def test_all_in_front_of_a_place_that_lets_nothing_through():
    norms = histories.noise(20, 6) * [1e-8, 1e-9, 1e-10, 1, 0.1, 0.01]
    (one,) = found(norms, weights=5.0)
    assert one.variables == ("v0", "v1", "v2")


def test_what_a_head_that_starts_at_zero_lets_through_grows():
    norms = histories.noise(20, 6) * [1e-8, 1e-9, 1e-10, 1, 0.1, 0.01]
    norms[:, :3] *= np.geomspace(0.1, 10, 20)[:, None]
    assert not found(norms, weights=5.0)


def test_a_stack_through_which_ever_more_comes_is_healthy():
    norms = profile(5) * np.geomspace(0.1, 10, 20)[:, None]
    norms[:, -1] = 1
    assert not found(norms, weights=500.0)


def test_recurrent_kernels_are_compared_with_one_another():
    names = [
        f"rnn{i}/simple_rnn_cell/{part}"
        for i in range(3)
        for part in ("kernel", "recurrent_kernel")
    ]
    (one,) = found(profile(7, 6), [histories.variable(name) for name in names], weights=5.0)
    assert one.variables[0] == names[0]


# ---- Over time


def fading(values, count=200, decades=-6.0):
    """Gradients that fade by so many decades, and what the loss was meanwhile."""
    norms = np.geomspace(1, 10**decades, count)[:, None] * histories.noise(count, 2)
    return found(norms, loss_values=np.broadcast_to(values, count).astype(np.float32))


def test_gradients_that_fade_while_the_loss_stays_and_varies():
    (one,) = fading(histories.noise(200, scale=0.1)[:, 0])
    assert (one.kind, one.severity, one.span.pattern) == ("vanishing", "warning", "from")
    assert one.variables == ("v0", "v1")
    assert "fades while the loss does not fall" in one.message
    assert one.evidence["ratio"] > 1e3


def test_gradients_that_fade_while_the_loss_rises():
    (one,) = fading(np.where(np.arange(200) < 60, 0.1, 1.0))  # one batch, and no noise
    assert one.severity == "warning"


@pytest.mark.parametrize("last", [0.3, 1e-3, 1e-12])
def test_convergence_is_healthy(last):
    assert not fading(np.geomspace(1, last, 200) * histories.noise(200, scale=0.1)[:, 0])


def test_a_loss_with_an_offset_that_batches_do_not_change_any_more_is_healthy():
    learned = np.geomspace(1, 1e-8, 200) * histories.noise(200)[:, 0]
    assert not fading(100 + learned)


def test_the_same_batch_again_and_again_may_have_nothing_to_teach():
    (one,) = fading(0.7)
    assert one.severity == "info"


def test_a_loss_below_zero_that_rises_towards_it_may_be_rewards_well_earned():
    (one,) = fading(-np.concatenate([np.full(60, 0.7), np.geomspace(0.7, 1e-5, 140)]))
    assert one.severity == "info"


def test_gradients_that_hardly_fade_are_healthy():
    assert not fading(histories.noise(200, scale=0.1)[:, 0], decades=-2)


def test_a_loss_that_is_not_known_shows_nothing():
    assert not fading(np.nan)
