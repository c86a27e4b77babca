"""Runs trainings, and compares what is found with what was expected.

python -m tests.diagnose.cases.run_trainings [NAME...]
"""

from __future__ import annotations

import contextlib
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
    faults_third,
    faults_third_balance,
    faults_third_still,
    faults_tune,
    healthy_held_out,
    healthy_third,
    healthy_third_lively,
    healthy_tune,
    training,
)
from tests.diagnose.cases.outcome import Outcome, Sought, of_faulty, of_healthy
from tests.diagnose.cases.said import known, said
from tests.diagnose.cases.training import Training

HALVES = {
    "tuned on": [*healthy_tune.CASES, *faults_tune.CASES],
    "held out": [*healthy_held_out.CASES, *faults_held_out.CASES],
    "third set": [
        *healthy_third.CASES,
        *healthy_third_lively.CASES,
        *faults_third.CASES,
        *faults_third_still.CASES,
        *faults_third_balance.CASES,
    ],
}


def found_in(case: Training, logdir: Path, steps: int | None = None) -> tuple[Finding, ...]:
    """Trains, and returns the findings."""
    keras.utils.set_random_seed(1)
    steps = steps or case.steps
    if case.by == "fit":
        case.run(steps, gs.KerasCallback(logdir, case.every, on_error="raise"))
    else:
        patched = gs.patch() if case.by == "patch" else contextlib.nullcontext()
        with gs.record(logdir, case.every, on_error="raise"), patched:
            case.run(steps)
    (run,) = gs.load(logdir).runs.values()
    return findings(run)


def judge(case: Training, found: tuple[Finding, ...]) -> Outcome:
    """Compares with what was expected."""
    if not case.expected:
        return of_healthy(found)
    (expected,) = case.expected
    return of_faulty(
        Sought(
            kind=expected.kind,
            loss=expected.loss,
            variables=expected.variables,
            first=expected.first,
            lines=_marked(case, expected.mark),
        ),
        found,
    )


def _marked(case: Training, mark: str) -> frozenset[tuple[str, int]]:
    """Returns the lines, by file, that end with the mark."""
    lines = set()
    shared = (training.fit, training.keras_fit, training.mean_square)
    for function in (case.run, *shared) if mark else ():
        text, start = inspect.getsourcelines(function)
        file = inspect.getsourcefile(function) or ""
        lines |= {(file, start + i) for i, line in enumerate(text) if line.rstrip().endswith(mark)}
    return frozenset(lines)


def main(names: list[str]) -> None:
    known(names, (case.name for cases in HALVES.values() for case in cases))
    for half, cases in HALVES.items():
        for case in cases:
            if names and case.name not in names:
                continue
            with tempfile.TemporaryDirectory() as logdir:
                found = found_in(case, Path(logdir))
            print(said(f"{half} {case.name}", judge(case, found), found, bool(names)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
