"""What is wrong with a run, as the route `findings` answers it."""

from __future__ import annotations

from tb_gradscope.diagnose import judge
from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.format.history import RunHistory
from tb_gradscope.view import labels, schema


def findings(of: RunHistory) -> schema.Findings:
    """Returns what the rules find, worst first."""
    return schema.Findings(tuple(_finding(of, one) for one in judge.findings(of)))


def _finding(of: RunHistory, finding: Finding) -> schema.Finding:
    where = finding.where
    return schema.Finding(
        severity=finding.severity,
        kind=finding.kind,
        cause=finding.cause or "",
        loss=_id(of, finding),
        variables=finding.variables,
        first_step=finding.span.first,
        last_step=finding.span.last,
        message=finding.message,
        advice=finding.advice,
        where=None if where is None else schema.Place(where.file, where.line, "", where.code),
        op=where.op if where else "",
    )


def _id(of: RunHistory, finding: Finding) -> str:
    """Returns the id of the loss that it is of, as far as its name tells; "" for none."""
    named = [
        (known, {of.variables[position].name for position in loss.variables.tolist()})
        for known, loss in zip(labels.ids(of.losses), of.losses, strict=True)
        if loss.name == finding.loss
    ]
    asked = [known for known, names in named if names.issuperset(finding.variables)]
    return next(iter([*asked, *(known for known, _ in named)]), "")
