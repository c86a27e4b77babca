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


def test_next_to_nothing_from_the_first_step_on():
    (one,) = found(histories.noise(20, 2) * 1e-11)
    assert "next to nothing from the first step on" in one.message
    assert one.variables == ()


def test_convergence_is_healthy():
    assert not found(np.geomspace(1, 1e-12, 100)[:, None] * histories.noise(100, 2))
