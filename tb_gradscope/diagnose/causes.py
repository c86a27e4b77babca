"""Why a gradient is None, in words: one sentence for the cause, one for what to do."""

from __future__ import annotations

from tb_gradscope.diagnose.finding import Cause, Where
from tb_gradscope.format.history import LossHistory


def of(loss: LossHistory, column: int) -> tuple[Cause, Where | None]:
    """Returns the cause stored for a variable of a loss, and its place if it has one."""
    return "unknown", None


def message(
    loss: str, variables: str, when: str, cause: Cause, where: Where | None, other: str | None
) -> str:
    """Says which gradient is missing, when, and why.

    Args:
      loss: its name.
      variables: their names.
      when: a phrase, such as "from step 40 on".
      cause: why.
      where: the place that matters.
      other: a loss that does reach the variables, or None.
    """
    reason = _REASONS[cause]
    text = f"{loss} has no gradient for {variables} {when}: {reason}"
    if where is not None and where.op:
        text += f" ({where.op})"
    if other is not None:
        text += f"; {other} reaches it"
    return text + "."


def advice(cause: Cause, where: Where | None) -> str:
    """Says what to do about it."""
    return _ADVICE[cause]


_REASONS: dict[Cause, str] = {
    "unused": "it takes no part in computing this loss",
    "blocked": "every path to it runs through something that passes no gradient",
    "integer": "every path to it runs through integers",
    "not_watched": "the tape never watched it",
    "outside_tape": "it was used while the tape did not record",
    "state": "the path runs through a variable that was assigned",
    "overwritten": "the name was bound to something else than the variable",
    "stopped": "the tape was stopped or reset",
    "unknown": "no path leads from the loss to it",
}

_ADVICE: dict[Cause, str] = {
    "unused": "If it should take part, use it in the loss; else do not ask for it.",
    "blocked": "Replace the operation, or pass the gradient past it with a straight-through "
    "estimator: y = x + tf.stop_gradient(f(x) - x).",
    "integer": "Keep the values floating-point until after the loss.",
    "not_watched": "Call tape.watch(x) for a plain tensor; for a variable set trainable=True.",
    "outside_tape": "Move the computation into the `with` block of the tape.",
    "state": "Pass the value on as a tensor rather than through an assigned variable.",
    "overwritten": "Change a variable in place, with assign_sub, rather than bind its name anew.",
    "stopped": "Move the computation out of stop_recording(), or do not reset the tape.",
    "unknown": "Follow the path from the loss back: a variable outside the tape's block, an "
    "integer, an argmax, a .numpy() or a stop_gradient cuts it.",
}
