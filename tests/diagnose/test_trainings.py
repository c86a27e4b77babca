"""Real trainings, faulty and healthy, and what must be found in them.

All of them take some minutes: `make cases`. A few are run here in any case.
"""

from __future__ import annotations

import pytest

from tests.diagnose.cases.run_trainings import HALVES, found_in, judge
from tests.diagnose.cases.said import said

ALL = [case for half in HALVES.values() for case in half]
HEALTHY = [case for case in ALL if not case.expected]
A_FEW = {
    "branches_that_start_at_zero",
    "one_bad_batch",
    "units_that_died",
    "stack_of_sigmoids",
    "descent_that_diverges",
    "threshold_far_too_small",
}


def marked(cases, a_few=()):
    return [
        pytest.param(case, id=case.name, marks=() if case.name in a_few else pytest.mark.cases)
        for case in cases
    ]


@pytest.mark.slow
@pytest.mark.parametrize("case", marked(ALL, A_FEW))
def test_what_is_found(case, tmp_path):
    found = found_in(case, tmp_path)
    outcome = judge(case, found)
    assert outcome.is_right, said(case.name, outcome, found, all_of_it=True)


@pytest.mark.parametrize("case", marked(HEALTHY))
def test_five_healthy_steps(case, tmp_path):
    found = found_in(case, tmp_path, steps=5)
    outcome = judge(case, found)
    assert outcome.is_right, said(case.name, outcome, found, all_of_it=True)


def test_there_are_enough_of_them():
    assert len(HEALTHY) >= 25
    assert len(ALL) - len(HEALTHY) >= 20
    assert len({case.name for case in ALL}) == len(ALL)
