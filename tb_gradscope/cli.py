"""The command `tb-gradscope`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tb_gradscope
from tb_gradscope import report_command
from tb_gradscope.format.errors import GradscopeError

_UNREADABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: without the command's own name; None for the process's.

    Returns:
      0; of `report` 1 where `--fail-on` says so, and 2 where the log directory cannot
      be read; of `run`, what the program returns.
    """
    parser = argparse.ArgumentParser(
        prog="tb-gradscope", description="See what every gradient of a TensorFlow training is."
    )
    parser.add_argument(
        "--version", action="version", version=f"tb-gradscope {tb_gradscope.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    report_command.add_to(commands)
    # Here for the list of commands; what follows `run` is not ours to understand.
    commands.add_parser("run", help="run an unmodified program and record it", add_help=False)
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["run"]:
        from tb_gradscope import run

        return run.main(given[1:], replace=arguments is None)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # Names may hold letters that the terminal's encoding lacks.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return int(options.function(options))
    except GradscopeError as error:
        print(f"tb-gradscope: {error}", file=sys.stderr)
        return _UNREADABLE
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        sys.stderr.close()
        return 0
