"""All rules applied to a run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from tb_gradscope.diagnose.balance import balance
from tb_gradscope.diagnose.between import between
from tb_gradscope.diagnose.clipping import clipping
from tb_gradscope.diagnose.exploding import exploding
from tb_gradscope.diagnose.finding import Finding, Kind, order
from tb_gradscope.diagnose.left_out import left_out
from tb_gradscope.diagnose.missing import missing
from tb_gradscope.diagnose.nonfinite import nonfinite
from tb_gradscope.diagnose.replicas import merged
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.diagnose.unrequested import unrequested
from tb_gradscope.diagnose.updates import update_ratio
from tb_gradscope.diagnose.vanishing import vanishing
from tb_gradscope.diagnose.zero import zero
from tb_gradscope.format.history import RunHistory

Rule = Callable[[RunHistory, Thresholds], Iterator[Finding]]

RULES: tuple[Rule, ...] = (
    missing,
    nonfinite,
    left_out,
    between,
    exploding,
    vanishing,
    zero,
    clipping,
    balance,
    update_ratio,
    unrequested,
)

AT_ONCE: tuple[Rule, ...] = (missing, nonfinite, zero)
"""Those that have something to say of a single step."""

_OF_NUMBERS: tuple[Kind, ...] = ("zero", "vanishing", "exploding", "conflict", "domination")

DEFAULT = Thresholds()


def findings(
    run: RunHistory, thresholds: Thresholds = DEFAULT, rules: tuple[Rule, ...] = RULES
) -> tuple[Finding, ...]:
    """Returns what is wrong with a run: worst first, then earliest.

    Args:
      run: its history.
      thresholds: what numbers are compared with.
      rules: which to apply.
    """
    found = [finding for rule in rules for finding in rule(run, thresholds)]
    return tuple(sorted(merged(_causes_only(found)), key=order))


def _causes_only(found: list[Finding]) -> list[Finding]:
    """Leaves out what begins once a loss is broken: numbers made of NaN mean nothing."""
    broken = {
        (one.loss, one.label): one.span.first
        for one in found
        if one.kind in ("nan", "inf") and (one.severity == "error" or "since_step" in one.evidence)
    }
    return [
        one
        for one in found
        if one.kind not in _OF_NUMBERS
        or one.span.first < broken.get((one.loss, one.label), sys.maxsize)
    ]
