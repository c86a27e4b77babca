"""Findings as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.view.terminal import clean, wrapped

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "info": "\x1b[1;36m"}
_END = "\x1b[0m"
_INDENT = " " * 6


def lines(findings: Sequence[Finding], width: int, coloured: bool) -> Iterator[str]:
    """Yields the findings, worst first: what is wrong, the line, what to try.

    Args:
      findings: of one run.
      width: of a line, where names allow.
      coloured: for a terminal that shows colours.
    """
    for finding in findings:
        head = f"{finding.severity}  {_kind(finding)}"
        text = wrapped(f"{head}  {clean(finding.message)}", width)
        if coloured:
            text = text.replace(head, f"{_COLOURS[finding.severity]}{head}{_END}", 1)
        yield text
        if finding.where is not None:
            code = f"  {clean(finding.where.code)}" if finding.where.code else ""
            yield f"{_INDENT}{clean(finding.where.file)}:{finding.where.line}{code}"
        yield wrapped(clean(finding.advice), width, _INDENT, _INDENT)


def _kind(finding: Finding) -> str:
    return f"{finding.kind} ({finding.cause})" if finding.cause else finding.kind
