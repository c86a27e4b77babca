"""Gradients as arguments of the functions that measure them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.tape.sources import shape_of

_ARGUMENTS = {"dense": 1, "sparse": 3}  # of each kind of part


@dataclasses.dataclass(frozen=True)
class Part:
    """One gradient: what a function that measures it needs.

    Attributes:
      kind: "dense" or "sparse".
      dtype: of its values.
      arguments: the values; sparse: values, indices, number of rows in all.
    """

    kind: str
    dtype: Any
    arguments: list[Any]


def part_of(gradient: Any, source: Any) -> Part | None:
    """Returns the part of a gradient, None for None."""
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        shape = gradient.dense_shape
        rows = tf.cast((shape_of(source) if shape is None else shape)[0], tf.float32)
        indices = tf.cast(gradient.indices, tf.int64)
        return Part("sparse", gradient.values.dtype, [gradient.values, indices, rows])
    if not isinstance(gradient, tf.Tensor):  # a RaggedTensor or another composite
        parts = tf.nest.flatten(gradient, expand_composites=True)
        numbers = [part for part in parts if part.dtype.is_floating or part.dtype.is_complex]
        gradient = tf.concat([tf.reshape(part, [-1]) for part in numbers], 0)
    return Part("dense", gradient.dtype, [gradient])


def signature(kind: str, dtype: Any) -> list[Any]:
    """Returns the specs of the arguments of a part, of any shape."""
    rest = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.float32)]
    return [tf.TensorSpec(None, dtype), *(rest if kind == "sparse" else [])]


def apply(function: Callable[..., Any], part: Part) -> Any:
    """Calls a function of a part's arguments, traced once for all shapes and graphs.

    A graph holds one call of it for each gradient rather than its twenty
    operations, which keeps tracing quick.

    Args:
      function: of the arguments.
      part: the gradient.
    """
    return _traced(function, part.kind, part.dtype)(*part.arguments)


@functools.cache
def _traced(function: Callable[..., Any], kind: str, dtype: Any) -> Any:
    return concrete(function, signature(kind, dtype))


Layout = tuple[tuple[str, Any] | None, ...]
"""Kind and dtype of each part, None for None: what a traced function depends on."""


def layout_of(parts: Iterable[Part | None]) -> Layout:
    """Returns the layout of parts."""
    return tuple(None if part is None else (part.kind, part.dtype) for part in parts)


def packed(parts: Iterable[Part | None]) -> list[Any]:
    """Returns the arguments of parts, one after the other."""
    return [argument for part in parts if part for argument in part.arguments]


def unpacked(layout: Layout, arguments: Iterator[Any]) -> list[Part | None]:
    """Returns the parts that `packed` took apart: those that come next."""
    return [
        kind and Part(*kind, [next(arguments) for _ in range(_ARGUMENTS[kind[0]])])
        for kind in layout
    ]


def signatures(layout: Layout) -> list[Any]:
    """Returns the specs of what `packed` returns."""
    return [spec for kind in layout if kind for spec in signature(*kind)]


def concrete(function: Callable[..., Any], specs: list[Any], *, inline: bool = True) -> Any:
    """Traces a function once, for all graphs that call it.

    Args:
      function: of tensors.
      specs: of its arguments.
      inline: graphs hold its operations; else one call of it, as is best for what is
        hardly ever needed: a graph of it takes long to optimize.
    """
    attributes = None if inline else {"_noinline": True}
    traced = tf.function(
        function, input_signature=specs, autograph=False, experimental_attributes=attributes
    )
    return HOST.call(traced.get_concrete_function)
