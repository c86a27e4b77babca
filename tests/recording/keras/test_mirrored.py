"""`KerasCallback` under a `MirroredStrategy`: every replica has rows, the batch is counted once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tb_gradscope as gs
from tests import versions

pytestmark = pytest.mark.slow


def test_two_replicas(tmp_path):
    program = [sys.executable, "-m", "tests.recording.keras.mirrored", str(tmp_path)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(program, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("GradscopeWarning") == done.stderr.count(versions.NOT_SUMMED)
    run = gs.load(tmp_path).runs["train"]
    names = ("loss", "a_loss", "b_loss", "regularization")
    assert {(loss.name, loss.label.replica) for loss in run.losses} == {
        (name, replica) for name in names for replica in (0, 1)
    }
    assert {tuple(loss.steps) for loss in run.losses} == {(0, 2, 4)}
    # The stack of a replica's thread does not lead there.
    (place,) = {(Path(loss.where.file).name, loss.where.code) for loss in run.losses}
    assert place == (
        "mirrored.py",
        "history = model.fit(x, y, **options)  # here fit is called",
    )
    assert {tuple(one.steps) for one in run.optimizers} == {(0, 2, 4)}
    # Told once for all replicas, and logged once for all losses: which of them is named
    # first depends on which records were written when it was judged.
    # That of the regularization follows from them.
    assert done.stdout.splitlines()[-1] == "nan of a_loss, b_loss, loss"
    assert done.stderr.count("is not finite: first NaN at step 2") == 1
    assert "All are NaN at once, so look at the loss itself" in done.stderr
