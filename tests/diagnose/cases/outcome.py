"""What was found in a program, compared with what was expected."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Sequence

from tb_gradscope.diagnose.finding import Finding

NOTHING = "nothing"
HEALTHY = "healthy"
POINTS = ("kind", "severity", "loss", "variables", "step", "line")
"""What is compared of a finding, in this order."""


@dataclasses.dataclass(frozen=True)
class Sought:
    """A finding that must appear, with what of it can be right or wrong.

    Attributes:
      kind: of the finding.
      cause: kind "none" only.
      or_causes: others that are as right.
      severity: "" for any.
      op: to be named, "" if any will do.
      loss: its loss, None where it has none.
      variables: words, each in the name of at least one variable found.
      no_others: each variable found has one of the words in its name.
      first: earliest and latest first step allowed, None for any.
      lines: file and number; empty where no line is expected.
    """

    kind: str
    cause: str | None = None
    or_causes: tuple[str, ...] = ()
    severity: str = ""
    op: str = ""
    loss: str | None = None
    variables: tuple[str, ...] = ()
    no_others: bool = False
    first: tuple[int, int] | None = None
    lines: frozenset[tuple[str, int]] = frozenset()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one program.

    Attributes:
      expected: label of the finding that must appear; "healthy".
      found: label of the finding that comes nearest; "nothing".
      detected: something is said: of a gradient that is missing, that it is; else
        anything above info. True of a healthy program.
      kind: right kind, and cause. Like the next five, None where nothing was stated.
      further: labels of other findings above info, of another kind or cause than expected.
    """

    expected: str
    found: str
    detected: bool
    kind: bool | None
    severity: bool | None
    loss: bool | None
    variables: bool | None
    step: bool | None
    line: bool | None
    further: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Tells whether all is as expected, and a healthy program gave no alarm."""
        points = [getattr(self, name) is not False for name in POINTS]
        return self.detected and all(points) and (self.expected != HEALTHY or not self.further)


def label(kind: str, cause: str | None = None) -> str:
    """Names a kind of finding: "nan", "none (blocked)"."""
    return f"{kind} ({cause})" if cause else kind


def of_healthy(found: Iterable[Finding]) -> Outcome:
    """Returns what became of a program in which nothing is wrong."""
    further = tuple(label(one.kind, one.cause) for one in found if one.severity != "info")
    nearest = further[0] if further else NOTHING
    return Outcome(HEALTHY, nearest, True, None, None, None, None, None, None, further)


def of_faulty(sought: Sought, found: Sequence[Finding]) -> Outcome:
    """Returns what became of a program with one fault."""
    expected = label(sought.kind, sought.cause)
    nearest = max(found, key=lambda one: _nearness(sought, one), default=None)
    if nearest is not None and not _is_said(sought, nearest):
        nearest = None
    right = dict.fromkeys(POINTS, False) if nearest is None else _points(sought, nearest)
    return Outcome(
        expected=expected,
        found=_found(sought, nearest, right["kind"]),
        detected=nearest is not None,
        kind=right["kind"],
        severity=right["severity"] if sought.severity else None,
        loss=right["loss"],
        variables=right["variables"] if sought.variables else None,
        step=right["step"] if sought.first else None,
        line=right["line"] if sought.lines else None,
        further=tuple(
            name
            for one in found
            if one is not nearest
            and one.severity != "info"
            and (name := label(one.kind, one.cause)) != expected
        ),
    )


def _found(sought: Sought, nearest: Finding | None, is_right: bool) -> str:
    """Returns the label of what was found; of several causes that are right, the first."""
    if nearest is None:
        return NOTHING
    return label(sought.kind, sought.cause) if is_right else label(nearest.kind, nearest.cause)


def _is_said(sought: Sought, one: Finding) -> bool:
    if one.kind == sought.kind == "none":
        return _names_all(sought, one)
    return one.kind == sought.kind or (sought.kind != "none" and one.severity != "info")


def _nearness(sought: Sought, one: Finding) -> tuple[bool, bool, int]:
    return _is_said(sought, one), one.kind == sought.kind, sum(_points(sought, one).values())


def _points(sought: Sought, one: Finding) -> dict[str, bool]:
    low, high = sought.first or (-1, sys.maxsize)
    where = one.where
    return {
        "kind": one.kind == sought.kind
        and one.cause in (sought.cause, *sought.or_causes)
        and (not sought.op or (where is not None and where.op == sought.op)),
        "severity": one.severity == (sought.severity or one.severity),
        "loss": one.loss == sought.loss,
        "variables": _names_all(sought, one)
        and (
            not sought.no_others
            or all(any(word in name for word in sought.variables) for name in one.variables)
        ),
        "step": low <= one.span.first <= high,
        "line": not sought.lines
        or (where is not None and (where.file, where.line) in sought.lines),
    }


def _names_all(sought: Sought, one: Finding) -> bool:
    return all(any(word in name for name in one.variables) for word in sought.variables)
