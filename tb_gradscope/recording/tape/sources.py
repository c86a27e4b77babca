"""What gradients are asked for: variables of TensorFlow and Keras, and plain tensors."""

from __future__ import annotations

import re
import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages

_DEFAULT_NAME = re.compile(r"(.*/)?(Mirrored|Sync|Aggregating)?Variable(_\d+)?(:\d+)?$")


def is_variable(source: Any) -> bool:
    """Tells whether a source is a variable of TensorFlow or Keras."""
    return isinstance(source, tf.Variable) or _is_keras(source)


class SameSources:
    """Tells whether sources are those of before: an id alone may come again.

    Plain tensors are new in every step, and count as the same. Holds on to none.
    """

    def __init__(self, found: list[Any]) -> None:
        self._references = [reference(source) if is_variable(source) else None for source in found]

    def are(self, found: list[Any]) -> bool:
        """Tells whether these are the same, in the same order."""
        return len(found) == len(self._references) and all(
            reference is None or reference() is source
            for reference, source in zip(self._references, found, strict=True)
        )


def handle_of(source: Any) -> Any | None:
    """Returns the resource handle of a variable, None for anything else."""
    if not is_variable(source):
        return None
    variable: Any = getattr(source, "value", None) if _is_keras(source) else source
    copies = isinstance(variable, tf.distribute.DistributedValues)
    if copies and tf.distribute.in_cross_replica_context():
        variable = variable.values[0]  # between the replicas all copies are the same
    return getattr(variable, "handle", None)


def shape_of(source: Any) -> Any:
    """Returns the shape as a tensor, without reading a variable (which tapes would watch)."""
    if source.shape.is_fully_defined() if hasattr(source.shape, "is_fully_defined") else True:
        return tf.constant([int(size) for size in source.shape], tf.int64)
    handle = handle_of(source)
    if handle is None:
        return tf.shape(source, out_type=tf.int64)
    return tf.raw_ops.VariableShape(input=handle, out_type=tf.int64)


def own_name(source: Any) -> str | None:
    """Returns the name its maker gave a variable, None for TensorFlow's default name."""
    if _is_keras(source):
        return str(source.path)
    if not isinstance(source, tf.Variable):
        return None
    name = str(source.name)
    if _DEFAULT_NAME.match(name):
        return None
    return name.rsplit(":", 1)[0]


def describe(source: Any, name: str) -> Any:
    """Returns the `Variable` message of a source."""
    kinds = messages.Variable
    dtype = getattr(source, "dtype", None)
    return messages.Variable(
        name=name,
        dtype=dtype if isinstance(dtype, str) else getattr(dtype, "name", str(dtype)),
        shape=_static_shape(source),
        kind=kinds.VARIABLE if is_variable(source) else kinds.TENSOR,
        trainable=bool(getattr(source, "trainable", False)),
    )


def _static_shape(source: Any) -> list[int]:
    shape = getattr(source, "shape", None)
    if shape is None or getattr(shape, "rank", 0) is None:
        return []
    return [-1 if size is None else int(size) for size in shape]


def reference(source: Any) -> Any:
    """Returns a weak reference to a variable, and for anything else one to nothing."""
    if not is_variable(source):
        return _nothing
    try:
        return weakref.ref(source)
    except TypeError:
        return _nothing


def _nothing() -> None:
    """Stands for a reference to what cannot be referred to."""


def _is_keras(source: Any) -> bool:
    # By its shape rather than its class: importing Keras takes seconds, and a
    # program without Keras must not pay for it.
    return hasattr(source, "path") and hasattr(source, "value") and hasattr(source, "assign")
