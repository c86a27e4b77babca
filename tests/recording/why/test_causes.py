"""The cause of a None is on disk after the very first step: kind, operation and line."""

from __future__ import annotations

import pytest

from tests.diagnose.cases.none_run import MODES, SETS, answer, runs

ALL = [(name, case, mode) for name, cases in SETS.items() for case, mode in runs(cases)]


@pytest.mark.parametrize(
    ("case", "mode"),
    [(case, mode) for _, case, mode in ALL],
    ids=[f"{name}-{case.name}-{MODES[mode]}" for name, case, mode in ALL],
)
def test_cause_and_line(case, mode, tmp_path):
    found = answer(case, mode, tmp_path)
    assert found.is_kind_right, f"expected {case.cause} {case.op or ''}, found {found}"
    assert found.is_line_right, f"expected line {sorted(case.lines())}, found {found}"


def test_there_are_enough_cases():
    assert len(SETS["tune"]) + len(SETS["held out"]) >= 45
    kinds = {case.cause for cases in SETS.values() for case in cases}
    assert len(kinds) == 8  # all but unknown, which is no answer to expect
