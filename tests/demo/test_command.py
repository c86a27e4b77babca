"""`python -m demo`: what `make demo` runs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import demo
import tb_gradscope as gs
from demo import __main__ as command
from tb_gradscope import cli

ROOT = Path(demo.__file__).parents[1]


@pytest.mark.slow
def test_trains_and_reports(tmp_path, capsys):
    names = ["separate_weights", "summed_clipped"]
    arguments = ["--no-serve", "--logdir", str(tmp_path), "--steps", "3"]
    assert command.main([*arguments, *names]) == 0
    printed = capsys.readouterr().out
    assert cli.main(["report", str(tmp_path)]) == 0
    report = capsys.readouterr().out
    assert printed.endswith(report)
    assert re.findall(r"^Run (.*)", report, re.MULTILINE) == names
    assert "steps 0 to 2, 3 steps recorded" in report
    for name in names:
        assert f"  {name}: 3 steps, " in printed
        assert f"  {name}: {demo.DEMOS[name].finding}"[:90] in printed


@pytest.mark.slow
def test_starts_afresh_and_spares_the_rest(tmp_path, capsys):
    arguments = ["--no-serve", "--logdir", str(tmp_path)]
    assert command.main([*arguments, "--steps", "5", "extra_update"]) == 0
    (old,) = (tmp_path / "extra_update").iterdir()
    others = [
        "extra_update/notes.txt",
        "extra_update/events.out.tfevents.1.host",
        "vae/x.gradscope",
    ]
    for other in others:
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_bytes(b"")
    assert command.main([*arguments, "--steps", "2", "extra_update"]) == 0
    assert not old.exists()
    assert all((tmp_path / other).exists() for other in others)
    assert gs.load(tmp_path).runs["extra_update"].losses[0].steps.tolist() == [0, 1]
    # Only what was trained is reported, not what else is there.
    assert "Run extra_update" in capsys.readouterr().out


@pytest.mark.slow
def test_a_crash_is_expected(tmp_path, capsys):
    assert command.main(["--no-serve", "--logdir", str(tmp_path), "summed_crash"]) == 0
    printed = capsys.readouterr().out
    assert "summed_crash: crashed as it should (ValueError: Attempt to convert" in printed
    unwrapped = " ".join(printed.split())
    assert "loss1 has no gradient for w2 at step 0: it is read, but" in unwrapped
    assert "leave the None out where gradients of several losses are added up" in unwrapped


def test_a_demo_that_does_not_crash_is_a_fault(tmp_path, capsys, monkeypatch):
    harmless = demo.Demo("harmless", "summed_crash", crashes=True, options=("--help",))
    monkeypatch.setitem(demo.DEMOS, "harmless", harmless)
    assert command.main(["--no-serve", "--logdir", str(tmp_path), "harmless"]) == 1
    assert "harmless did not stumble over a None" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone"], "no demo 'gone'; there are: separate_weights, extra_update,"),
        (["--steps", "0"], "'0' is no whole number of 1 or more"),
        (["--steps", "many"], "'many' is no whole number of 1 or more"),
        (["--port", "x"], "invalid int value: 'x'"),
    ],
)
def test_bad_arguments(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_logdir_is_a_file(tmp_path, capsys):
    file = tmp_path / "notes.txt"
    file.touch()
    assert command.main(["--no-serve", "--logdir", str(file)]) == 2
    assert capsys.readouterr().err == f"{file} is a file; expected a log directory.\n"


@pytest.mark.slow
def test_serves_until_interrupted(tmp_path):
    arguments = ["--logdir", str(tmp_path), "--steps", "2", "--port", "0", "separate_weights"]
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Who runs in the background of a shell ignores interrupts, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        found = None
        for line in process.stdout:
            found = re.match(r"Open (http://localhost:\d+/)#gradscope ", line)
            if found:
                break
        assert found
        with urllib.request.urlopen(f"{found[1]}data/plugin/gradscope/index") as response:
            index = json.load(response)
        assert [run["name"] for run in index["runs"]] == ["separate_weights"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
