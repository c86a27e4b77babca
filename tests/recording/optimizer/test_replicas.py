"""Keras optimizers under `MirroredStrategy`: what they apply is reduced over the replicas."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tests import versions
from tests.recording.optimizer import replicas

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Log directory, and the final weights of each training, plain and watched."""
    logdir = tmp_path_factory.mktemp("replicas")
    program = Path(__file__).with_name("replicas.py")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, program, logdir],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return logdir, json.loads(done.stdout.splitlines()[-1]), done.stderr


def recording(trained, name):
    (run,) = gs.load(trained[0] / name).runs.values()
    assert not run.problems
    return run


@pytest.mark.parametrize("name", ["sgd", "clipped", "scaled", *replicas.ODD_ONES])
def test_training_is_the_same_to_the_last_bit(name, trained):
    plain, watched = trained[1][name]
    assert plain == watched


def labels(one):
    return one.label.replicas, one.label.replica, one.label.reduction


def test_what_is_applied_is_the_sum_over_the_replicas(trained):
    run = recording(trained, "sgd")
    found = {labels(one): one for one in run.optimizers}
    expected = {(2, -1, "sum"): 5.0}
    if not versions.SUMS_OVER_REPLICAS:
        expected = {(2, 0, "local"): 3.0, (2, 1, "local"): 4.0}
    assert found.keys() == expected.keys()
    for label, norm in expected.items():
        assert found[label].steps.tolist() == [0, 1, 2]
        assert found[label].applied.tolist() == [1, 2, 3]
        np.testing.assert_allclose(found[label].values[:, 0, Statistic.NORM], norm)
        np.testing.assert_allclose(found[label].update_norms, 0.5 * norm)


def test_a_keras_that_sums_nothing_is_told_of_once(trained):
    said = trained[2].count(versions.NOT_SUMMED)
    assert said == (0 if versions.SUMS_OVER_REPLICAS else 1)


def test_keras_clips_in_each_replica_before_it_reduces(trained):
    run = recording(trained, "clipped")
    norms = [one.values[:, 0, Statistic.NORM] for one in run.optimizers]
    if versions.SUMS_OVER_REPLICAS:
        assert {(one.label.replica, one.label.clipped) for one in run.optimizers} == {
            (-1, "adam.clipnorm")
        }
        np.testing.assert_allclose(norms, [[np.sqrt(2)] * 3], rtol=1e-6)
    else:  # as they reach the optimizer
        assert {labels(one) for one in run.optimizers} == {(2, 0, "local"), (2, 1, "local")}
        np.testing.assert_allclose(norms, [[3.0] * 3, [4.0] * 3])
    clips = {clip.label.replica: clip for clip in run.clips}
    assert {clip.label.reduction for clip in clips.values()} == {"local"}
    np.testing.assert_allclose(clips[0].norms[:, 0], [[3, 1]] * 3, rtol=1e-6)
    np.testing.assert_allclose(clips[1].norms[:, 0], [[4, 1]] * 3, rtol=1e-6)


def test_with_a_loss_scale_each_replica_has_a_row(trained):
    """Keras reduces inside of a branch: what comes out there cannot be read from outside."""
    found = {each.label.replica: each for each in recording(trained, "scaled").optimizers}
    assert {each.label.reduction for each in found.values()} == {"local"}
    assert {each.label.stage for each in found.values()} == {"unscaled"}
    norms = [found[replica].values[0, 0, Statistic.NORM] for replica in (0, 1)]
    np.testing.assert_allclose(norms, [3, 4], rtol=1e-6)
    assert found[0].applied.tolist() == found[1].applied.tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", replicas.ODD_ONES)
def test_what_is_odd_in_another_replica_is_seen_in_the_sum(name, trained):
    run = recording(trained, name)
    if versions.SUMS_OVER_REPLICAS:
        (optimizer,) = run.optimizers
        assert optimizer.steps.tolist() == [0, replicas.ODD]
        assert optimizer.values[:, 0, Statistic.STATE].tolist() == [State.OK, State.NAN]
        assert np.isnan(optimizer.update_norms[1, 0])
    clips = {clip.label.replica: clip.steps.tolist() for clip in run.clips}
    assert clips == ({} if name != "odd clipped" else {0: [0], 1: [0, replicas.ODD]})
