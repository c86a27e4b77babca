"""Findings as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tb_gradscope.diagnose.finding import Finding, Where
from tb_gradscope.view.details import Details
from tb_gradscope.view.terminal import clean, painted, place, wide, wrapped

_COLOURS = {"error": "1;31", "warning": "1;33", "info": "1;36"}
_DIM = "2"
_INDENT = " " * 6


def lines(
    findings: Sequence[Finding], details: Details, width: int, coloured: bool
) -> Iterator[str]:
    """Yields the findings, worst first: what is wrong, the line, what to try, and the rest.

    Args:
      findings: of one run.
      details: what their messages leave out.
      width: of a line, where names allow.
      coloured: for a terminal that shows colours.
    """
    for i, finding in enumerate(findings):
        if i:
            yield ""
        head = f"{finding.severity}  {_kind(finding)}"
        text = wrapped(f"{head}  {clean(finding.message)}", width)
        yield text.replace(head, painted(head, _COLOURS[finding.severity], coloured), 1)
        if finding.where is not None:
            yield from _where(finding.where, width)
        yield wrapped(finding.advice, width, _INDENT, _INDENT)
        for detail in details.of(finding):
            for line in wrapped(detail, width, _INDENT, _INDENT).splitlines():
                yield painted(line, _DIM, coloured)


def _where(where: Where, width: int) -> Iterator[str]:
    """Yields the place and the code: beside it where there is room, else below."""
    line, code = f"{_INDENT}{place(where.file, where.line)}", clean(where.code)
    if code and wide(f"{line}  {code}") <= width:
        yield f"{line}  {code}"
    else:
        yield line
        if code:
            yield f"{_INDENT}  {code}"


def _kind(finding: Finding) -> str:
    return f"{finding.kind} ({finding.cause})" if finding.cause else finding.kind
