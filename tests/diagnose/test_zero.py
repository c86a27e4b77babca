"""Gradients that are zero for good, and the zeros that are healthy."""

from __future__ import annotations

import numpy as np

from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.zero import zero
from tests.diagnose import histories


def found(*losses, **parts):
    return list(zero(histories.run(*losses, **parts), Thresholds()))


def test_a_layer_that_died():
    norms = histories.noise(60, 6)
    norms[25:, :4] = 0
    variables = [
        histories.variable(f"net/dense{i // 2}/{'kernel' if i % 2 == 0 else 'bias'}")
        for i in range(6)
    ]
    (one,) = found(histories.loss(norms), variables=variables)
    assert (one.kind, one.severity) == ("zero", "warning")
    assert (one.span.first, one.span.pattern) == (25, "from")
    assert one.variables == tuple(variable.name for variable in variables[:4])
    assert "nothing flows back past net/dense1" in one.message


def test_a_loss_without_slope():
    (one,) = found(histories.loss(np.zeros((10, 3))))
    assert one.span.pattern == "all"
    assert "all 3 variables is exactly zero" in one.message
    assert "no slope at all" in one.message


def test_a_symmetric_start():
    norms = np.zeros((10, 4))
    norms[:, 3] = 1
    weights = np.array([1, 1, 0, 1])
    (one,) = found(histories.loss(norms, weights=weights))
    assert "v2 is all zero, so nothing flows back through it" in one.message


def test_a_branch_that_starts_at_zero_is_healthy():
    norms = histories.noise(50, 3)
    norms[:4, :2] = 0
    assert not found(histories.loss(norms))


def test_a_batch_without_such_examples_is_healthy():
    norms = histories.noise(50, 3)
    norms[::3, 1] = 0
    norms[-1, 1] = 0
    assert not found(histories.loss(norms))


def test_too_few_records_are_not_judged():
    assert not found(histories.loss(np.zeros((4, 2))))
