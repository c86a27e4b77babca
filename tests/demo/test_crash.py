"""Programs that crash right after asking for the gradients: what is on disk all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import demo
import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tests.demo import reference
from tests.demo.conftest import Run

pytestmark = pytest.mark.slow
ROOT = Path(demo.__file__).parents[1]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """Log directory and result of both programs, by name."""
    started = {}
    for name in ("summed_crash", "summed_crash_traced"):
        logdir = tmp_path_factory.mktemp(name)
        command = [sys.executable, "-m", f"demo.{demo.DEMOS[name].module}", str(logdir)]
        started[name] = (
            logdir,
            subprocess.Popen(
                [*command, *demo.DEMOS[name].options],
                cwd=ROOT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ),
        )
    return {
        name: (logdir, *process.communicate(), process.returncode)
        for name, (logdir, process) in started.items()
    }


@pytest.mark.parametrize("name", ["summed_crash", "summed_crash_traced"])
def test_the_error_is_the_programs_own(crashed, name):
    _, output, errors, code = crashed[name]
    assert code == 1
    assert output == ""
    assert "sums = [a + b for a, b in zip" in errors
    assert errors.strip().splitlines()[-1].strip().startswith("ValueError: ")
    assert "None" in errors.strip().splitlines()[-1]
    assert "tb_gradscope" not in errors
    assert "GradscopeWarning" not in errors


@pytest.mark.parametrize("name", ["summed_crash", "summed_crash_traced"])
def test_the_missing_pair_is_named(crashed, name):
    history = gs.load(crashed[name][0])
    assert history.problems == ()
    run = Run(history)
    assert run.history.problems == ()
    assert run.pairs(State.NONE) == {("loss1", "w2")}
    loss1 = run.losses["loss1"]
    assert loss1.first_seen[:, 0].tolist() == [-1, 0]
    assert loss1.where.code == "gradients1 = tape.gradient(loss1, [w1, w2])"
    assert loss1.where.file == str(ROOT / "demo" / "summed_crash.py")


def test_eager_step_is_whole(crashed):
    run = Run(gs.load(crashed["summed_crash"][0]))
    assert not run.losses["loss1"].traced_only
    assert run.clips == ()  # it never came to that
    for (loss, variable), truth in reference.two_losses().items():
        assert run.losses[loss].steps.tolist() == [0]
        assert run.norms(loss, variable) == pytest.approx([reference.norm(truth)], rel=1e-5)


def test_traced_step_has_no_numbers(crashed):
    run = Run(gs.load(crashed["summed_crash_traced"][0]))
    loss1 = run.losses["loss1"]
    assert loss1.traced_only
    assert loss1.values[0, :, Statistic.STATE].tolist() == [State.ABSENT, State.NONE]
    assert np.isnan(loss1.values[..., Statistic.NORM]).all()
    assert run.states() <= {State.ABSENT, State.NONE}


def test_report_names_the_pair(crashed):
    for logdir, *_ in crashed.values():
        done = subprocess.run(
            [sys.executable, "-m", "tb_gradscope", "report", str(logdir)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "loss1 has no gradient for w2 at step 0" in " ".join(done.stdout.split())
