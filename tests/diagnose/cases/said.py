"""What is printed of one program."""

from __future__ import annotations

from collections.abc import Iterable

from tb_gradscope.diagnose.finding import Finding
from tests.diagnose.cases.outcome import POINTS, Outcome


def known(names: list[str], programs: Iterable[str]) -> None:
    """Ends the process where a name is none of a program's."""
    unknown = sorted(set(names) - set(programs))
    if unknown:
        raise SystemExit(f"No program {', '.join(unknown)}; without a name, all are run.")


def said(name: str, outcome: Outcome, found: Iterable[Finding], all_of_it: bool) -> str:
    """Returns whether a program's outcome is right, what was wrong, and the findings."""
    lines = [f"{'ok   ' if outcome.is_right else 'WRONG'} {name}"]
    if all_of_it or not outcome.is_right:
        wrong = [point for point in POINTS if getattr(outcome, point) is False]
        lines.append(
            f"      expected {outcome.expected}, found {outcome.found}"
            + (f"; wrong: {', '.join(wrong)}" if wrong else "")
        )
    for one in found:
        if all_of_it or not outcome.is_right or outcome.further:
            lines.append(f"      {one.severity} {one.kind}: {one.message}")
            if all_of_it and one.where is not None:
                lines.append(f"        {one.where.file}:{one.where.line}  {one.where.code}")
            if all_of_it:
                lines.append(f"        {one.advice}")
    return "\n".join(lines)
