"""Runs programs without a gradient and reads back what was found out about them.

`python -m tests.diagnose.cases.none_run` prints how many answers are right.
"""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from collections.abc import Iterable

import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.history import Cause
from tests.diagnose.cases import none_held_out, none_third, none_tune
from tests.diagnose.cases.none_case import Case

SETS = {
    "tune": none_tune.CASES,
    "held out": none_held_out.CASES,
    "programs": none_third.CASES,
}
MODES = {"e": "eager", "g": "tf.function"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found, and whether it is right."""

    case: Case
    mode: str
    found: Cause | None

    @property
    def is_kind_right(self) -> bool:
        found = self.found
        return (
            found is not None and found.kind == self.case.cause and self.case.op in (None, found.op)
        )

    @property
    def is_line_right(self) -> bool:
        where = None if self.found is None else self.found.where
        return (
            where is not None
            and where.line in self.case.lines()
            and where.file == self.case.make.__code__.co_filename
        )

    def __str__(self) -> str:
        if self.found is None:
            return "no cause"
        where = self.found.where
        place = "no line" if where is None else f"line {where.line}: {where.code}"
        return f"{self.found.kind} ({self.found.detail}) {self.found.op or '-'}, {place}"


def answer(case: Case, mode: str, logdir: pathlib.Path) -> Answer:
    """Runs or traces one case once, and returns the cause that is on disk."""
    with gs.record(logdir, every=1, on_error="raise"):
        step = case.make(gs.GradientTape)
        if mode == "e":
            gradients = step()
        else:  # tracing is enough, and no program need get further
            gradients = tf.function(step).get_concrete_function().structured_outputs
    assert tf.nest.flatten(gradients)[0] is None, "the case has a gradient"
    (run,) = gs.load(logdir).runs.values()
    loss = run.losses[-1]
    first = loss.variables[0]
    found = [cause for cause in loss.causes if first in cause.variables]
    return Answer(case, mode, found[0] if found else None)


def runs(cases: Iterable[Case]) -> list[tuple[Case, str]]:
    """Returns each case with each of its modes."""
    return [(case, mode) for case in cases for mode in case.modes]


def table() -> list[tuple[str, str, int, int, int, int]]:
    """Returns a row for each set and mode: how many, with a cause, kind right, line right too."""
    rows = []
    for name, cases in SETS.items():
        for mode, title in MODES.items():
            with tempfile.TemporaryDirectory() as directory:
                answers = [
                    answer(case, mode, pathlib.Path(directory, case.name))
                    for case, its_mode in runs(cases)
                    if its_mode == mode
                ]
            rows.append(
                (
                    name,
                    title,
                    len(answers),
                    sum(one.found is not None and one.found.kind != "unknown" for one in answers),
                    sum(one.is_kind_right for one in answers),
                    sum(one.is_kind_right and one.is_line_right for one in answers),
                )
            )
    return rows


def markdown() -> str:
    """Returns the table as Markdown."""
    lines = [
        "| programs | run | number | cause found | cause right | line right too |",
        "|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in table()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
