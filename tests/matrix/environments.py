"""Interpreters, and the virtual environments made with them."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.matrix.cells import Cell

REPOSITORY = Path(__file__).parents[2]
HOME = REPOSITORY / ".matrix"
TOOLS = (
    "pytest>=8.2,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "pandas>=2.0",
    "scikit-learn>=1.3",
    "tqdm",
)

_NEEDED = ("tests/", "demo/", "plugin_frontend/src/", "pyproject.toml", "README.md")

# Where version managers keep theirs.
_MANAGED = ("~/.pyenv/versions/{}*/bin/python", "~/.local/share/uv/python/cpython-{}*/bin/python3")
_SHOWN = ("tensorflow", "keras", "tensorboard", "protobuf", "numpy")


def interpreter(version: str) -> str | None:
    """Returns a Python of that version: of $PYTHONS, on the PATH, or a version manager's."""
    program = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for candidate in _candidates(version):
        try:
            done = subprocess.run([candidate, "-c", program], capture_output=True, text=True)
        except OSError:
            continue
        if done.stdout.strip() == version:
            return candidate
    return None


def _candidates(version: str) -> Iterator[str]:
    yield from os.environ.get("PYTHONS", "").split()
    yield sys.executable
    found = shutil.which(f"python{version}")
    if found:
        yield found
    for pattern in _MANAGED:
        yield from sorted(glob.glob(os.path.expanduser(pattern.format(version + "."))))


def wheel() -> Path:
    """Builds the wheel: what users install, rather than this checkout."""
    out = HOME / "wheel"
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, REPOSITORY)
    return next(out.glob("*.whl"))


def suite() -> Path:
    """Copies what the tests need besides the installed package, and nothing of that package."""
    out = HOME / "suite"
    shutil.rmtree(out, ignore_errors=True)
    listed = run(
        "git", "-C", REPOSITORY, "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    for name in filter(None, listed.split("\0")):
        if name.startswith(_NEEDED):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            if (REPOSITORY / name).is_file():
                shutil.copy2(REPOSITORY / name, out / name)
    return out


def environment(cell: Cell, python: str, package: Path) -> Path:
    """Makes the environment of a cell, or brings that of last time up to date.

    Returns:
      Its `python`.
    """
    home = HOME / cell.name
    own = home / "bin" / "python"
    wanted = json.dumps([python, cell.requirements, TOOLS])
    made_for = home / "made_for"
    if not made_for.exists() or made_for.read_text() != wanted:
        shutil.rmtree(home, ignore_errors=True)
        run(python, "-m", "venv", home)
        more = TOOLS if cell.trains else ()
        _pip(own, f"{package}[tensorflow]" if cell.trains else str(package), *more, cell)
        made_for.write_text(wanted)
    _pip(own, "--force-reinstall", "--no-deps", str(package))
    return own


def versions(python: Path) -> dict[str, str]:
    """Returns the versions in an environment."""
    program = (
        "import importlib.metadata as m, json, platform\n"
        "names = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({'python': platform.python_version(), **names}))"
    )
    found = json.loads(run(python, "-c", program))
    return {name: found.get(name, "-") for name in ("python", *_SHOWN)}


def run(*command: str | Path, **more: object) -> str:
    """Runs a command; returns what it printed.

    Raises:
      RuntimeError: it failed.
    """
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **more
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def _pip(python: Path, *arguments: str | Cell) -> None:
    flat: list[str] = []
    for argument in arguments:
        flat += argument.requirements if isinstance(argument, Cell) else (argument,)
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *flat)
