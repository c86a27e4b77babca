"""NaN that a loss scale hides, and overflows that are none of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.diagnose.left_out import left_out
from tb_gradscope.diagnose.thresholds import Thresholds
from tests.diagnose import histories

NAN, INF = float("nan"), float("inf")


def found(skipped, gradient=NAN, value=1.0, scale=1024.0, count=20, before=1024.0, **changes):
    """A training of which these steps were left out."""
    norms, values = histories.noise(count, 2), np.ones(count, np.float32)
    scales = np.full(count, before, np.float32)
    norms[skipped], values[skipped], scales[skipped] = gradient, value, scale
    loss = dataclasses.replace(
        histories.loss(norms, loss_values=values, loss_scales=scales, **changes),
        skipped_steps=np.asarray(skipped),
    )
    return list(left_out(histories.run(loss), Thresholds()))


@pytest.mark.parametrize("gradient", [NAN, INF])
def test_overflows_of_the_scale_are_healthy(gradient):
    assert not found([3, 4, 9], gradient)
    assert not found(list(range(15)), gradient)


def test_a_loss_that_is_nan_for_good():
    (one,) = found(list(range(12, 20)), value=NAN)
    assert (one.kind, one.severity) == ("nan", "error")
    assert (one.span.first, one.span.pattern, one.span.count) == (12, "from", 8)
    assert one.variables == ("v0", "v1")
    assert "the loss itself is NaN, so no weight changes any more" in one.message


def test_a_scale_that_cannot_be_to_blame():
    (one,) = found(list(range(12, 20)), INF, scale=1.0)
    assert (one.kind, one.severity) == ("inf", "error")
    assert "the scale is 1 already" in one.message


def test_it_began_with_the_first_step_that_was_left_out():
    scales = 1024 / 2.0 ** np.arange(14)
    (one,) = found(list(range(6, 20)), INF, scale=scales)
    assert (one.severity, one.span.first, one.span.pattern, one.span.count) == (
        "error",
        6,
        "from",
        14,
    )
    assert one.message.endswith("but the scale is 0.125 already, so no weight changes any more.")


def test_one_bad_batch_that_was_left_out_is_only_said():
    (one,) = found([7], value=NAN)
    assert (one.severity, one.span.first, one.span.pattern) == ("info", 7, "once")
    assert one.message == (
        "The gradient of loss was NaN at step 7 only, and the optimizer left that out as an "
        "overflow of its loss scale; but the loss itself was NaN. Training has gone on since."
    )
    assert one.advice.startswith("Nothing is to be done if it stays at that.")


@pytest.mark.parametrize("skipped", [[19], [18, 19]])
@pytest.mark.parametrize("of", [{"value": NAN}, {"gradient": INF, "scale": 1.0}])
def test_where_the_last_record_is_one_nothing_shows_that_it_passed(skipped, of):
    (one,) = found(skipped, **of)
    assert (one.severity, one.span.last) == ("warning", 19)
    assert f"step{'s' * (len(skipped) > 1)} {skipped[0]}" in one.message
    assert ", and no record since shows it finite again. The optimizer left" in one.message
    assert " only" not in one.message
    assert one.advice.startswith("If training ended there, ")
    assert "else it is stuck" in one.advice
    # Where steps lie between the records, it may have passed unseen.
    (one,) = found(skipped, watched=False, calls=np.arange(20) * 10 + 1, **of)
    assert one.severity == "info"


def test_a_scale_that_has_fallen_far_below_one_that_was_right():
    scales = np.array([2.0**15, 4.0])
    (one,) = found([18, 19], scale=scales, before=2.0**13)
    assert (one.severity, one.span.first) == ("warning", 18)
    assert one.message.endswith(
        "but the scale has fallen from 8192 to 4 since the last step that it took."
    )
    assert not found([18, 19], scale=np.array([2.0**13, 2.0**12]), before=2.0**13)
    assert not found([17, 18], scale=scales, before=2.0**13)  # training has gone on


def test_many_steps_that_are_lost_are_a_warning():
    (one,) = found([8, 11, 14, 17], value=NAN)
    assert (one.severity, one.span.pattern, one.span.count) == ("warning", "intermittent", 4)
    assert one.message.endswith(
        "but the loss itself was NaN. So 4 of 10 calls were lost. Training has gone on since."
    )
    assert one.advice.startswith("Look for NaN in the data")
    (one,) = found([8, 11, 14], value=NAN, scale=np.array([1024.0, 512.0, 256.0]))
    assert "So 3 of 7 calls were lost, and the scale has fallen from 1024 to 256." in one.message
    (one,) = found([8, 100, 190], value=NAN, count=200)
    assert one.severity == "info"
