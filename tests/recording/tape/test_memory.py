"""On steps that are not recorded, large gradients are freed as they are without us."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.recording.tape import held

pytestmark = pytest.mark.slow

ALL = 4 * held.LAYERS * held.WIDTH**2
"""Bytes of all gradients. What waits for the last of them holds them all."""


def peak(how, logdir):
    program = [sys.executable, "-m", "tests.recording.tape.held", how, str(logdir)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("how", "plain"),
    [
        ("tape+sentinel+optimizer", "plain"),
        ("optimizer+sentinel", "plain"),
        ("tape+sentinel+optimizer+clip", "plain+clip"),
    ],
)
def test_nothing_waits_for_the_last_gradient(how, plain, tmp_path):
    assert peak(how, tmp_path) - peak(plain, tmp_path) < 0.7 * ALL
