"""What a rule found: the fault, the loss, the variables, the steps, the source line."""

from __future__ import annotations

import dataclasses
from typing import Literal

from tb_gradscope.format.history import Label, Place

Severity = Literal["error", "warning", "info"]
Pattern = Literal["all", "intermittent", "from", "once"]
Kind = Literal[
    "none",
    "nan",
    "inf",
    "exploding",
    "vanishing",
    "zero",
    "clip_saturated",
    "clip_never",
    "conflict",
    "domination",
    "update_ratio",
    "unrequested",
]
Cause = Literal[
    "unused",
    "blocked",
    "integer",
    "not_watched",
    "outside_tape",
    "state",
    "overwritten",
    "stopped",
    "unknown",
]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""


@dataclasses.dataclass(frozen=True)
class Where:
    """A line of the user's program, and the operation on it that matters, if one does."""

    file: str
    line: int
    code: str
    op: str = ""


@dataclasses.dataclass(frozen=True)
class Span:
    """When something was so.

    Attributes:
      first: the first step known.
      last: the last step known.
      pattern: "all" records, "from" a step on and ever since, "once", or "intermittent".
      count: in how many records.
    """

    first: int
    last: int
    pattern: Pattern
    count: int


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, with its evidence.

    Attributes:
      kind: what it is.
      severity: "error" (training is broken now), "warning" (a fault, or very
        likely one) or "info" (true and worth knowing, often intended).
      loss: whose gradient, None where it is of a clip site or an optimizer.
      label: which gradient of that loss, None where there is no loss.
      variables: names, in the run's order; empty where it is of the whole gradient.
      span: when.
      message: one sentence that says all of the above.
      advice: one sentence: what to try.
      cause: kind "none" only.
      other_loss: the second loss of a conflict or domination, who reaches a
        variable that this loss does not, or whose NaN or Inf this one follows from.
      where: the line to look at, None if unknown.
      evidence: the numbers compared, by name; "threshold" is what they were compared with,
        "threshold_name" what that is called (see `Thresholds`).
    """

    kind: Kind
    severity: Severity
    loss: str | None
    variables: tuple[str, ...]
    span: Span
    message: str
    advice: str
    label: Label | None = None
    cause: Cause | None = None
    other_loss: str | None = None
    where: Where | None = None
    evidence: dict[str, float | int | str | None] = dataclasses.field(default_factory=dict)


def where(place: Place | None, op: str = "") -> Where | None:
    """Returns a history's place as a finding's; None where no line of the program is known."""
    if place is None or not place.line:
        return None
    return Where(place.file, place.line, place.code, op)


def order(finding: Finding) -> tuple[int, int]:
    """Sorts the worst first, then the earliest."""
    return SEVERITIES.index(finding.severity), finding.span.first
