"""What is wrong with a run, as the route `findings` answers it."""

from __future__ import annotations

from collections.abc import Mapping

from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import Label, RunHistory, identity
from tb_gradscope.view import labels, schema


def findings(of: RunHistory, thresholds: Thresholds = judge.DEFAULT) -> schema.Findings:
    """Returns what the rules find, worst first."""
    found = judge.findings(of, thresholds)
    return schema.Findings(tuple(_finding(of, one) for one in found))


def thresholds_of(query: Mapping[str, str]) -> Thresholds:
    """Returns the thresholds that a query asks for; the defaults of those it does not name.

    Raises:
      ThresholdError: a value makes no sense.
    """
    return judge.DEFAULT.read(query, lambda threshold: f"The parameter {threshold.name!r}")


def _finding(of: RunHistory, finding: Finding) -> schema.Finding:
    where, limit = finding.where, finding.evidence.get("threshold")
    return schema.Finding(
        severity=finding.severity,
        kind=finding.kind,
        cause=finding.cause or "",
        loss=_id(of, finding.loss, finding.label),
        other_loss=_id(of, finding.other_loss, finding.label),
        variables=finding.variables,
        first_step=finding.span.first,
        last_step=finding.span.last,
        message=finding.message,
        advice=finding.advice,
        where=None if where is None else schema.Place(where.file, where.line, "", where.code),
        op=where.op if where else "",
        threshold=str(finding.evidence.get("threshold_name", "")),
        limit="" if limit is None else f"{limit:g}",
    )


def _id(of: RunHistory, name: str | None, label: Label | None) -> str:
    """Returns the id of a loss: of several of a name, that of the same gradient; "" for none."""
    named = [
        (label is not None and identity(loss.label) == identity(label), known)
        for known, loss in zip(labels.ids(of.losses), of.losses, strict=True)
        if loss.name == name
    ]
    return next((known for same, known in named if same), named[0][1] if named else "")
