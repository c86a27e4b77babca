"""Runs programs without a gradient, and compares what is found with what was expected.

python -m tests.diagnose.cases.none_run [NAME...]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.diagnose.judge import findings
from tests.diagnose.cases import none_held_out, none_third, none_tune
from tests.diagnose.cases.none_case import Case
from tests.diagnose.cases.outcome import Outcome, Sought, of_faulty
from tests.diagnose.cases.said import known, said

SETS = {
    "tuned on": none_tune.CASES,
    "held out": none_held_out.CASES,
    "third set": none_third.CASES,
}
MODES = {"e": "eager", "g": "tf.function"}


def found_in(case: Case, mode: str, logdir: Path) -> tuple[Finding, ...]:
    """Runs or traces one case once, and returns the findings."""
    with gs.record(logdir, every=1, on_error="raise"):
        step = case.make(gs.GradientTape)
        if mode == "e":
            gradients = step()
        else:  # tracing is enough, and no program need get further
            gradients = tf.function(step).get_concrete_function().structured_outputs
    assert tf.nest.flatten(gradients)[0] is None, "the case has a gradient"
    (run,) = gs.load(logdir).runs.values()
    return findings(run)


def judge(case: Case, found: tuple[Finding, ...]) -> Outcome:
    """Compares with what was expected."""
    loss, variable = case.asked()
    file = case.make.__code__.co_filename
    return of_faulty(
        Sought(
            kind="none",
            cause=case.cause,
            op=case.op or "",
            loss=loss,
            variables=(variable,),
            first=(case.first, case.first),
            lines=frozenset((file, line) for line in case.lines()),
        ),
        found,
    )


def runs(cases: Iterable[Case]) -> list[tuple[Case, str]]:
    """Returns each case with each of its modes."""
    return [(case, mode) for case in cases for mode in case.modes]


def main(names: list[str]) -> None:
    known(names, (case.name for cases in SETS.values() for case in cases))
    for half, cases in SETS.items():
        for case, mode in runs(cases):
            if names and case.name not in names:
                continue
            with tempfile.TemporaryDirectory() as logdir:
                found = found_in(case, mode, Path(logdir))
            outcome = judge(case, found)
            print(said(f"{half} {case.name}, {MODES[mode]}", outcome, found, bool(names)))


if __name__ == "__main__":
    main(sys.argv[1:])
