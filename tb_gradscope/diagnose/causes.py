"""Why a gradient is None, in words: one sentence for the cause, one for what to do."""

from __future__ import annotations

import dataclasses

from tb_gradscope.diagnose.finding import Cause, Where, where
from tb_gradscope.format.history import LossHistory

KEPT = "kept"
"""Detail of variables that are not trainable, and that nobody means to train."""


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why a gradient is None.

    Attributes:
      cause: its kind.
      where: the line to look at, None if unknown.
      detail: which of the ways to be of this kind, a key of the tables below; or "".
      other: a second line that belongs to it.
    """

    cause: Cause
    where: Where | None = None
    detail: str = ""
    other: Where | None = None


def of(loss: LossHistory, column: int) -> Reason:
    """Returns why a variable of a loss has no gradient, as far as the recording tells."""
    position = int(loss.variables[column])
    found = next((cause for cause in loss.causes if position in cause.variables), None)
    if found is None or found.kind not in _REASONS:
        return Reason("unknown")
    return Reason(
        found.kind,  # type: ignore[arg-type]
        where(found.where, found.op),
        found.detail,
        where(found.other),
    )


def message(loss: str, variables: str, when: str, reason: Reason, reached: str | None) -> str:
    """Says which gradient is missing, when, and why.

    Args:
      loss: its name.
      variables: their names.
      when: a phrase, such as "from step 40 on".
      reason: why.
      reached: who does reach the variables, such as "kl does reach it"; or None.
    """
    known = _DETAILS.get((reason.cause, reason.detail), _REASONS[reason.cause])
    if reason.detail == KEPT:
        known = "it is not trainable, and nothing is to learn it"
    op = "" if reason.where is None else reason.where.op
    text = f"{loss} has no gradient for {variables} {when}: {known.format(op=op or 'an operation')}"
    if reason.where is not None and reason.where.line:
        text += f" ({_short(reason.where)})"
    other = reason.other
    if other is not None and other.line and reason.cause in _OTHER and not _is_same(other, reason):
        text += f"; {_OTHER[reason.cause]} {_short(other)}"
    if reached is not None:
        text += f"; {reached}"
    return text + "."


def advice(reason: Reason) -> str:
    """Says what to do about it."""
    if reason.detail == KEPT:
        return "Fine. To leave it out, ask for model.trainable_variables, not model.variables."
    op = "" if reason.where is None else reason.where.op
    if reason.cause == "blocked" and reason.detail == "no_gradient":
        for ops, text in _OF_OPERATIONS:
            if op in ops:
                return text
        if op.startswith(("Random", "Stateless", "Multinomial", "Parameterized", "Truncated")):
            return _SAMPLING
    code = "" if reason.where is None else reason.where.code
    for cause, calls, text in _OF_CALLS:
        if reason.cause == cause and any(call in code for call in calls):
            return text
    return _DETAIL_ADVICE.get((reason.cause, reason.detail), _ADVICE[reason.cause])


def _is_same(other: Where, reason: Reason) -> bool:
    here = reason.where
    return here is not None and (other.file, other.line) == (here.file, here.line)


def _short(place: Where) -> str:
    return f"{place.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{place.line}"


_REASONS: dict[str, str] = {
    "unused": "it takes no part in computing this loss",
    "blocked": "every path to it runs through something that passes no gradient",
    "integer": "every path to it runs through an integer, bool or string",
    "not_watched": "the tape was not told to watch it",
    "outside_tape": "the computation ran while the tape did not record",
    "state": "its value reaches the loss only through a variable that was assigned, and reading "
    "a variable does not lead back to what was assigned to it",
    "overwritten": "its name was bound to a tensor, which is not the variable",
    "stopped": "the computation was kept off the tape",
    "unknown": "why could not be found out",
}

_DETAILS: dict[tuple[str, str], str] = {
    ("unused", "never_read"): "it is not read while this loss is computed",
    ("unused", "not_now"): "it takes no part in that step, as it does in others",
    ("unused", "read"): "it is read, but this loss does not depend on what is computed from it",
    ("blocked", "no_gradient"): "every path to it runs through {op}, which has no gradient",
    ("blocked", "stop_gradient"): "every path to it runs through tf.stop_gradient",
    ("blocked", "custom_gradient"): "the custom gradient of {op} returns None for it",
    ("blocked", "python"): "every path to it runs through a Python function that TensorFlow "
    "cannot differentiate",
    ("blocked", "left_tensorflow"): "its value leaves TensorFlow here, and what comes back is a "
    "constant",
    ("blocked", "decides"): "its value only decides which code runs",
    ("blocked", "data"): "its value goes through a tf.data pipeline, which passes no gradient",
    ("blocked", "shape"): "only the shape of its value is used ({op})",
    ("integer", "cast"): "every path to it runs through a cast to a type without gradients ({op})",
    ("integer", "source"): "it is of a type without gradients: only floating-point and complex "
    "values have one",
    ("integer", "loss"): "the loss is of a type without gradients",
    ("not_watched", "tensor"): "it is a plain tensor, and tapes watch variables only",
    ("not_watched", "not_trainable"): "it was made with trainable=False, which tapes do not watch",
    ("not_watched", "late"): "the tape was told to watch it only after it had been used",
    ("not_watched", "switched_off"): "the tape was made with watch_accessed_variables=False, and "
    "not told to watch it",
    ("outside_tape", "before"): "the computation ran before the tape recorded",
    ("outside_tape", "after"): "the computation ran after the tape had stopped recording",
    ("stopped", "stopped"): "the computation ran inside of tape.stop_recording()",
    ("stopped", "reset"): "tape.reset() threw the computation away",
    ("overwritten", "asked"): "what is asked for is a tensor: the variable's name was bound to it",
    ("overwritten", "used"): "the loss uses a tensor to which the variable's name was bound",
    ("unknown", "not_observed"): "it is read, but no path leads back to it; which operation cuts "
    "the path was not observed",
    ("unknown", "not_read"): "it was not read while the tape recorded",
    ("unknown", "left_elsewhere"): "another thread makes a number or an array of what is computed "
    "from it, it seems, and whether this loss uses that is not known",
    (
        "unknown",
        "foreign",
    ): "this loss uses a tensor that no operation seen in the tape's thread made "
    "(another thread, likely, or another library), and what that depends on is not known",
    (
        "unknown",
        "connected",
    ): "a path that carries gradients does lead to it, as far as can be seen",
}

_OTHER = {"unused": "read at", "stopped": "the computation is at", "overwritten": "used at"}

_SAMPLING = (
    "Sampling has no gradient: write the sample as a function of noise (mean + std * noise), use "
    "Gumbel-softmax, or the log-probability of the sample times the reward."
)

_OF_OPERATIONS = (
    (
        {"ArgMax", "ArgMin", "TopKV2", "Unique", "UniqueV2", "Where", "InTopK", "InTopKV2"},
        "An index has no gradient: use the scores themselves (tf.nn.softmax), or pass the gradient "
        "past it with a straight-through estimator: q = x + tf.stop_gradient(q - x).",
    ),
    (
        {"Round", "Rint", "Floor", "Ceil", "Sign", "FloorDiv", "FloorMod", "TruncateDiv"},
        "In a loss, leave it out and use the values themselves. Within a model, pass the gradient "
        "past it with a straight-through estimator: y = x + tf.stop_gradient(tf.round(x) - x), "
        "with your own operation for tf.round.",
    ),
    (
        {
            "Equal",
            "Greater",
            "GreaterEqual",
            "Less",
            "LessEqual",
            "LogicalAnd",
            "LogicalNot",
            "LogicalOr",
            "NotEqual",
        },
        "A comparison has no slope: use a smooth one such as tf.sigmoid(k * (x - threshold)), or a "
        "loss that works on the scores (cross-entropy rather than accuracy).",
    ),
    (
        {"HistogramFixedWidth", "Bincount", "NonMaxSuppressionV3", "NonMaxSuppressionV4"},
        "It counts or selects, which has no slope: compute the loss from the values that go into "
        "it instead.",
    ),
    ({"Multinomial", "StatelessMultinomial"}, _SAMPLING),
)

_OF_CALLS = (
    (
        "blocked",
        (".predict(", ".predict_on_batch("),
        "Call the model itself, model(x, training=True): what predict() returns is no tensor, but "
        "a NumPy array.",
    ),
    (
        "state",
        (".update_state(", "metric(", "Metric("),
        "A metric counts, and counting has no gradient: compute the loss with a function of "
        "keras.losses, and update the metric beside that.",
    ),
    (
        "state",
        ("tf.Variable(",),
        "Leave tf.Variable(...) out, and use the tensor itself: a new variable knows nothing of "
        "what it was made from.",
    ),
)
"""Advice by what the line calls."""

_ADVICE: dict[str, str] = {
    "unused": "If it should take part, use it in computing the loss: the very object that is asked "
    "for, not a copy or clone of it. Where it serves another loss, all is well: only leave the "
    "None out where gradients of several losses are added up.",
    "blocked": "Replace the operation, or pass the gradient past it with a straight-through "
    "estimator: y = x + tf.stop_gradient(f(x) - x).",
    "integer": "Keep the values floating-point all the way to the loss. Where they choose among "
    "rows, blend the rows instead: tf.matmul(tf.nn.softmax(scores), rows).",
    "not_watched": "Call tape.watch(x) at the start of the tape's block.",
    "outside_tape": "Move the computation into the `with` block of the tape, or ask the tape that "
    "has recorded it.",
    "state": "Use the tensor itself in the loss, and assign it to the variable beside that.",
    "overwritten": "Change a variable in place, with w.assign(...) or w.assign_sub(...), rather "
    "than bind its name anew.",
    "stopped": "If a gradient is wanted, move the computation out of stop_recording().",
    "unknown": "Follow the path from the loss back: what runs outside of the tape's block, an "
    "integer, an argmax, a .numpy() or a stop_gradient cuts it.",
}

_DETAIL_ADVICE: dict[tuple[str, str], str] = {
    (
        "blocked",
        "stop_gradient",
    ): "If a gradient is wanted here, remove the tf.stop_gradient; for a "
    "straight-through estimator write x + tf.stop_gradient(f(x) - x).",
    ("blocked", "custom_gradient"): "Let its gradient function return a tensor for this argument.",
    ("blocked", "python"): "Write it with TensorFlow operations, or give it a gradient with "
    "tf.custom_gradient.",
    ("blocked", "left_tensorflow"): "Use TensorFlow's own function (tf.reduce_mean for np.mean), "
    "and call .numpy() or float() only on what is logged.",
    ("blocked", "decides"): "What decides has no gradient: blend both results instead, such as "
    "p * a + (1 - p) * b with p = tf.sigmoid(x).",
    ("blocked", "data"): "Call it on what the pipeline yields, inside the tape's block.",
    ("blocked", "shape"): "Use the value itself; a shape does not depend on it.",
    ("integer", "source"): "Make it of floating-point numbers: tf.Variable(3.0), not "
    "tf.Variable(3). If it counts or indexes, do not ask for its gradient.",
    ("integer", "loss"): "Compute the loss in floating point.",
    ("not_watched", "not_trainable"): "If it should be trained, make it with trainable=True; else "
    "do not ask for it (model.trainable_variables).",
    ("not_watched", "switched_off"): "Call tape.watch(variable) at the start of the tape's block.",
    ("stopped", "reset"): "Do not reset the tape between the computation and the gradient.",
    ("unknown", "foreign"): "Compute that tensor with TensorFlow's operations in the thread of the "
    "tape, inside its `with` block: a tape records nothing else.",
    ("unknown", "left_elsewhere"): "If the loss is to depend on it, compute that in the thread of "
    "the tape, inside its `with` block, and leave .numpy() out.",
    ("unknown", "not_read"): "Compute from it inside the tape's `with` block; was it read before "
    "that, or is another copy of it used?",
}
