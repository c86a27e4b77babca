"""Whole programs with gradients that are None, faulty and healthy: `make cases` runs them all."""

from __future__ import annotations

import pytest

from tests.diagnose.cases.program_run import SETS, found_in, judge
from tests.diagnose.cases.said import said

ALL = [program for programs in SETS.values() for program in programs]


@pytest.mark.cases
@pytest.mark.parametrize("program", [pytest.param(program, id=program.name) for program in ALL])
def test_what_is_found(program, tmp_path):
    found = found_in(program, tmp_path)
    outcome = judge(program, found)
    assert outcome.is_right, said(program.name, outcome, found, all_of_it=True)


def test_there_are_enough_of_them():
    assert len(SETS["faulty"]) >= 60
    assert len(SETS["healthy"]) >= 25
    assert len({program.name for program in ALL}) == len(ALL)
