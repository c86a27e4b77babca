"""`tb-gradscope report`: what a log directory tells, as text, JSON or Markdown."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from typing import Any

from tb_gradscope.diagnose.thresholds import THRESHOLDS, Threshold, ThresholdError, Thresholds
from tb_gradscope.format.errors import GradscopeError

_FOUND = 1
_NOTHING_TO_JUDGE = 2


def add_to(commands: Any) -> None:
    """Adds the command to an argument parser's commands."""
    parser = commands.add_parser(
        "report",
        usage="%(prog)s [OPTION ...] LOGDIR",
        help="say what is wrong, and print what a log directory tells",
        description="Prints, for each run below LOGDIR: what is wrong and where (findings), the "
        "norm of each loss's gradient for each variable at the last step, what clipping and the "
        "optimizer did, and which gradients are missing. "
        "Exit status: 0; 1 with --fail-on where something was found; 2 where LOGDIR cannot be read "
        "or holds no event files, where the configuration cannot be read, or with --fail-on there "
        "is no run to judge.",
    )
    parser.add_argument("logdir", metavar="LOGDIR")
    parser.add_argument(
        "--run", metavar="REGEX", type=_regex, help="only runs whose name matches, anywhere in it"
    )
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning", "never"),
        default="never",
        help="exit with 1 where there is a finding of that severity or a worse one",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file with a table [thresholds]; flags go first"
    )
    group = parser.add_argument_group("thresholds")
    for threshold in THRESHOLDS:
        meaning = f"{threshold.meaning} (default {threshold.default:g})"
        # Texts: what is no number is said in a sentence, without the list of all flags.
        group.add_argument(_flag(threshold), metavar="X", help=meaning.replace("%", "%%"))
    parser.set_defaults(function=_report)


def _report(options: argparse.Namespace) -> int:
    from tb_gradscope.diagnose import judge, report
    from tb_gradscope.view import markdown, text
    from tb_gradscope.view.load import History, is_empty, load

    thresholds = _thresholds(options)
    history = load(options.logdir)
    if not history.runs and is_empty(options.logdir):
        raise GradscopeError(" ".join(history.problems))
    if options.run is not None and history.runs:
        runs = {name: run for name, run in history.runs.items() if options.run.search(name)}
        problems = history.problems
        if not runs:
            names = ", ".join(sorted(history.runs))
            problems += (f"No run matches {options.run.pattern!r}; there are: {names}.",)
        history = History(runs, problems)
    found = {name: judge.findings(run, thresholds) for name, run in history.runs.items()}
    if options.format == "json":
        answer = {**report.as_json(history.runs, found), "problems": list(history.problems)}
        print(json.dumps(answer, indent=1), flush=True)
    elif options.format == "markdown":
        print(markdown.report(history, found, options.logdir), flush=True)
    else:
        width = shutil.get_terminal_size(fallback=(100, 24)).columns
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        said = text.report(history, found, width, coloured, options.logdir)
        print(said, end="", flush=True)
    if not history.runs and options.fail_on != "never":
        return _NOTHING_TO_JUDGE
    return _FOUND if options.fail_on != "never" and report.stands(found, options.fail_on) else 0


def _thresholds(options: argparse.Namespace) -> Thresholds:
    """Returns the thresholds that the configuration file and the flags ask for."""
    thresholds = Thresholds()
    if options.config is not None:
        thresholds = thresholds.changed(_table(options.config), f"--config {options.config}")
    return thresholds.read(vars(options), _flag)


def _flag(threshold: Threshold) -> str:
    return f"--{threshold.name.replace('_', '-')}"


def _table(file: str) -> dict[str, object]:
    """Returns the table [thresholds] of a TOML file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(file, "rb") as stream:
            content = tomllib.load(stream)
    except OSError as error:
        raise ThresholdError(
            f"--config {file}: cannot be read ({error.strerror}); expected a TOML file."
        ) from error
    except ValueError as error:
        raise ThresholdError(
            f"--config {file}: is no TOML ({error}); expected a table [thresholds]."
        ) from error
    table = content.get("thresholds")
    if not isinstance(table, dict):
        found = ", ".join(content) or "nothing"
        raise ThresholdError(f"--config {file}: expected a table [thresholds], found {found}.")
    return table


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise argparse.ArgumentTypeError(
            f"{pattern!r} is no regular expression: {error}"
        ) from error
