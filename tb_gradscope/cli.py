"""The command `tb-gradscope`."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence

import tb_gradscope
from tb_gradscope.format.errors import GradscopeError

_UNREADABLE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
      arguments: without the command's own name; None for the process's.

    Returns:
      0; 2 where the log directory cannot be read; of `run`, what the program returns.
    """
    parser = argparse.ArgumentParser(
        prog="tb-gradscope", description="See what every gradient of a TensorFlow training is."
    )
    parser.add_argument(
        "--version", action="version", version=f"tb-gradscope {tb_gradscope.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    report = commands.add_parser(
        "report",
        help="print what a log directory tells",
        description="Prints, for each run below LOGDIR: the norm of each loss's gradient for each "
        "variable at the last step, what clipping did, and which gradients are missing.",
    )
    report.add_argument("logdir", metavar="LOGDIR")
    report.add_argument(
        "--run", metavar="REGEX", type=_regex, help="only runs whose name matches, anywhere in it"
    )
    report.set_defaults(function=_report)
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


def _report(options: argparse.Namespace) -> int:
    from tb_gradscope.view import text
    from tb_gradscope.view.load import History, load

    history = load(options.logdir)
    if options.run is not None and history.runs:
        runs = {name: run for name, run in history.runs.items() if options.run.search(name)}
        problems = history.problems
        if not runs:
            names = ", ".join(sorted(history.runs))
            problems += (f"No run matches {options.run.pattern!r}; there are: {names}.",)
        history = History(runs, problems)
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    print(text.report(history, width), end="", flush=True)
    return 0


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"{pattern!r} is no regular expression: {error}"
        ) from error
