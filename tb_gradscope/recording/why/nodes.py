"""One operation, run in eager code or standing in a graph, as the search for causes sees it."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.why.lines import Line

Key = int
"""Names a tensor: two of one world never have the same."""

CARRIES_GRADIENT = frozenset(
    {
        tf.float16,
        tf.bfloat16,
        tf.float32,
        tf.float64,
        tf.complex64,
        tf.complex128,
        tf.resource,
        tf.variant,
    }
)
"""Types that TensorFlow differentiates (`backprop_util.IsTrainable`)."""

CALL, BRANCH, LOOP, CONDITION = "call", "branch", "loop", "condition"


@dataclasses.dataclass(frozen=True)
class Body:
    """A graph that an operation runs.

    Attributes:
      role: CALL, BRANCH (of `tf.cond`), LOOP (body of a loop), CONDITION (of a loop).
      graph: returns it, None once it is gone.
      offset: how many inputs of the operation come before those of the graph.
    """

    role: str
    graph: Callable[[], Any]
    offset: int = 0


@dataclasses.dataclass(eq=False)
class Node:
    """An operation.

    Attributes:
      type: TensorFlow's name of it.
      index: its place in the order in which operations were made or run.
      ins, outs: keys of its tensors.
      in_dtypes, out_dtypes: one for each of them.
      bodies: the graphs that it runs.
      custom: name of the `tf.custom_gradient` function that it stands for, or "".
      graph: that it is in, held weakly; None for eager code.
      name: within that graph.
      line: where eager code ran it.
      attributes: of an eager operation.
      shapes: of the inputs and outputs of an eager operation.
    """

    __slots__ = (
        "attributes",
        "bodies",
        "custom",
        "graph",
        "in_dtypes",
        "index",
        "ins",
        "line",
        "name",
        "out_dtypes",
        "outs",
        "shapes",
        "type",
    )
    type: str
    index: int
    ins: list[Key]
    outs: list[Key]
    in_dtypes: tuple[Any, ...]
    out_dtypes: tuple[Any, ...]
    bodies: tuple[Body, ...]
    custom: str
    graph: weakref.ref[Any] | None
    name: str
    line: Line | None
    attributes: Any
    shapes: Any

    @property
    def op(self) -> Any | None:
        """The operation itself, None for eager code and graphs that are gone."""
        graph = None if self.graph is None else self.graph()
        return None if graph is None else graph.get_operation_by_name(self.name)

    def positions(self, key: Key) -> list[int]:
        """Returns which outputs have this key."""
        return [position for position, out in enumerate(self.outs) if out == key]


def plain(
    kind: str,
    index: int,
    ins: list[Key],
    outs: list[Key],
    dtypes: tuple[tuple[Any, ...], tuple[Any, ...]],
) -> Node:
    """Returns a node without any of the rarer attributes."""
    return Node(kind, index, ins, outs, *dtypes, (), "", None, "", None, None, None)
