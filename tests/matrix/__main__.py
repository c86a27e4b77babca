"""Runs the tests with old and new versions of what tb_gradscope stands on; prints a table."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.matrix import view
from tests.matrix.cells import CELLS, Cell
from tests.matrix.environments import HOME, environment, interpreter, suite, versions, wheel

# Browser, wheel and benchmark are the same everywhere.
_LEFT_OUT = ("--ignore=tests/e2e", "--ignore=tests/bench", "--ignore=tests/demo")
# A file of tests is run by one process, as in the Makefile.
_PARALLEL = ("-n", "2", "--dist", "loadfile")
_HEADER = "| cell | Python | TensorFlow | Keras | TensorBoard | protobuf | NumPy | result |"
_HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Runs the matrix.

    Returns:
      1 if a cell failed or none was run.
    """
    names = [cell.name for cell in CELLS]
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("cells", nargs="*", metavar="CELL", help=f"some of {', '.join(names)}")
    parser.add_argument("--tests", default="", help='for pytest instead of all: "tests/view -x"')
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table here too")
    options = parser.parse_args(arguments)
    if unknown := set(options.cells) - set(names):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; expected {', '.join(names)}")
    chosen = [cell for cell in CELLS if not options.cells or cell.name in options.cells]
    package, tests = wheel(), suite()
    rows, failed, ran = [_HEADER, "|---" * 8 + "|"], False, 0
    for cell in chosen:
        python = interpreter(cell.python)
        if python is None:
            shown = [cell.python, "", "", "", "", ""]
            result = f"not run: no Python {cell.python} here"
        else:
            say(f"{cell.name}: making the environment with {python}")
            own = environment(cell, python, package)
            shown = list(versions(own).values())
            result, is_well = tested(cell, own, tests, options.tests.split())
            failed |= not is_well
            ran += 1
        say(f"{cell.name}: {result}")
        rows.append(f"| {' | '.join([cell.name, *shown, result])} |")
        if options.markdown:  # a cell may take half an hour, and the next one be interrupted
            options.markdown.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print("\n".join(rows))
    return int(failed or not ran)


def tested(cell: Cell, python: Path, tests: Path, chosen: list[str]) -> tuple[str, bool]:
    """Returns what came of a cell in words, and whether it is well."""
    logs = HOME / "logs"
    if not cell.trains:
        shown = sorted(str(log) for log in logs.iterdir() if log.is_dir()) if logs.exists() else []
        if not shown:
            return "not run: no log, since no environment has trained", True
        code, last = run(cell, [python, "-I", view.__file__, *shown], HOME)
        return (f"{len(shown)} logs shown" if not code else f"FAILED: {last}"), not code
    code, last = run(
        cell, [python, "-m", "pytest", "-q", *_PARALLEL, *(chosen or _LEFT_OUT)], tests
    )
    log = logs / cell.name
    shutil.rmtree(log, ignore_errors=True)
    trained, problem = run(cell, [python, "-I", _HERE / "train.py", log], HOME)
    if trained != 0:
        shutil.rmtree(log, ignore_errors=True)
        return f"FAILED: {problem}", False
    Path(f"{log}.txt").write_text(view.report(python, str(log)), encoding="utf-8")
    return (last if not code else f"FAILED: {last}"), not code


def run(cell: Cell, command: list[str | Path], cwd: Path) -> tuple[int, str]:
    """Runs a command into the cell's own file; returns its exit code and last line."""
    output = HOME / f"{cell.name}.log"
    with output.open("a", encoding="utf-8") as file:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, stdout=file, stderr=file, check=False
        )
    lines = output.read_text(encoding="utf-8").strip().splitlines()
    return done.returncode, lines[-1].strip("= ") if lines else ""


def say(text: str) -> None:
    """Tells how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
