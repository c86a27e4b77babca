"""Findings as Markdown, for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import SEVERITIES, Finding
from tb_gradscope.diagnose.report import steps_of
from tb_gradscope.format.history import RunHistory
from tb_gradscope.view.details import Details
from tb_gradscope.view.frame import History
from tb_gradscope.view.terminal import place

_BREAK = "<br>"


def report(history: History, findings: Mapping[str, Sequence[Finding]], root: str = ".") -> str:
    """Returns how many findings each run has, then those of each that has any.

    Args:
      history: of a log directory.
      findings: of each run.
      root: what to call the run that is the log directory itself.
    """
    titles = {name: root if name == "." else name for name in history.runs}
    lines = ["## Gradients: nothing to judge"]
    if history.runs:
        lines = [f"## {_headline([one for found in findings.values() for one in found])}", ""]
        lines += ["| run | steps | errors | warnings | info |", "|---|---|---|---|---|"]
        lines += [_row(titles[name], run, findings[name]) for name, run in history.runs.items()]
    for name, run in history.runs.items():
        if findings[name]:
            lines += ["", f"### {_text(titles[name])}", "", *_list(run, findings[name])]
    problems = [
        *(f"{titles[name]}: {one}" for name, run in history.runs.items() for one in run.problems),
        *history.problems,
    ]
    if problems:
        lines += ["", "### Problems", "", *(f"- {_text(problem)}" for problem in problems)]
    return "\n".join(lines)


def _headline(found: Sequence[Finding]) -> str:
    return f"Gradients: {words.faults(one.severity for one in found) or 'no fault found'}"


def _row(title: str, run: RunHistory, found: Sequence[Finding]) -> str:
    steps = steps_of(run)
    span = " to ".join(str(step) for step in dict.fromkeys([*steps[:1], *steps[-1:]])) or "none"
    counts = (sum(one.severity == each for one in found) for each in SEVERITIES)
    return f"| {' | '.join([_text(title), span, *(str(count or '') for count in counts)])} |"


def _list(run: RunHistory, found: Sequence[Finding]) -> Iterator[str]:
    details = Details(run, found)
    for finding in found:
        kind = f"{finding.kind} ({finding.cause})" if finding.cause else finding.kind
        parts = [f"**{finding.severity}: {_text(kind)}** {_text(finding.message)}"]
        if finding.where is not None:
            where = finding.where
            parts.append(_code(place(where.file, where.line)))
            parts += [_code(where.code)] if where.code.strip() else []
        parts.append(f"*{_text(finding.advice)}*")
        parts += [_text(detail) for detail in details.of(finding)]
        yield f"- {f'{_BREAK}'.join(parts)}"


def _text(text: str) -> str:
    """Returns text that Markdown shows as it is."""
    escaped = "".join(f"\\{letter}" if letter in r"\`*_[]<>|#" else letter for letter in text)
    return " ".join(escaped.split())


def _code(text: str) -> str:
    """Returns text as code, whatever is in it."""
    text = " ".join(text.split())
    longest = max(map(len, re.findall("`+", text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"
