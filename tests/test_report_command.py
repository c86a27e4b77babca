"""`tb-gradscope report`, as a process of its own: formats, exit codes, thresholds, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.view.logs import NAN, NONE, OK, Clip, Log, Loss


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    """A log directory with a training that ends in NaN, and a healthy one."""
    logs = tmp_path_factory.mktemp("logs")
    with Log(logs / "broken") as log:
        loss = Loss("loss", ["enc/kernel", "enc/bias", "dec/kernel"])
        loss.open(log, 0)
        for step in range(20):
            state = NAN if step >= 12 else OK
            loss.record(log, step, [1.0, 2.0, 3.0], [state, OK, NONE])
    with Log(logs / "healthy") as log:
        loss = Loss("loss", ["w"])
        loss.open(log, 0)
        for step in range(20):
            loss.record(log, step, [1.0], [OK])
    return logs


def report(*arguments, columns=100, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tb_gradscope", "report", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": str(columns), **environment},
    )


def test_json_to_the_letter(logdir):
    done = report(logdir, "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["format"] == 1
    broken = answer["runs"]["broken"]
    assert broken["steps"] == {"first": 0, "last": 19, "recorded": 20}
    assert broken["losses"] == ["loss"]
    assert broken["variables"] == ["enc/kernel", "enc/bias", "dec/kernel"]
    nan, none = broken["findings"]
    assert set(nan) == {
        *("kind", "cause", "severity", "loss", "other_loss", "variables"),
        *("first_step", "last_step", "steps", "count"),
        *("where", "evidence", "message", "advice"),
    }
    assert (nan["kind"], nan["severity"], nan["cause"]) == ("nan", "error", None)
    assert (nan["loss"], nan["variables"]) == ("loss", ["enc/kernel"])
    assert (nan["first_step"], nan["last_step"], nan["steps"], nan["count"]) == (12, 19, "from", 8)
    assert set(nan["where"]) == {"file", "line", "code", "op"}
    assert (none["kind"], none["cause"], none["variables"]) == ("none", "unknown", ["dec/kernel"])
    assert answer["runs"]["healthy"]["findings"] == []


def test_text_says_the_findings_first(logdir):
    lines = report(logdir, "--run", "broken").stdout.splitlines()
    assert lines[0] == "Run broken"
    findings = lines[lines.index("Findings") + 1 :]
    assert findings[0].startswith("  error  nan  The gradient of loss is not finite: first NaN")
    assert "\x1b" not in "".join(lines)


def test_markdown(logdir):
    lines = report(logdir, "--format", "markdown").stdout.splitlines()
    assert lines[:6] == [
        "## Gradients: 1 error, 1 warning",
        "",
        "| run | steps | errors | warnings | info |",
        "|---|---|---|---|---|",
        "| broken | 0 to 19 | 1 | 1 |  |",
        "| healthy | 0 to 19 |  |  |  |",
    ]
    assert lines[7] == "### broken"
    assert lines[9].startswith("- **error: nan** The gradient of loss is not finite")
    assert "<br>`train.py:7`<br>`g = tape.gradient(loss, variables)`<br>*" in lines[9]
    assert "### healthy" not in lines


def test_markdown_where_nothing_was_recorded(tmp_path):
    with Log(tmp_path) as log:
        log.put(0, "accuracy", np.float32(1), "scalars")
    done = report(tmp_path, "--format", "markdown")
    lines = done.stdout.splitlines()
    assert lines[:4] == ["## Gradients: nothing to judge", "", "### Problems", ""]
    assert "but no gradients: nothing was recorded" in lines[4]
    assert done.returncode == 0


def test_the_log_directory_itself_is_called_as_it_was_asked_for(logdir):
    here = logdir / "healthy"
    assert report(here).stdout.startswith(f"Run {here}\n")
    assert f"| {here} | 0 to 19 |" in report(here, "--format", "markdown").stdout


@pytest.mark.parametrize(
    ("run", "fail_on", "code"),
    [
        ("broken", "error", 1),
        ("broken", "warning", 1),
        ("broken", "never", 0),
        ("healthy", "warning", 0),
    ],
)
def test_exit_code(logdir, run, fail_on, code):
    done = report(logdir, "--run", run, "--fail-on", fail_on)
    assert done.returncode == code
    assert done.stdout.startswith(f"Run {run}")


def test_nothing_to_judge_is_no_success(logdir):
    assert report(logdir, "--run", "nosuch", "--fail-on", "error").returncode == 2
    assert report(logdir, "--run", "nosuch").returncode == 0


def test_a_log_directory_that_cannot_be_read(tmp_path):
    assert report(tmp_path / "none").returncode == 2
    done = report(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "holds no event files; expected the directory given to gs.record, or one above it.\n"
    )


@pytest.fixture(scope="module")
def clipped(tmp_path_factory):
    logs = tmp_path_factory.mktemp("clipped")
    with Log(logs) as log:
        clip = Clip("clip", ["w"])
        clip.open(log, 0)
        for step in range(40):
            clip.record(log, step, [10.0 if step % 5 < 2 else 0.5], 1.0)
    return logs


def kinds(done):
    (run,) = json.loads(done.stdout)["runs"].values()
    return [finding["kind"] for finding in run["findings"]]


def test_thresholds_by_flag_and_by_file_and_the_flag_goes_first(clipped, tmp_path):
    config = tmp_path / "gradscope.toml"
    config.write_text("[thresholds]\nclip_saturated = 0.3\n")
    plain = ("--format", "json", clipped)
    assert kinds(report(*plain)) == []
    assert kinds(report(*plain, "--clip-saturated", "0.3")) == ["clip_saturated"]
    assert kinds(report(*plain, "--config", config)) == ["clip_saturated"]
    assert kinds(report(*plain, "--config", config, "--clip-saturated", "0.9")) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[thresholds]\nspikes = 3\n", "names the threshold 'spikes', which does not exist; there"),
        (
            "[thresholds]\nspike = 0.5\n",
            "config.toml: spike is 0.5, expected a number of 1 or more",
        ),
        (
            "[thresholds]\nspike = 'x'\n",
            "config.toml: spike is 'x', expected a number of 1 or more",
        ),
        ("[thresholds]\nmin_records = 2.5\n", "is 2.5, expected a whole number of 1 or more"),
        ("[other]\n", "expected a table [thresholds], found other."),
        ("[thresh", "is no TOML"),
    ],
)
def test_configuration_that_makes_no_sense(logdir, tmp_path, text, sentence):
    (tmp_path / "config.toml").write_text(text)
    done = report(logdir, "--config", tmp_path / "config.toml")
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stdout == ""


def test_configuration_that_is_not_there(logdir, tmp_path):
    done = report(logdir, "--config", tmp_path / "none.toml")
    assert done.returncode == 2
    assert "cannot be read" in done.stderr


@pytest.mark.parametrize(
    ("flag", "text", "said"),
    [
        ("--conflict", "3", "is 3, expected a number from -1 to 0 (conflict: "),
        ("--spike", "abc", "is 'abc', expected a number of 1 or more (exploding: "),
        ("--min-records", "2.5", "is 2.5, expected a whole number of 1 or more (fewer "),
    ],
)
def test_a_flag_that_makes_no_sense(logdir, flag, text, said):
    done = report(logdir, flag, text)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"tb-gradscope: {flag} {said}")


def test_evidence_names_its_threshold(clipped):
    done = report(clipped, "--format", "json", "--clip-saturated", "0.3")
    (run,) = json.loads(done.stdout)["runs"].values()
    evidence = run["findings"][0]["evidence"]
    assert (evidence["threshold"], evidence["threshold_name"]) == (0.3, "clip_saturated")


def test_a_flag_without_a_value_is_told_without_the_list_of_all_flags(logdir):
    done = report(logdir, "--spike")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "usage: tb-gradscope report [OPTION ...] LOGDIR",
        "tb-gradscope report: error: argument --spike: expected one argument",
    ]
