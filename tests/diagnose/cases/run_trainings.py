"""Runs trainings and compares what was found with what was expected.

python -m tests.diagnose.cases.run_trainings [NAME...]
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import tempfile
from pathlib import Path

import keras

import tb_gradscope as gs
from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.diagnose.judge import findings
from tests.diagnose.cases import (
    faults_held_out,
    faults_tune,
    healthy_held_out,
    healthy_tune,
    training,
)
from tests.diagnose.cases.training import Expected, Training

HALVES = {
    "tuned on": [*healthy_tune.CASES, *faults_tune.CASES],
    "held out": [*healthy_held_out.CASES, *faults_held_out.CASES],
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one training. All true where everything was as expected."""

    detected: bool
    loss: bool
    variables: bool
    step: bool
    line: bool
    quiet: bool

    @property
    def is_right(self) -> bool:
        return all(dataclasses.astuple(self))


def found_in(case: Training, logdir: Path, steps: int | None = None) -> tuple[Finding, ...]:
    """Trains, and returns the findings."""
    keras.utils.set_random_seed(1)
    with gs.record(logdir, on_error="raise"):
        case.run(steps or case.steps)
    (run,) = gs.load(logdir).runs.values()
    return findings(run)


def judge(case: Training, found: tuple[Finding, ...]) -> Outcome:
    """Compares with what was expected."""
    serious = [one for one in found if one.severity != "info"]
    if not case.expected:
        return Outcome(True, True, True, True, True, not serious)
    expected = case.expected[0]
    same = [one for one in found if one.kind == expected.kind]
    best = max((_matches(case, expected, one) for one in same), default=(False,) * 4, key=sum)
    return Outcome(bool(same), *best, quiet=True)


def _matches(case: Training, expected: Expected, one: Finding) -> tuple[bool, bool, bool, bool]:
    low, high = expected.first or (-1, sys.maxsize)
    return (
        one.loss == expected.loss,
        all(any(word in name for name in one.variables) for word in expected.variables),
        low <= one.span.first <= high,
        not expected.mark or (one.where is not None and one.where.line in _marked(case, expected)),
    )


def _marked(case: Training, expected: Expected) -> set[int]:
    lines = set()
    for function in (case.run, training.fit):
        text, start = inspect.getsourcelines(function)
        lines |= {start + i for i, line in enumerate(text) if line.rstrip().endswith(expected.mark)}
    return lines


def row(cases: list[Training], outcomes: list[Outcome]) -> dict[str, str]:
    """Returns a row of the table of `tests.bench --findings`: how many were right."""
    faults = [one for case, one in zip(cases, outcomes, strict=True) if case.expected]
    healthy = [one for case, one in zip(cases, outcomes, strict=True) if not case.expected]
    detected = [one for one in faults if one.detected]

    def share(name: str) -> str:
        return f"{sum(getattr(one, name) for one in detected)} of {len(detected)}"

    return {
        "faulty programs": str(len(faults)),
        "right kind": f"{len(detected)} of {len(faults)}",
        **{f"right {name}": share(name) for name in ("loss", "variables", "step", "line")},
        "healthy programs": str(len(healthy)),
        "false alarms": str(sum(not one.quiet for one in healthy)),
    }


def main(names: list[str]) -> None:
    for half, cases in HALVES.items():
        for case in cases:
            if names and case.name not in names:
                continue
            with tempfile.TemporaryDirectory() as logdir:
                found = found_in(case, Path(logdir))
            outcome = judge(case, found)
            print(f"{'ok   ' if outcome.is_right else 'WRONG'} {half} {case.name}", flush=True)
            if names or not outcome.is_right:
                print("     ", outcome)
            for one in found:
                if names or one.severity != "info":
                    print(f"      {one.severity} {one.kind} {one.span}: {one.message}")


if __name__ == "__main__":
    main(sys.argv[1:])
