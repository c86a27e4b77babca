"""Stored messages as the dataclasses of `format.history`."""

from __future__ import annotations

from typing import Any

from tb_gradscope.format import messages
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.history import Identity, Label, Place, Variable, identity

Key = tuple[str, Identity]
"""A name, and what of a label tells gradients of that name apart."""

_STAGES = {messages.Label.RAW: "raw", messages.Label.UNSCALED: "unscaled"}
_BATCHES = {
    messages.Label.WHOLE: "whole",
    messages.Label.MICRO_BATCH: "micro_batch",
    messages.Label.ACCUMULATED: "accumulated",
}
_REDUCTIONS = {
    messages.Label.LOCAL: "local",
    messages.Label.SUM: "sum",
    messages.Label.MEAN: "mean",
}
_METHODS = {
    messages.Clip.CUSTOM: "custom",
    messages.Clip.NORM: "norm",
    messages.Clip.VALUE: "value",
    messages.Clip.GLOBAL_NORM: "global_norm",
}


def parse(kind: Any, value: Any) -> Any:
    """Parses a `Schema` or `Event` out of the string tensor that holds it.

    Raises:
      FormatError: it holds no such message, or a newer version's.
    """
    name = kind.DESCRIPTOR.name
    content = value.item() if value.size == 1 else None
    if not isinstance(content, bytes):
        raise FormatError(
            f"A stored {name} is {value.dtype} of shape {list(value.shape)}, expected one string; "
            "the event file is damaged or was written by something else."
        )
    return messages.parse(kind, content)


def place(stored: Any, field: str = "where") -> Place | None:
    """Returns a line of the program out of a field, None if unknown.

    Args:
      stored: a schema, whose records come from there; or a cause.
      field: which one.
    """
    if not stored.HasField(field):
        return None
    found = getattr(stored, field)
    return Place(found.file, found.line, found.function, found.code)


def label(schema: Any) -> Label:
    """Returns which gradient a schema's records are of. A later format's stage is "raw"."""
    stored = schema.label
    replicas = max(1, stored.replicas)
    return Label(
        stage=_STAGES.get(stored.stage, "raw"),
        batch=_BATCHES.get(stored.batch, "whole"),
        replicas=replicas,
        replica=stored.replica if replicas > 1 else 0,
        sparse=stored.sparse,
        step_source="user" if schema.step_source == messages.Schema.USER else "calls",
        reduction=_REDUCTIONS.get(stored.reduction, "unknown") if replicas > 1 else "",
        clipped=stored.clipped,
    )


def key(schema: Any) -> Key:
    """Returns what of a schema tells what it is of: all series of one key are one."""
    return (schema.name, identity(label(schema)))


def method(schema: Any) -> str:
    """Returns how a schema's clip site clips."""
    return _METHODS.get(schema.clip.method, "custom")


def variable(stored: Any) -> Variable:
    """Returns a schema's variable."""
    return Variable(
        name=stored.name,
        layer=layer_of(stored.name),
        dtype=stored.dtype,
        shape=tuple(stored.shape),
        kind="tensor" if stored.kind == messages.Variable.TENSOR else "variable",
        trainable=stored.trainable,
    )


def layer_of(name: str) -> str:
    """Returns a variable's name without its last part: "dense/kernel" is of "dense".

    Names without slashes are Python's: "self.embed" is of "self".
    """
    separator = "/" if "/" in name else "."
    return name.rpartition(separator)[0]
