"""One finding for what the replicas of a distributed training share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import SEVERITIES, Finding


def merged(found: Iterable[Finding]) -> list[Finding]:
    """Returns findings, with those that several replicas of one loss have as one.

    Same are those of one kind, cause, loss, variables and batch. The worst, then the
    earliest, speaks for all; it names the replicas where not all have it, and the first
    to have it. What replicas have is not said once more of the gradient that is reduced
    over them.
    """
    groups: dict[object, list[Finding]] = {}
    for one in found:
        groups.setdefault(_key(one), []).append(one)
    return [_one(group) for group in groups.values()]


def _key(one: Finding) -> object:
    label = one.label
    if label is None or label.replicas < 2:
        return id(one)
    return (one.kind, one.cause, one.loss, one.other_loss, one.variables, label.batch, label.stage)


def _one(group: list[Finding]) -> Finding:
    local = [one for one in group if one.label is not None and one.label.replica >= 0]
    if len(local) < 2:
        return (local or group)[0]
    chosen = min(local, key=lambda one: (SEVERITIES.index(one.severity), one.span.first))
    assert chosen.label is not None
    replicas = sorted({one.label.replica for one in local if one.label is not None})
    who = words.replicas(replicas, chosen.label.replicas)
    if any(one.span.first > chosen.span.first for one in local):
        who += f", {words.replica(chosen.label)} first"
    message = chosen.message.replace(words.replica(chosen.label), who, 1)
    return dataclasses.replace(chosen, message=message)
