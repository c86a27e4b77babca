"""Of a None all is found at the very first step: cause, operation, loss, variable and line."""

from __future__ import annotations

import pytest

from tests.diagnose.cases.none_run import MODES, SETS, found_in, judge, runs
from tests.diagnose.cases.said import said

NOT_YET = {
    "weights_updated_by_hand": "a tensor in the place of a loss's only variable makes it a new loss"
}
"""Where not all is found, and why: the table of `make bench` counts these as wrong."""


def marks(case):
    return pytest.mark.xfail(reason=NOT_YET[case.name], strict=True) if case.name in NOT_YET else ()


ALL = [
    pytest.param(case, mode, id=f"{name}-{case.name}-{MODES[mode]}", marks=marks(case))
    for name, cases in SETS.items()
    for case, mode in runs(cases)
]


@pytest.mark.parametrize(("case", "mode"), ALL)
def test_what_is_found(case, mode, tmp_path):
    found = found_in(case, mode, tmp_path)
    outcome = judge(case, found)
    assert outcome.is_right, said(case.name, outcome, found, all_of_it=True)


def test_there_are_enough_cases():
    assert len(SETS["tuned on"]) + len(SETS["held out"]) >= 45
    kinds = {case.cause for cases in SETS.values() for case in cases}
    assert len(kinds) == 8  # all but unknown, which is no answer to expect
