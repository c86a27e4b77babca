"""What users install: the wheel, the sdist, and a viewer on a machine without TensorFlow."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import tarfile
import threading
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tb_gradscope
from tests.view.logs import NONE, OK, Log, Loss

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
DEADLINE = 90

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, **env: str) -> str:
    """Runs a command away from the checkout; returns what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=HERE,
        env={**clean_environment(), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--sdist", "--outdir", out, REPOSITORY)
    return next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out, REPOSITORY)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def viewer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, what it depends on, and nothing else."""
    home = tmp_path_factory.mktemp("viewer")
    venv.create(home, with_pip=True)
    commands = home / "bin"
    run(commands / "python", "-m", "pip", "install", "--quiet", wheel)
    return commands


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run, whose loss "mse" never reaches "dense/bias"."""
    logs = tmp_path_factory.mktemp("logs")
    loss = Loss("mse", ["dense/kernel", "dense/bias"])
    with Log(logs / "run1") as log:
        loss.open(log, 0)
        for step in range(20):
            loss.record(log, step, 0.5, [OK, NONE])
    return logs


def test_wheel_has_everything_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.endswith("-py3-none-any.whl")
    assert names >= {
        "tb_gradscope/py.typed",
        "tb_gradscope/format/gradscope.desc",
        "tb_gradscope/format/gradscope.proto",
        "tb_gradscope/static/index.js",
        "tb_gradscope/static/LICENSES.md",
    }
    assert {name.partition("/")[0] for name in names} == {
        "tb_gradscope",
        f"tb_gradscope-{tb_gradscope.__version__}.dist-info",
    }


def test_sdist_has_the_page_and_its_source(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"tb_gradscope/static/index.js", "plugin_frontend/src/index.ts", "Makefile"}
    assert not any("node_modules" in name or name.startswith(".venv") for name in names)


def test_sdist_needs_neither_node_nor_npm(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    without_node = tmp_path / "bin"
    without_node.mkdir()
    (without_node / "python3").symlink_to(sys.executable)
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
        *("--wheel-dir", tmp_path, sdist),
        PATH=str(without_node),
        npm_config_registry="http://127.0.0.1:9/",
    )
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_command_says_its_version(viewer: Path) -> None:
    assert tb_gradscope.__version__ in run(viewer / "tb-gradscope", "--version")
    assert tb_gradscope.__version__ in run(viewer / "python", "-m", "tb_gradscope", "--version")


def test_reading_works_without_tensorflow(viewer: Path, logs: Path) -> None:
    said = run(
        *(viewer / "python", "-c"),
        "import sys, tb_gradscope as gs\n"
        "assert gs.load(sys.argv[1])\n"
        "assert 'tensorflow' not in sys.modules\n"
        "try: gs.GradientTape\n"
        "except ImportError as error: print(error)",
        logs,
    )
    assert "pip install 'tb-gradscope[tensorflow]'" in said


@contextmanager
def tensorboard(viewer: Path, *flags: str | Path) -> Iterator[str]:
    """Runs TensorBoard on a port of its own choice; yields its URL."""
    process = subprocess.Popen(
        [str(viewer / "tensorboard"), "--port", "0", "--reload_interval", "1", *map(str, flags)],
        cwd=HERE,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    assert process.stdout is not None
    lines = process.stdout

    def listen() -> None:
        for line in lines:
            said.put(line)
        said.put("")

    threading.Thread(target=listen, daemon=True).start()
    try:
        text = line = said.get(timeout=DEADLINE)
        while line and "(Press CTRL+C to quit)" not in line:
            line = said.get(timeout=DEADLINE)
            text += line
        found = re.search(r"http://\S+/", line)
        assert found, text
        yield found[0]
    finally:
        process.terminate()
        process.wait(DEADLINE)
        lines.close()


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("load_fast", ["true", "false"])
def test_tensorboard_serves_the_tab(viewer: Path, wheel: Path, logs: Path, load_fast: str) -> None:
    with tensorboard(viewer, "--logdir", logs, f"--load_fast={load_fast}") as url:
        end = time.monotonic() + DEADLINE
        while True:
            tab = json.loads(fetch(f"{url}data/plugins_listing"))["gradscope"]
            index = json.loads(fetch(f"{url}data/plugin/gradscope/index"))
            if (tab["enabled"] and index["runs"]) or time.monotonic() > end:
                break
            time.sleep(0.5)
        page = fetch(f"{url}data/plugin/gradscope/static/index.js")
    assert tab["enabled"]
    assert tab["tab_name"] == "GradScope"
    assert page == zipfile.ZipFile(wheel).read("tb_gradscope/static/index.js")
    (one,) = index["runs"]
    assert (one["name"], one["losses"], one["variables"]) == ("run1", 1, 2)
    assert (one["first_step"], one["last_step"], one["missing"]) == (0, 19, 1)


def test_viewer_has_no_tensorflow(viewer: Path) -> None:
    run(viewer / "python", "-c", "import importlib.util as u; assert not u.find_spec('tensorflow')")
