"""Two losses on the same variables: in conflict, drowned, or in balance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose.balance import balance
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import Label
from tb_gradscope.format.record import absent_norm
from tb_gradscope.format.statistics import State, Statistic
from tests.diagnose import histories


def found(cosine, ratio=1.0, count=50, columns=3):
    one = histories.loss(histories.noise(count, columns), name="recon")
    other = histories.loss(histories.noise(count, columns, seed=1) / ratio, name="kl")
    cosine = np.broadcast_to(np.asarray(cosine, float).reshape(-1, 1), (count, columns))
    pairs = [histories.cosines("recon", "kl", cosine)]
    return list(balance(histories.run(one, other, cosines=pairs), Thresholds()))


def test_losses_that_agree():
    assert not found(0.4)


def test_against_each_other_from_the_first_record_on():
    (one,) = found(-0.9)
    assert (one.kind, one.severity) == ("conflict", "warning")
    assert (one.loss, one.other_loss) == ("recon", "kl")
    assert one.variables == ("v0", "v1", "v2")
    assert one.evidence["cosine"] == pytest.approx(-0.9, rel=0.05)


def test_balance_at_the_end_of_training_is_only_said():
    (one,) = found(np.linspace(-0.35, -0.9, 50))
    assert one.severity == "info"


def test_now_and_then_is_healthy():
    assert not found(np.where(np.arange(50) % 2, -0.9, 0.3))


def test_a_small_loss_cannot_be_in_conflict():
    assert not found(-0.9, ratio=50)


def test_drowned():
    (one,) = found(0.0, ratio=1e5)
    assert (one.kind, one.severity) == ("domination", "warning")
    assert (one.loss, one.other_loss) == ("recon", "kl")
    assert one.evidence["ratio"] == pytest.approx(1e5, rel=0.5)
    assert "recon drowns kl" in one.message


def test_a_factor_of_a_hundred_is_a_weight():
    assert not found(0.0, ratio=100)


def test_the_larger_one_is_named_whichever_came_first():
    (one,) = found(0.0, ratio=1e-5)
    assert (one.loss, one.other_loss) == ("kl", "recon")


def test_too_few_records_are_not_judged():
    assert not found(-0.9, count=4)


@pytest.mark.parametrize(("cosine", "ratio"), [(-0.9, 1.0), (0.0, 1e5)])
def test_the_first_records_show_too_little(cosine, ratio):
    (one,) = found(cosine, ratio, count=8)
    assert one.severity == "info"


def test_domination_that_passes_is_only_said():
    ratio = np.where(np.arange(50) < 42, 1500, 1.0)[:, None]
    ratio[25:42] = 900
    assert not found(0.0, ratio=ratio)
    ratio[25:42:2] = 1100
    assert not any(one.severity == "warning" for one in found(0.0, ratio=ratio))


def drowned_penalty(weights, name="decay", factor=1e-6, noise=0.0):
    """Losses of which the smaller one's gradients are the variables times one number."""
    strays = 1 + noise * histories.noise(*weights.shape, seed=2)
    one = histories.loss(histories.noise(*weights.shape), name="data", weights=weights)
    other = histories.loss(factor * weights * strays, name=name, weights=weights)
    pairs = [histories.cosines("data", name, np.zeros(weights.shape))]
    (found,) = balance(histories.run(one, other, cosines=pairs), Thresholds())
    return found.kind, found.severity


def test_weight_decay_is_meant_to_be_small():
    weights = np.linspace(1.0, [1.5, 2.0, 3.0], 50)
    assert drowned_penalty(weights) == ("domination", "info")


def test_what_only_resembles_weight_decay_is_drowned():
    weights = np.linspace(1.0, [1.5, 2.0, 3.0], 50)
    assert drowned_penalty(weights, noise=0.2) == ("domination", "warning")
    assert drowned_penalty(np.ones((50, 1))) == ("domination", "warning")


@pytest.mark.parametrize("name", ["add_loss", "regularization"])
def test_what_layers_add_is_meant_to_be_small(name):
    weights = np.ones((50, 2))
    assert drowned_penalty(weights, name) == ("domination", "info")


@pytest.mark.parametrize("records", [np.arange(50), np.arange(1, 50)], ids=["never", "once"])
def test_records_without_a_cosine_count_where_nothing_was_to_be_compared(records):
    """Never compared though both have gradients of v0, or only where both have one."""
    cosine = np.full((50, 2), -0.9, np.float32)
    cosine[records, 0] = absent_norm()
    one, other = (histories.loss(histories.noise(50, 2, seed=i), name=f"{i}") for i in (0, 1))
    if len(records) < 50:
        other.values[records, 0, Statistic.STATE] = State.NONE
    pairs = [histories.cosines("0", "1", cosine)]
    (found,) = balance(histories.run(one, other, cosines=pairs), Thresholds())
    assert found.kind == "conflict"
    assert found.span.count == 50


def test_each_replica_has_losses_of_its_own():
    ratios = [1.0, 1e5]
    losses, pairs = [], []
    for replica, ratio in enumerate(ratios):
        label = Label("raw", "whole", 2, replica, False, "calls", reduction="local")
        losses += [
            histories.loss(histories.noise(50, 2), name="recon", label=label),
            histories.loss(histories.noise(50, 2, seed=1) / ratio, name="kl", label=label),
        ]
        of_both = histories.cosines("recon", "kl", np.zeros((50, 2)))
        pairs.append(dataclasses.replace(of_both, label=label))
    (one,) = balance(histories.run(*losses, cosines=pairs), Thresholds())
    assert (one.kind, one.label.replica) == ("domination", 1)
