"""What was recorded is on disk when the program dies right after `tape.gradient`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic

PROGRAM = """
    import os, signal, sys
    import tensorflow as tf
    import tb_gradscope as gs

    w1, w2 = tf.Variable([[1.0], [2.0]]), tf.Variable([[1.0], [2.0], [3.0]])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            loss1 = tf.reduce_sum(w1**2)
            loss2 = tf.reduce_sum(w1) + tf.reduce_sum(w2**2)
        g1 = tape.gradient(loss1, [w1, w2])
        g2 = tape.gradient(loss2, [w1, w2])
        {crash}

    {wrap}
    {route}
"""
SUM = "return [a + b for a, b in zip(g1, g2)]"
RECORD = "with gs.record(sys.argv[1], every=1): step()"
WRITER = "with tf.summary.create_file_writer(sys.argv[1]).as_default(step=0): step()"


def run(logdir, crash, wrap="", route=RECORD):
    program = textwrap.dedent(PROGRAM).format(crash=crash, wrap=wrap, route=route)
    return subprocess.run(
        [sys.executable, "-c", program, str(logdir)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        # A shell may have started all this in the background, where it ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def states(logdir):
    (run,) = gs.load(logdir).runs.values()
    return {
        loss.name: dict(
            zip(
                [run.variables[index].name for index in loss.variables],
                loss.values[-1, :, Statistic.STATE].astype(int).tolist(),
                strict=True,
            )
        )
        for loss in run.losses
    }


@pytest.mark.parametrize("route", [RECORD, WRITER], ids=["record", "summary_writer"])
def test_the_sum_with_none(route, tmp_path):
    ended = run(tmp_path, SUM, route=route)
    assert "ValueError: Attempt to convert a value (None)" in ended.stderr
    assert states(tmp_path) == {
        "loss1": {"w1": State.OK, "w2": State.NONE},
        "loss2": {"w1": State.OK, "w2": State.OK},
    }


@pytest.mark.parametrize("route", [RECORD, WRITER], ids=["record", "summary_writer"])
@pytest.mark.parametrize("jit", [False, True])
def test_the_sum_with_none_while_tracing(jit, route, tmp_path):
    """No step was ever run, but which pair is missing is known."""
    ended = run(tmp_path, SUM, wrap=f"step = tf.function(step, jit_compile={jit})", route=route)
    assert "ValueError: None values not supported" in ended.stderr
    found = states(tmp_path)
    assert found["loss1"] == {"w1": State.ABSENT, "w2": State.NONE}
    (history,) = gs.load(tmp_path).runs.values()
    (loss,) = [loss for loss in history.losses if loss.name == "loss1"]
    assert loss.traced_only
    assert loss.first_seen[:, 0].tolist() == [-1, 0]


ENDS = {
    "exit": "sys.exit(3)",
    "interrupt": "raise KeyboardInterrupt",
    "sigint": "os.kill(os.getpid(), signal.SIGINT)",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("in_function", [False, True])
def test_other_ends(end, in_function, tmp_path):
    if in_function:
        compiled = "compiled = tf.function(step)"
        route = f"with gs.record(sys.argv[1], every=1): compiled(); compiled(); {ENDS[end]}"
        ended = run(tmp_path, "pass", wrap=compiled, route=route)
    else:
        ended = run(tmp_path, ENDS[end])
    assert ended.returncode == (3 if end == "exit" else -signal.SIGINT)
    assert states(tmp_path)["loss2"] == {"w1": State.OK, "w2": State.OK}


def test_the_first_eager_record_survives_a_kill(tmp_path):
    ended = run(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert ended.returncode == -signal.SIGKILL
    assert states(tmp_path)["loss1"] == {"w1": State.OK, "w2": State.NONE}


def test_a_recorder_never_left_is_written_at_exit(tmp_path):
    route = "gs.record(sys.argv[1], every=1).__enter__(); good = tf.function(step); good(); good()"
    assert run(tmp_path, "pass", route=route).returncode == 0
    (history,) = gs.load(tmp_path).runs.values()
    assert [loss.steps.tolist() for loss in history.losses] == [[0, 1], [0, 1]]
