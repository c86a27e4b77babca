"""What the README and the package's docstring show is run as it stands there."""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic

README = pathlib.Path(__file__).parents[1] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def run(program: str, cwd: pathlib.Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "GradscopeWarning" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    run(python_blocks()[0], folder)
    return folder


def test_the_first_example_shows_what_its_comments_say(trained):
    history = gs.load(trained / "logs").runs["run1"]
    assert [variable.name for variable in history.variables] == ["w1", "w2"]
    (loss,) = history.losses
    assert loss.name == "loss"
    assert loss.values[-1, :, Statistic.STATE].tolist() == [State.OK, State.NONE]
    (clip,) = history.clips
    assert clip.calls[-1] == 100
    assert clip.clipped[0] == 1


def test_the_example_is_ten_lines():
    lines = [line for line in python_blocks()[0].splitlines() if line.strip()]
    assert len(lines) == 10


def test_the_table_of_what_is_not_ok(trained):
    printed = run(python_blocks()[1], trained)
    assert "w2" in printed
    assert "w1" not in printed


def test_the_report_as_text(trained):
    command = [sys.executable, "-m", "tb_gradscope", "report", "logs"]
    done = subprocess.run(command, cwd=trained, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "w2" in done.stdout
    assert "NONE" in done.stdout


def test_the_package_docstring(tmp_path):
    assert gs.__doc__ is not None
    program = gs.__doc__.split("The shortest true program:")[1].split("and then")[0]
    run(textwrap.dedent(program), tmp_path)
    (history,) = gs.load(tmp_path / "logs").runs.values()
    assert history.losses[0].values[-1, :, Statistic.STATE].tolist() == [State.OK, State.NONE]
