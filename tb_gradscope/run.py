"""`tb-gradscope run`: an unmodified program, recorded."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

_STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
_DEFAULT = os.path.join("logs", "gradscope")
_USAGE = 2

DESCRIPTION = (
    "Runs a Python program as `python` does, and records the gradients of every "
    "tf.GradientTape in it (that of Keras' fit too), its gradient clipping and its Keras "
    "optimizers. Processes that the program starts are not recorded."
)


def main(arguments: Sequence[str], *, replace: bool) -> int:
    """Runs the command.

    Args:
      arguments: what follows `run`.
      replace: let the program take this process's place, so that signals reach
        it and its end is that of the command.

    Returns:
      The program's exit code, 128 + N where signal N ended it.
    """
    head, program = _split(list(arguments))
    parser = _parser()
    options = parser.parse_args(head)
    _check(parser, options, program)
    environment = _environment(options.logdir, options.every)
    # Options given to the Python that runs this, such as -X dev, are for the program.
    flags: list[str] = getattr(subprocess, "_args_from_interpreter_flags", list)()
    command = [sys.executable, *flags, *program]
    sys.stdout.flush()
    sys.stderr.flush()
    if replace and os.name == "posix":
        os.execve(sys.executable, command, environment)
    code = subprocess.run(command, env=environment, check=False).returncode
    return code if code >= 0 else 128 - code


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns our own options, and the program with its arguments, whatever those look like."""
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        if argument == "--":
            return arguments[:position], arguments[position + 1 :]
        if argument.startswith("-m") or not argument.startswith("-"):
            return arguments[:position], arguments[position:]
        position += 2 if argument in ("--logdir", "--every") else 1
    return arguments, []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tb-gradscope run",
        usage="tb-gradscope run [--logdir D] [--every N] (SCRIPT | -m MODULE) [ARG ...]",
        description=DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--logdir",
        metavar="D",
        help=f"the directory of this run; without it {os.path.join(_DEFAULT, 'TIME')}",
    )
    parser.add_argument(
        "--every",
        metavar="N",
        default="auto",
        type=_every,
        help="record every N-th step in full; without it densely at first and ever more sparsely",
    )
    return parser


def _every(text: str) -> str:
    if text == "auto" or (text.isdecimal() and int(text) >= 1):
        return text
    raise argparse.ArgumentTypeError(f"{text!r}: expected 'auto' or a whole number of 1 or more")


def _check(
    parser: argparse.ArgumentParser, options: argparse.Namespace, program: list[str]
) -> None:
    """Ends with one sentence where the command cannot be meant so."""

    def fail(sentence: str) -> NoReturn:
        print(f"tb-gradscope run: {sentence}", file=sys.stderr)
        raise SystemExit(_USAGE)

    if not program:
        fail("no program given; expected SCRIPT or -m MODULE, as after `python`.")
    first = program[0]
    if first == "-m":
        if len(program) == 1:
            fail("-m without a name; expected -m MODULE.")
    elif os.path.isdir(first):
        if not os.path.isfile(os.path.join(first, "__main__.py")):
            fail(f"{first} is a directory; expected a script.")
    elif not os.path.exists(first):
        fail(f"{first} does not exist; expected a script, or -m MODULE.")
    if options.logdir == "":
        fail("--logdir is empty; expected a directory.")
    if options.logdir is not None and os.path.isfile(options.logdir):
        fail(f"--logdir {options.logdir} is a file; expected a directory.")
    if sys.flags.ignore_environment or sys.flags.no_site:
        fail("Python runs with -E, -I or -S, with which nothing can be hooked in; leave it out.")


def _environment(logdir: str | None, every: str) -> dict[str, str]:
    """Returns that of the program, with what the `sitecustomize` in `startup` needs to know."""
    found = dict(os.environ)
    # The program may go to another directory before it trains.
    where = os.path.join(_DEFAULT, "") if logdir is None else logdir.rstrip(os.sep) or os.sep
    told = {
        "LOGDIR": where if "://" in where else os.path.join(os.getcwd(), where),
        "SHOWN": logdir or _DEFAULT,
        "EVERY": every,
    }
    before = found.get("PYTHONPATH")
    if before is not None:
        told["PYTHONPATH"] = before
    found.update({f"TB_GRADSCOPE_RUN_{name}": value for name, value in told.items()})
    found["PYTHONPATH"] = os.pathsep.join([_STARTUP, before] if before else [_STARTUP])
    return found
