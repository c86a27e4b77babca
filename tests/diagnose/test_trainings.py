"""Real trainings, faulty and healthy, and what must be found in them.

All of them take some minutes: `make cases`. A few are run here in any case.
"""

from __future__ import annotations

import pytest

from tests.diagnose.cases.run_trainings import HALVES, found_in, judge

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
    said = "\n".join(f"{one.severity} {one.kind} {one.span} {one.message}" for one in found)
    assert outcome.is_right, f"{outcome}\n{said}"


@pytest.mark.parametrize("case", marked(HEALTHY))
def test_five_healthy_steps(case, tmp_path):
    assert judge(case, found_in(case, tmp_path, steps=5)).quiet


def test_there_are_enough_of_them():
    assert len(HEALTHY) >= 25
    assert len(ALL) - len(HEALTHY) >= 20
    assert len({case.name for case in ALL}) == len(ALL)
