"""Norms that left their recent range: how far, in which direction, and what was usual."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.diagnose.spikes import spikes
from tb_gradscope.format.statistics import Reason
from tests.diagnose import histories

NAN = float("nan")


def seen(norms, at, **changes):
    """What is said of a loss that the sentinel had recorded at this record, for all variables."""
    table = np.asarray(norms, float).reshape(len(norms), -1)
    reasons = np.full(len(table), Reason.CADENCE)
    reasons[at] = Reason.SPIKE
    pairs = np.array([[at, column] for column in range(table.shape[1])])
    (one,) = spikes(histories.loss(table, reasons=reasons, spikes=pairs, **changes))
    return one


def test_a_norm_that_rose():
    one = seen([1, 3, 2, 40, 1], 3)
    assert (one.step, one.variables) == (3, (0,))
    assert (one.norm, one.usual, one.direction) == (40, 2, "up")


def test_a_norm_that_fell():
    one = seen([1, 3, 2, 0.01, 1], 3)
    assert (one.usual, one.direction) == (2, "down")
    assert one.norm == pytest.approx(0.01)
    assert seen([1, 3, 2, 0, 1], 3).direction == "down"


def test_what_went_farthest_comes_first():
    one = seen([[1, 1, 1]] * 4 + [[5, 0.001, 9]], 4)
    assert one.variables == (1, 2, 0)
    assert one.direction == "down"


def test_of_fewer_than_three_norms_none_is_usual():
    one = seen([1, NAN, 3, 40], 3)
    assert np.isnan(one.usual)
    assert one.direction == "up"
    one = seen([40], 0)
    assert (one.norm, one.direction) == (40, "")


def test_a_norm_between_the_last_and_the_usual_one_has_no_direction():
    # It fell from step to step; the sentinel saw 5 rise from 1, ten records before show more.
    one = seen([*np.geomspace(100, 1, 10), 5], 10)
    assert (one.norm, one.direction) == (5, "")


def test_a_step_whose_record_is_not_at_hand():
    norms = np.ones((5, 1))
    (one,) = spikes(histories.loss(norms, spikes=np.array([[17, 0]])))
    assert (one.step, one.usual, one.direction) == (17, 1, "")
    assert np.isnan(one.norm)
    assert not spikes(histories.loss(norms))
