"""Clip sites that clip nearly always, or never."""

from __future__ import annotations

import dataclasses

import numpy as np

from tb_gradscope.diagnose.clipping import clipping
from tb_gradscope.diagnose.thresholds import Thresholds
from tests.diagnose import histories


def found(*clips):
    return list(clipping(histories.run(clips=clips, variables=[]), Thresholds()))


def test_a_tenth_of_the_steps_is_what_clipping_is_for():
    norms = histories.noise(200)
    assert not found(histories.clip(norms, float(np.percentile(norms, 90))))


def test_nearly_always_is_said():
    (one,) = found(histories.clip(histories.noise(200, 3), 0.5))
    assert (one.kind, one.severity, one.loss) == ("clip_saturated", "info", None)
    assert one.evidence["site"] == "clip_by_global_norm"
    assert one.evidence["fraction"] > 0.9
    assert "the step size rather than a safety net" in one.message


def test_next_to_nothing_left_is_a_warning_and_the_culprit_is_named():
    norms = histories.noise(200, 3)
    norms[:, 1] *= 1e4
    (one,) = found(histories.clip(norms, 1.0))
    assert one.severity == "warning"
    assert one.variables == ("v1",)
    assert "100 % of the squared norm is v1's" in one.message


def test_steps_that_are_not_finite_do_not_count():
    norms = histories.noise(200)
    norms[::2] = np.inf
    assert not found(histories.clip(norms, 10.0))


def test_a_site_on_a_replica_says_which():
    label = dataclasses.replace(histories.LABEL, replicas=2, replica=1)
    (one,) = found(histories.clip(histories.noise(200, 3), 0.5, label=label))
    assert one.message.startswith("clip_by_global_norm (replica 1) clips ")


def test_clipped_again():
    (one,) = found(histories.clip(histories.noise(200), 0.1, after="first"))
    assert "was clipped by first already" in one.message


def test_never():
    (one,) = found(histories.clip(histories.noise(200), 1000.0))
    assert (one.kind, one.severity) == ("clip_never", "info")
    assert "never clipped in 200 calls" in one.message


def test_a_safety_net_near_the_norms_is_not_worth_saying():
    assert not found(histories.clip(histories.noise(200), 8.0))


def test_never_takes_a_hundred_calls():
    assert not found(histories.clip(histories.noise(50), 1000.0))


def test_gradients_that_were_none_have_no_share():
    norms = [[None, 1.0, 100.0]] * 40
    (one,) = found(histories.clip(norms, 0.1))
    assert one.variables == ("v2",)
