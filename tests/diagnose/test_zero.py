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


def test_a_layer_that_died_after_it_was_zero_now_and_then():
    norms = histories.noise(60, 2)
    norms[[3, 7, 8], 0] = 0
    norms[20:, 0] = 0
    (one,) = found(histories.loss(norms))
    assert (one.severity, one.span.first, one.span.pattern) == ("warning", 20, "from")


def test_a_rare_thing_that_has_not_come_for_long_is_healthy():
    norms = np.zeros((60, 2))
    norms[:, 1] = norms[:20:5, 0] = 1
    assert not found(histories.loss(norms))


def test_a_batch_without_such_examples_is_healthy():
    norms = histories.noise(50, 3)
    norms[::3, 1] = 0
    norms[-1, 1] = 0
    assert not found(histories.loss(norms))


def test_too_few_records_are_not_judged():
    assert not found(histories.loss(np.zeros((4, 2))))


def layered(norms, **changes):
    """Two layers of a kernel and a bias each."""
    names = [f"{layer}/{part}" for layer in ("first", "second") for part in ("kernel", "bias")]
    shapes = [(8, 8), (8,)] * 2
    variables = [histories.variable(*one) for one in zip(names, shapes, strict=True)]
    return found(histories.loss(norms, **changes), variables=variables)


def test_dead_units_in_front_of_a_layer_whose_bias_learns():
    norms = histories.noise(7, 4)
    norms[:, :3] = 0
    (one,) = layered(norms)
    assert one.severity == "warning"  # seen at once, how they are cut off
    assert "though second's bias learns: all that enters second is zero" in one.message
    assert "leaky_relu" in one.advice


def test_an_input_that_has_been_zero_for_a_few_batches_is_only_said():
    for count, severity in ((7, "info"), (30, "warning")):
        norms = histories.noise(count, 4)
        norms[:, 0] = 0
        (one,) = layered(norms)
        assert one.severity == severity


def test_a_loss_that_is_the_same_number_whatever_the_batch():
    (one,) = layered(np.zeros((20, 4)), loss_values=np.full(20, 50, np.float32))
    assert "the loss is 50 at each of them, whatever the batch" in one.message
    assert "floor" in one.advice


def test_a_loss_that_changes_but_has_no_slope():
    (one,) = layered(np.zeros((20, 4)), loss_values=histories.noise(20)[:, 0].astype("f4"))
    assert "the loss changes from batch to batch, but has no slope" in one.message
    assert "saturated" in one.advice


def fell_to_zero(count=60):
    norms, values = histories.noise(count, 4), np.geomspace(1, 0.1, count).astype("f4")
    norms[30:] = values[30:] = 0
    norms[28:30, :2] = 0  # some of it a little earlier
    norms[10, 3] = 0  # and some of it by chance before
    return norms, values


def test_a_loss_that_has_fallen_to_zero_is_only_said():
    norms, values = fell_to_zero()
    (one,) = layered(norms, loss_values=values)
    assert (one.severity, one.span.first, len(one.variables)) == ("info", 30, 4)
    assert "the loss itself is 0" in one.message


def test_a_loss_that_stays_where_it_was_when_its_gradient_became_zero():
    norms, values = fell_to_zero()
    values[30:] = 0.5
    (one,) = layered(norms, loss_values=values)
    assert (one.severity, one.span.first, one.span.pattern) == ("warning", 30, "from")


def test_what_was_dead_long_before_the_rest_is_a_finding_of_its_own():
    norms, values = fell_to_zero()
    norms[12:, 0] = 0
    found = layered(norms, loss_values=values)
    assert [(one.severity, one.span.first) for one in found] == [("info", 30), ("warning", 12)]


def test_a_loss_of_zero_from_the_start():
    nothing = np.zeros(40, np.float32)
    (one,) = layered(np.zeros((6, 4)), loss_values=nothing[:6])
    assert one.severity == "info"  # a reward may still come
    (one,) = layered(np.zeros((40, 4)), loss_values=nothing)
    assert one.severity == "warning"
    (one,) = layered(np.zeros((40, 4)), loss_values=nothing, part_of="total")
    assert one.severity == "info"  # a weight annealed from zero


def test_a_branch_that_a_few_batches_left_out_is_only_said():
    norms = histories.noise(60, 4)
    norms[54:, :2] = 0
    (one,) = layered(norms)
    assert one.severity == "info"


def test_a_bias_that_cancels_out_is_only_said():
    norms = histories.noise(60, 4)
    norms[:, 3] = 0
    (one,) = layered(norms)
    assert one.severity == "info"
    assert "cancels out" in one.message
