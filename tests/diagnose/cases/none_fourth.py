"""Whole training programs with a missing gradient, as people report them, and the right answer.

Of each a user must be told the cause, the line, the loss, the variables, and how bad it
is. What is expected was written down before they were first run.
"""

from __future__ import annotations

from tests.diagnose.cases.fourth import (
    agents_and_physics,
    inputs,
    operations,
    representations,
    scores,
    supervised,
)

CASES = [
    *supervised.CASES,
    *agents_and_physics.CASES,
    *operations.CASES,
    *representations.CASES,
    *scores.CASES,
    *inputs.CASES,
]
