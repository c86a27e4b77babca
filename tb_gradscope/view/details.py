"""What a finding's message leaves out: all variables, how often, who followed, who asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.format.history import LossHistory, RunHistory, identity
from tb_gradscope.format.statistics import State
from tb_gradscope.view import sentences
from tb_gradscope.view.fates import Fate, fates
from tb_gradscope.view.terminal import place

_KINDS = {State.NONE: "none", State.NAN: "nan", State.INF: "inf"}
_NAMED = 3
_MOST = 12


class Details:
    """The gradients of a run that were None or not finite, beside what findings say of them."""

    def __init__(self, run: RunHistory, findings: Sequence[Finding]) -> None:
        """Looks for them."""
        self._fates = {state: fates(run, state) for state in _KINDS}
        self._findings = findings

    def of(self, finding: Finding) -> Iterator[str]:
        """Yields what the finding's message leaves out, as far as it is known."""
        here = [
            fate
            for state, kind in _KINDS.items()
            for fate in self._fates[state]
            if kind == finding.kind and _is_of(finding, fate.loss)
        ]
        if finding.kind == "none":
            yield from _missing(finding, here)
            return
        if len(finding.variables) > _NAMED:
            yield _listed(finding.variables)
        later = [fate for fate in here if fate.first_step > finding.span.first]
        if later:
            yield f"later {sentences.onsets(later)}"

    def unsaid(self, *states: State) -> list[Fate]:
        """Returns those of which no finding speaks."""
        return [
            fate
            for state in states
            for fate in self._fates[state]
            if not any(_speaks(finding, fate) for finding in self._findings)
        ]


def _speaks(finding: Finding, fate: Fate) -> bool:
    if (finding.kind, finding.loss) != (_KINDS[fate.state], fate.loss.name):
        return False
    # Of what is not finite, one finding speaks for all that followed.
    return fate.state is not State.NONE or set(fate.variables) <= set(finding.variables)


def _is_of(finding: Finding, loss: LossHistory) -> bool:
    if finding.loss != loss.name:
        return False
    return finding.label is None or identity(finding.label) == identity(loss.label)


def _missing(finding: Finding, here: list[Fate]) -> Iterator[str]:
    """Says who, how often where not always, and where it was asked for if that is elsewhere."""
    here = [fate for fate in here if set(fate.variables) & set(finding.variables)]
    if here and all(fate.pattern == "always" for fate in here):
        parts = [_listed(finding.variables)] if len(finding.variables) > _NAMED else []
    else:
        parts = [
            f"None in {sentences.counted(fate)}: {_listed(fate.variables)}"
            for fate in here
            if fate.asked
        ]
    asked = next((fate.loss.where for fate in here if fate.loss.where), None)
    where = finding.where
    if asked and where and (asked.file, asked.line) != (where.file, where.line):
        parts.append(f"asked for at {place(asked.file, asked.line)}")
    if parts:
        yield "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(map(sentences.name, names[:_MOST])) + more
