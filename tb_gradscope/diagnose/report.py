"""The report that other programs read: findings as JSON, to the letter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tb_gradscope.diagnose.finding import SEVERITIES, Finding, Severity
from tb_gradscope.diagnose.spikes import Spike, spikes
from tb_gradscope.format.history import LossHistory, RunHistory

FORMAT = 1
"""Version of the JSON report."""

Findings = Mapping[str, tuple[Finding, ...]]


def as_json(runs: Mapping[str, RunHistory], findings: Findings) -> dict[str, Any]:
    """Returns the report as JSON objects.

    Args:
      runs: by name.
      findings: of each run.
    """
    return {
        "format": FORMAT,
        "runs": {name: _run(run, findings[name]) for name, run in runs.items()},
    }


def stands(findings: Findings, severity: Severity) -> bool:
    """Tells whether there is a finding of that severity or a worse one."""
    worst = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return any(one.severity in worst for found in findings.values() for one in found)


def steps_of(run: RunHistory) -> np.typing.NDArray[np.int64]:
    """Returns the steps of which a run has numbers, sorted."""
    of = [loss.steps for loss in run.losses if not loss.traced_only]
    of += [clip.steps for clip in run.clips]
    of += [optimizer.steps for optimizer in run.optimizers]
    return np.unique(np.concatenate([np.zeros(0, np.int64), *of]))


def _run(run: RunHistory, found: tuple[Finding, ...]) -> dict[str, Any]:
    steps = steps_of(run)
    return {
        "steps": {
            "first": int(steps[0]) if len(steps) else None,
            "last": int(steps[-1]) if len(steps) else None,
            "recorded": len(steps),
        },
        "losses": list(dict.fromkeys(loss.name for loss in run.losses)),
        "variables": [variable.name for variable in run.variables],
        "findings": [_finding(one) for one in found],
        "spikes": [_spike(run, loss, one) for loss in run.losses for one in spikes(loss)],
        "problems": list(run.problems),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    where = finding.where
    return {
        "kind": finding.kind,
        "cause": finding.cause,
        "severity": finding.severity,
        "loss": finding.loss,
        "other_loss": finding.other_loss,
        "variables": list(finding.variables),
        "first_step": finding.span.first,
        "last_step": finding.span.last,
        "steps": finding.span.pattern,
        "count": finding.span.count,
        "where": None
        if where is None
        else {
            "file": where.file,
            "line": where.line,
            "code": where.code,
            "op": where.op or None,
        },
        "evidence": {name: _number(value) for name, value in finding.evidence.items()},
        "message": finding.message,
        "advice": finding.advice,
    }


def _spike(run: RunHistory, loss: LossHistory, spike: Spike) -> dict[str, Any]:
    names = [run.variables[position].name for position in spike.variables]
    return {
        "loss": loss.name,
        "variables": names,
        "step": spike.step,
        "variable": names[0],  # whose norm it is
        "norm": None if math.isnan(spike.norm) else spike.norm,
        "usual_norm": None if math.isnan(spike.usual) else spike.usual,
        "direction": spike.direction or None,
    }


def _number(value: float | int | str | None) -> float | int | str | None:
    """Returns a value that JSON has: no NaN, no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
