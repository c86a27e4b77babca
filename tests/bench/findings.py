"""What is found in programs whose faults are known, and in healthy ones."""

from __future__ import annotations

import dataclasses
import functools
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from tests.bench.tables import aligned
from tests.diagnose.cases import none_run, program_run, run_trainings
from tests.diagnose.cases.outcome import HEALTHY, NOTHING, POINTS, Outcome, label

HEALTHY_STEPS = (5, 500)
"""How long healthy programs are recorded: little is known after a few steps."""

WHOLE = {
    "faulty": "missing gradients, whole programs",
    "healthy": "healthy, gradients that must be None",
}

NOTES = """\
Each program is run once, and the findings are those of `tb-gradscope report` on its log. \
`detected`: of a missing gradient, that it is missing; of another fault, any finding above info. \
`further`: findings above info in a faulty program, of another kind or cause than expected. \
`false alarms`: healthy programs with any finding above info. Rules were tuned on one half; the \
others were written down with their answers before they were first run. `right severity` where \
one was stated."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A program with a known answer.

    Attributes:
      group: row of the table.
      half: "tuned on", "held out" or "third set".
      name: unique in its group.
      expected: what must be found; "healthy".
      run: records into a directory, and returns what became of it.
    """

    group: str
    half: str
    name: str
    expected: str
    run: Callable[[Path], Outcome]


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a program: its outcome, or the exception that ended it."""

    program: Program
    outcome: Outcome | None
    error: str
    seconds: float


def programs(word: str = "") -> list[Program]:
    """Returns all programs whose name contains a word, in the order of the table."""
    of_none = [
        Program(
            group=f"missing gradients, {title}",
            half=half,
            name=case.name,
            expected=f"none ({case.cause})",
            run=functools.partial(_none, case, mode),
        )
        for mode, title in none_run.MODES.items()
        for half, cases in none_run.SETS.items()
        for case in cases
        if mode in case.modes
    ]
    trainings = [(half, case) for half, cases in run_trainings.HALVES.items() for case in cases]
    of_faults = [
        Program(
            group="other faults",
            half=half,
            name=case.name,
            expected=case.expected[0].kind,
            run=functools.partial(_training, case, None),
        )
        for half, case in trainings
        if case.expected
    ]
    of_health = [
        Program(
            group=f"healthy, {steps} steps",
            half=half,
            name=case.name,
            expected=HEALTHY,
            run=functools.partial(_training, case, steps),
        )
        for steps in HEALTHY_STEPS
        for half, case in trainings
        if not case.expected
    ]
    whole = {
        title: [
            Program(
                group=group,
                half="fourth set",
                name=program.name,
                expected=HEALTHY if title == "healthy" else label(program.kind, *program.cause[:1]),
                run=functools.partial(_whole, program),
            )
            for program in program_run.SETS[title]
        ]
        for title, group in WHOLE.items()
    }
    rows = (*of_none, *whole["faulty"], *of_faults, *of_health, *whole["healthy"])
    return [one for one in rows if word in one.name]


def results(of: Sequence[Program], say: Callable[[str], None]) -> list[Result]:
    """Runs programs one after the other; what ends with an exception is noted down."""
    logger = logging.getLogger("tb_gradscope")  # tells of errors while it trains
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        found = []
        for number, program in enumerate(of, 1):
            say(f"{number} of {len(of)}: {program.group}, {program.half}, {program.name}")
            found.append(_result(program))
        return found
    finally:
        logger.setLevel(level)


def as_dict(of: Sequence[Result]) -> dict[str, Any]:
    """Returns what goes into the JSON file."""
    return {
        "rows": [_counts(row) for row in _rows(of)],
        "kinds": _matrix(_pairs(of, _kind)),
        "causes": _matrix(_pairs(of, _cause)),
        "programs": [
            {
                "group": one.program.group,
                "half": one.program.half,
                "name": one.program.name,
                **({} if one.outcome is None else dataclasses.asdict(one.outcome)),
                "error": one.error,
                "seconds": round(one.seconds, 1),
            }
            for one in of
        ],
    }


def markdown(of: Sequence[Result]) -> str:
    """Returns the tables as Markdown, aligned."""
    lines = ["# What is found", "", NOTES, "", *aligned([_HEAD, *map(_cells, _rows(of))], 2), ""]
    for title, name in (("Kinds", _kind), ("Causes of a missing gradient", _cause)):
        matrix = _matrix(_pairs(of, name))
        if matrix:
            lines += [f"## {title}: expected (down) and found (across)", "", *_square(matrix), ""]
    lines += _list("Not as expected", (_wrong(one) for one in of if _wrong(one)))
    return "\n".join(lines)


_HEAD = [
    "programs",
    "half",
    "number",
    "detected",
    *(f"right {point}" for point in POINTS),
    "further",
    "false alarms",
]


def _none(case: Any, mode: str, logdir: Path) -> Outcome:
    return none_run.judge(case, none_run.found_in(case, mode, logdir))


def _training(case: Any, steps: int | None, logdir: Path) -> Outcome:
    return run_trainings.judge(case, run_trainings.found_in(case, logdir, steps))


def _whole(program: Any, logdir: Path) -> Outcome:
    return program_run.judge(program, program_run.found_in(program, logdir))


def _result(program: Program) -> Result:
    keras.utils.clear_session()
    start = time.monotonic()
    outcome, error = None, ""
    with tempfile.TemporaryDirectory() as logdir:
        try:
            outcome = program.run(Path(logdir))
        except Exception as fault:  # the others are to be run all the same
            error = f"{type(fault).__name__}: {fault}".splitlines()[0]
    return Result(program, outcome, error, time.monotonic() - start)


def _rows(of: Iterable[Result]) -> list[list[Result]]:
    rows: dict[tuple[str, str], list[Result]] = {}
    for one in of:
        rows.setdefault((one.program.group, one.program.half), []).append(one)
    return list(rows.values())


def _counts(row: list[Result]) -> dict[str, Any]:
    """Returns how many programs of a row were right, of how many that state the point."""
    first = row[0].program
    outcomes = [one.outcome for one in row]
    counts: dict[str, Any] = {"group": first.group, "half": first.half, "programs": len(row)}
    if first.expected == HEALTHY:
        # Who did not come to an end has not shown that it is quiet.
        counts["false_alarms"] = sum(one is None or bool(one.further) for one in outcomes)
        return counts
    counts["detected"] = [sum(one is not None and one.detected for one in outcomes), len(row)]
    for point in POINTS:
        said = [False if one is None else getattr(one, point) for one in outcomes]
        counts[point] = [said.count(True), len(said) - said.count(None)]
    counts["further"] = sum(len(one.further) for one in outcomes if one is not None)
    return counts


def _cells(row: list[Result]) -> list[str]:
    counts = _counts(row)
    cells = [counts["group"], counts["half"], str(counts["programs"])]
    for name in ("detected", *POINTS):
        right, stated = counts.get(name, (0, 0))
        cells.append(f"{right} of {stated}" if stated else "")
    return [*cells, str(counts.get("further", "")), str(counts.get("false_alarms", ""))]


def _kind(label: str) -> str:
    return label.split(" (")[0]


def _cause(label: str) -> str:
    return label.removeprefix("none (").rstrip(")") if label.startswith("none (") else label


def _pairs(of: Iterable[Result], name: Callable[[str], str]) -> Counter[tuple[str, str]]:
    """Returns how often what was expected and what was found came together."""
    return Counter(
        (name(one.program.expected), "no end" if one.outcome is None else name(one.outcome.found))
        for one in of
        if name is _kind or one.program.expected.startswith("none (")
    )


def _matrix(pairs: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    expected = list(dict.fromkeys(one for one, _ in pairs))
    return {
        one: {found: count for (row, found), count in pairs.items() if row == one}
        for one in expected
    }


def _square(matrix: dict[str, dict[str, int]]) -> list[str]:
    found = {name for row in matrix.values() for name in row}
    columns = [name for name in matrix if name in found]
    columns += sorted(found - {*columns, NOTHING}) + [NOTHING] * (NOTHING in found)
    rows = [
        [name, *(str(row.get(column, "")) for column in columns)] for name, row in matrix.items()
    ]
    return aligned([["", *columns], *rows], 1)


def _wrong(one: Result) -> str:
    """Says what was wrong of a program, "" where nothing was."""
    place = f"{one.program.group}, {one.program.half}: `{one.program.name}`"
    if one.outcome is None:
        return f"{place} ended with {one.error}"
    outcome = one.outcome
    if outcome.is_right and not outcome.further:
        return ""
    points = [point for point in POINTS if getattr(outcome, point) is False]
    text = f"{place}: expected {outcome.expected}, found {outcome.found}"
    text += f"; wrong: {', '.join(points)}" if points else ""
    return text + (f"; further: {', '.join(outcome.further)}" if outcome.further else "")


def _list(title: str, lines: Iterable[str]) -> list[str]:
    items = [f"- {line}" for line in lines]
    return [f"## {title}", "", *items, ""] if items else []
