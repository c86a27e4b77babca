"""Runs whole programs with gradients that are None, and compares what is found.

python -m tests.diagnose.cases.program_run [NAME...]
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import keras

import tb_gradscope as gs
from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.diagnose.judge import findings
from tests.diagnose.cases import none_fifth, none_fourth, none_healthy
from tests.diagnose.cases.none_program import Program
from tests.diagnose.cases.outcome import Outcome, Sought, of_faulty, of_healthy
from tests.diagnose.cases.said import known, said

SETS = {"faulty": [*none_fourth.CASES, *none_fifth.CASES], "healthy": none_healthy.CASES}


def found_in(program: Program, logdir: Path) -> tuple[Finding, ...]:
    """Runs a program, to its end or until the missing gradient stops it; returns the findings."""
    keras.utils.set_random_seed(1)
    callbacks, died = [], None
    with contextlib.ExitStack() as entered:
        if program.by == "fit":
            callbacks = [gs.KerasCallback(logdir, every=1, on_error="raise")]
        else:
            entered.enter_context(gs.record(logdir, every=1, on_error="raise"))
        if program.by == "patch":
            entered.enter_context(gs.patch())
        entered.enter_context(contextlib.redirect_stdout(io.StringIO()))
        try:
            program.run(callbacks)
        except Exception as error:
            died = error
    found = tuple(one for run in gs.load(logdir).runs.values() for one in findings(run))
    if died is not None and (is_healthy(program) or not found):
        raise died
    return found


def judge(program: Program, found: tuple[Finding, ...]) -> Outcome:
    """Compares with what was expected."""
    if is_healthy(program):
        return of_healthy(found)
    cause, *others = program.cause or (None,)
    file = program.run.__code__.co_filename
    return of_faulty(
        Sought(
            kind=program.kind,
            cause=cause or None,
            or_causes=tuple(others),
            severity=program.severity,
            op=program.op or "",
            loss=program.loss,
            variables=program.variables,
            no_others=True,
            lines=frozenset((file, line) for line in program.lines()),
        ),
        found,
    )


def is_healthy(program: Program) -> bool:
    return program.kind == "none" and not program.cause


def main(names: list[str]) -> None:
    known(names, (one.name for programs in SETS.values() for one in programs))
    for title, programs in SETS.items():
        for program in programs:
            if names and program.name not in names:
                continue
            with tempfile.TemporaryDirectory() as logdir:
                found = found_in(program, Path(logdir))
            outcome = judge(program, found)
            print(said(f"{title} {program.name}", outcome, found, bool(names)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
