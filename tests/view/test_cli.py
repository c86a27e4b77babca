"""The command, as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import tb_gradscope
from tests.view.conftest import NAMES
from tests.view.test_load import NO_FILES
from tests.view.test_text import PLAIN

_NO_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # every import of it fails
from tb_gradscope.cli import main
code = main(sys.argv[1:])
assert sys.modules["tensorflow"] is None
sys.exit(code)
"""


def command(*arguments, columns=100, encoding="utf-8"):
    return subprocess.run(
        [sys.executable, "-c", _NO_TENSORFLOW, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding=encoding,
        env={**os.environ, "COLUMNS": str(columns), "PYTHONIOENCODING": encoding},
    )


def test_report(logdir):
    done = command("report", logdir, "--run", "^plain$")
    assert (done.returncode, done.stderr) == (0, "")
    head, matrix = PLAIN.split("\n\n", 1)
    assert done.stdout.startswith(f"{head}\n\nFindings\n")
    # What a finding says, no section says again.
    assert matrix.partition("\n\nMissing")[0] in done.stdout
    assert done.stdout.endswith(matrix[matrix.index("Clipping\n") :])


def test_report_of_everything(logdir):
    done = command("report", logdir, encoding="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\nRun ") == len(NAMES) - 1
    assert "\\xfc" in done.stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing", "missing does not exist; expected a log directory."),
        ("file", "file is a file; expected a log directory."),
    ],
)
def test_unreadable(tmp_path, name, sentence):
    (tmp_path / "file").touch()
    done = command("report", tmp_path / name)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"tb-gradscope: {tmp_path}/{sentence}\n"


def test_nothing_to_report(tmp_path, others):
    done = command("report", tmp_path, "--format", "json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"tb-gradscope: {tmp_path} {NO_FILES}\n"
    done = command("report", others, columns=1000)
    assert done.returncode == 0
    assert "nothing was recorded with tb_gradscope there." in done.stdout


def test_no_run_matches(logdir):
    done = command("report", logdir / "nested", "--run", "x", columns=1000)
    assert (done.returncode, done.stdout) == (0, "No run matches 'x'; there are: run.\n")


def test_bad_usage(tmp_path):
    assert command().returncode == 2
    done = command("report", tmp_path, "--run", "(")
    assert done.returncode == 2
    assert "'(' is no regular expression" in done.stderr


def test_version():
    done = command("--version")
    assert done.stdout == f"tb-gradscope {tb_gradscope.__version__}\n"


def test_module_is_the_command(logdir):
    done = subprocess.run(
        [sys.executable, "-m", "tb_gradscope", "report", str(logdir), "--run", "^plain$"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.stdout.endswith(PLAIN[PLAIN.index("Clipping\n") :])


def test_reader_that_has_seen_enough(logdir):
    line = f"{sys.executable} -m tb_gradscope report {logdir} | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("Run ")
