"""Norms that grow, jump or start too large; and the lively ones that are healthy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose.exploding import exploding
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.statistics import Reason
from tests.diagnose import histories

T = Thresholds()


def found(*losses, **parts):
    return list(exploding(histories.run(*losses, **parts), T))


@pytest.mark.parametrize("count", [5, 8, 50, 500])
def test_growth_that_goes_on_is_an_explosion(count):
    norms = np.geomspace(1, 1e7, count)[:, None] * histories.noise(count, 3)
    (one,) = found(histories.loss(norms))
    assert (one.kind, one.severity, one.span.pattern) == ("exploding", "error", "from")
    assert one.variables == ("v0", "v1", "v2")
    assert "still grows" in one.message
    assert one.where.line == 36


def test_slow_growth_over_many_steps():
    norms = np.geomspace(1, 3000, 400)[:, None] * histories.noise(400)
    (one,) = found(histories.loss(norms))
    assert one.severity == "warning"
    assert 100 < one.evidence["growth"] < 3000


def test_growth_that_ends_in_nan():
    norms = np.geomspace(1, 1e9, 60)[:, None] * histories.noise(60, 2)
    norms[30:] = np.nan
    (one,) = found(histories.loss(norms))
    assert (one.severity, one.span.pattern) == ("error", "from")
    assert one.span.first < 30


def squared_growth():
    return (1 + np.arange(400) / 20)[:, None] ** 2 * histories.noise(400, 1, 0.1)


def test_growth_that_slows_down_while_the_loss_runs_away():
    values = -((1 + np.arange(400) / 20) ** 3).astype("f4")
    (one,) = found(histories.loss(squared_growth(), loss_values=values))
    assert (one.severity, one.span.pattern) == ("warning", "from")


def test_growth_that_slows_down_is_healthy_where_the_loss_does_not():
    assert not found(histories.loss(squared_growth()))


def test_only_the_variables_that_grow_are_named():
    norms = histories.noise(60, 4)
    norms[:, 2] *= np.geomspace(1, 1e5, 60)
    (one,) = found(histories.loss(norms))
    assert one.variables == ("v2",)


def test_a_branch_that_starts_at_zero_grows_and_levels_off():
    norms = (1 - np.exp(-np.arange(300) / 5)) * 10 + 1e-4
    assert not found(histories.loss(norms[:, None] * histories.noise(300)))


def test_growth_of_what_stays_small_for_its_variable_is_healthy():
    norms = np.geomspace(1e-7, 1e-3, 100)[:, None] * histories.noise(100)
    assert not found(histories.loss(norms, weights=10.0))


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0])
def test_noise_is_healthy(scale):
    for seed in range(20):
        assert not found(histories.loss(histories.noise(300, 5, scale, seed)))


def test_convergence_is_healthy():
    norms = np.geomspace(300, 1e-4, 300)[:, None] * histories.noise(300)
    assert not found(histories.loss(norms))


def jumping(at):
    norms = histories.noise(200, 3)
    norms[at, 1] *= 1e4
    return norms


def test_jumps_that_keep_coming():
    (one,) = found(histories.loss(jumping([40, 90, 140, 170])))
    assert (one.severity, one.span.pattern) == ("warning", "intermittent")
    assert (one.span.first, one.span.last, one.span.count) == (40, 170, 4)
    assert one.variables == ("v1",)


def test_a_lone_jump_is_only_said():
    (one,) = found(histories.loss(jumping([90])))
    assert (one.severity, one.span.pattern, one.span.first) == ("info", "once", 90)


def test_what_is_usual_was_so_before_the_jump_and_so_is_the_threshold_proposed():
    norms = np.ones((15, 1))
    norms[6], norms[7:] = 1e4, 1.5  # larger since: that is not what was usual
    (one,) = found(histories.loss(norms))
    assert "(norm 1e+04 at step 6, usually 1)" in one.message
    assert one.evidence["usual_norm"] == pytest.approx(1)
    assert one.advice.startswith("Clip with gs.clip_by_global_norm at about 1, ")


def test_jumps_to_less_than_training_began_with_are_healthy():
    falling = np.append(np.geomspace(1, 1e-6, 100), np.full(200, 1e-6))
    norms = falling[:, None] * histories.noise(300)
    norms[200::10] *= 3000
    assert not found(histories.loss(norms))
    norms[200::10] *= 3000
    (one,) = found(histories.loss(norms))
    assert one.severity == "warning"


def test_a_jump_that_training_does_not_get_over():
    values = np.ones(200, np.float32)
    values[91:] = 1e3
    (one,) = found(histories.loss(jumping([90]), loss_values=values))
    assert (one.severity, one.span.first) == ("warning", 90)


def test_jumps_that_clipping_held_are_only_said():
    norms = jumping([40, 90, 140, 170])
    (one,) = found(histories.loss(norms), clips=[histories.clip(norms, 5.0)])
    assert one.severity == "info"
    assert "Clipping held it" in one.advice


def test_a_jump_with_nan_behind_it_is_an_error():
    norms = jumping([90])
    norms[91:] = np.nan
    (one,) = found(histories.loss(norms))
    assert one.severity == "error"
    assert "then it is not finite any more" in one.message


def test_records_of_the_sentinel_are_no_measure_of_what_is_usual():
    norms = histories.noise(100)
    spikes = np.arange(1, 100, 2)
    norms[spikes] *= 1e4
    reasons = np.zeros(100, int)
    reasons[spikes] = Reason.SPIKE
    (one,) = found(histories.loss(norms, reasons=reasons))
    assert one.span.count >= 40


def test_far_too_large_at_first():
    norms = histories.noise(100, 2)
    norms[:3, 0] *= 1e5
    (one,) = found(histories.loss(norms))
    assert one.severity == "warning"
    assert "in the first steps" in one.message
    assert one.variables == ("v0",)


def test_far_too_large_all_the_time():
    (one,) = found(histories.loss(histories.noise(50, 2) * 1e6))
    assert "from the first step on" in one.message
    # Whose loss scale is not known, it may be that.
    assert one.advice.endswith("gs.watch_optimizer(optimizer) takes it out of all numbers.")
    unscaled = dataclasses.replace(histories.LABEL, stage="unscaled")
    (one,) = found(histories.loss(histories.noise(50, 2) * 1e6, label=unscaled))
    assert one.advice.endswith("warm the learning rate up.")


def test_a_large_gradient_of_a_bias_that_starts_at_zero_is_healthy():
    variables = [histories.variable("dense/bias", (8,))]
    norms = histories.noise(50) * 100
    assert not found(histories.loss(norms, weights=0.0), variables=variables)


def test_too_few_records_are_not_judged():
    assert not found(histories.loss(np.geomspace(1, 1e9, 4)[:, None]))


def test_what_two_records_show_is_not_called_usual():
    norms = np.array([1, 1, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9])[:, None]
    few = [one for one in found(histories.loss(norms[:5])) if one.kind == "exploding"]
    many = [one for one in found(histories.loss(norms)) if one.kind == "exploding"]
    assert few
    assert "usual" not in "".join(one.message + one.advice for one in few)
    assert "usual" in "".join(one.message + one.advice for one in many)
