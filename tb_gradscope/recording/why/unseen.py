"""Causes in eager code that nobody observed: what the tape and the source alone tell."""

from __future__ import annotations

from typing import Any

from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.deduction import Missing
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.nodes import CARRIES_GRADIENT
from tb_gradscope.recording.why.windows import TapeLog


def judge_unseen(
    targets: list[Any],
    missing: list[Missing],
    log: TapeLog,
    watched: set[int],
    loss: Line,
) -> list[Cause]:
    """Returns the cause of each missing gradient; arguments as for `deduction.judge`.

    What needs the operations stays unknown until a step is observed.
    """
    return [_cause(targets, one, log, watched, loss) for one in missing]


def _cause(targets: list[Any], one: Missing, log: TapeLog, watched: set[int], loss: Line) -> Cause:
    if one.dtype not in CARRIES_GRADIENT:
        return Cause("integer", loss, detail="source", is_final=False)
    if targets and all(target.dtype not in CARRIES_GRADIENT for target in targets):
        return Cause("integer", loss, detail="loss", is_final=False)
    if one.is_variable:
        if id(one.handle) in watched or log.is_watched(one.source):
            return Cause("unknown", loss, detail="not_observed", is_final=False)
        if not one.is_trainable:
            return Cause("not_watched", loss, detail="not_trainable", is_final=False)
        if not log.watches_variables:
            return Cause("not_watched", loss, detail="switched_off", is_final=False)
        if one.rebound is not None:
            return Cause("overwritten", one.rebound, detail="used", other=loss)
        return Cause("unknown", loss, detail="not_read", is_final=False)
    if log.is_watched(one.source):
        return Cause("unknown", loss, detail="not_observed", is_final=False)
    if one.rebound is not None:
        return Cause("overwritten", one.rebound, detail="asked")
    return Cause("unknown", loss, detail="not_observed", is_final=False)
