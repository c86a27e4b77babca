"""Updates far too large or too small for the variable."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.updates import update_ratio
from tests.diagnose import histories


def found(updates, variables=None, **changes):
    one = histories.optimizer(updates, **changes)
    return list(update_ratio(histories.run(optimizers=[one], variables=variables), Thresholds()))


def test_a_thousandth_is_usual():
    assert not found(histories.noise(50, 3) * 1e-3)


def test_far_too_large():
    (one,) = found(histories.noise(50, 3) * [1e-3, 1.0, 1e-3])
    assert (one.kind, one.severity, one.loss) == ("update_ratio", "warning", None)
    assert one.variables == ("v1",)
    assert "Lower the learning rate, now 0.001" in one.advice


def test_far_too_small_in_every_record():
    (one,) = found(histories.noise(50, 3) * 1e-9)
    assert one.severity == "warning"
    assert "Raise the learning rate" in one.advice
    assert not found(histories.noise(50, 3) * [1e-9, 1e-3, 1e-9])


def test_updates_too_small_for_the_numbers_to_change():
    (one,) = found(np.zeros((50, 3)))
    assert one.severity == "warning"
    assert not found(np.zeros((50, 3)), learning_rates=np.zeros(50, np.float32))
    assert not found(np.zeros((50, 3)), applied=np.zeros(50, np.int64))


def test_far_too_small_is_only_said_while_the_rate_changes():
    rates = np.linspace(1e-9, 1e-8, 50).astype(np.float32)
    (one,) = found(histories.noise(50, 3) * 1e-9, learning_rates=rates)
    assert one.severity == "info"


def test_far_too_small_is_only_said_where_it_once_was_not():
    updates = histories.noise(50, 3) * 1e-9
    updates[:5] = 1e-3
    (one,) = found(updates)
    assert one.severity == "info"


def test_large_first_updates_are_only_said():
    (one,) = found(histories.noise(5, 3) * 0.2)
    assert one.severity == "info"
    updates = histories.noise(60, 3) * 0.02
    updates[:10] *= 10
    assert not found(updates)


def test_the_first_updates_of_a_kernel_that_starts_at_zero_are_healthy():
    weights = np.linspace(0, 1, 100)[:, None]
    assert not found(histories.noise(100) * 1e-2, weights=weights)


def test_biases_do_not_count():
    assert not found(histories.noise(50), variables=[histories.variable("b/bias", (4,))])


def test_updates_left_out_do_not_count():
    updates = histories.noise(50, 2) * 1e-3
    updates[::2] = 0
    assert not found(updates)


def test_a_schedule_that_warms_up_and_decays_is_healthy():
    rate = np.concatenate([np.linspace(0, 1, 20), np.linspace(1, 0, 80)])
    assert not found(histories.noise(100, 3) * rate[:, None] * 1e-3)


def test_first_updates_larger_than_the_kernels_themselves():
    weights = np.full((50, 3), 300.0)
    weights[0] = 3.0
    (one,) = found(histories.noise(50, 3) * 20, weights=weights)
    assert one.severity == "warning"
    assert "far too large" in one.message
    assert len(one.variables) == 3


def test_first_updates_of_kernels_that_start_small_are_healthy():
    weights = np.full((50, 3), 3.0)
    weights[0] = 1e-3
    assert not found(histories.noise(50, 3) * 0.03, weights=weights)


@pytest.mark.parametrize("count", [5, 12, 100])
def test_a_head_that_starts_at_zero_is_healthy(count):
    weights = np.arange(count)[:, None] * 1e-3
    assert not found(np.full((count, 1), 1e-3), weights=weights)
