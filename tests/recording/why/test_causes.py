"""Of a None all is found at the very first step: cause, operation, loss, variable and line."""

from __future__ import annotations

import pytest

from tests.diagnose.cases.none_run import MODES, SETS, found_in, judge, runs
from tests.diagnose.cases.said import said

ALL = [(name, case, mode) for name, cases in SETS.items() for case, mode in runs(cases)]


@pytest.mark.parametrize(
    ("case", "mode"),
    [(case, mode) for _, case, mode in ALL],
    ids=[f"{name}-{case.name}-{MODES[mode]}" for name, case, mode in ALL],
)
def test_what_is_found(case, mode, tmp_path):
    found = found_in(case, mode, tmp_path)
    outcome = judge(case, found)
    assert outcome.is_right, said(case.name, outcome, found, all_of_it=True)


def test_there_are_enough_cases():
    assert len(SETS["tuned on"]) + len(SETS["held out"]) >= 45
    kinds = {case.cause for cases in SETS.values() for case in cases}
    assert len(kinds) == 8  # all but unknown, which is no answer to expect
