"""Values that reach a loss only by being assigned to a variable that it reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tensorflow as tf

from tb_gradscope.recording.why.graphs import nodes_of
from tb_gradscope.recording.why.nodes import Key, Node
from tb_gradscope.recording.why.reach import Bits, Reach

_WRITES = ("Assign", "Scatter", "ResourceApply", "Insert", "Import", "Enqueue", "MakeIterator")


def writes(
    found: Sequence[Node], reach: Reach, read: set[Key], around: tuple[Node, ...] = ()
) -> Iterator[tuple[Node, Bits, tuple[Node, ...]]]:
    """Yields each operation that writes a value into a variable that the loss reads.

    Args:
      found: operations.
      reach: what gets where among them.
      read: handles that the loss needs.
      around: the operations that run these.

    Yields:
      The operation, the sources whose values it writes, the operations around it.
    """
    for node in found:
        if node.bodies:
            yield from _inside(node, reach, read, around)
            continue
        if not any(part in node.type for part in _WRITES):
            continue
        bits = 0
        for key, dtype in zip(node.ins, node.in_dtypes, strict=True):
            if dtype != tf.resource:
                bits |= reach.values.get(key, 0)
        if bits and any(
            dtype == tf.resource and key in read
            for key, dtype in zip(node.ins, node.in_dtypes, strict=True)
        ):
            yield node, bits, around


def _inside(
    node: Node, reach: Reach, read: set[Key], around: tuple[Node, ...]
) -> Iterator[tuple[Node, Bits, tuple[Node, ...]]]:
    for body in node.bodies:
        graph, inner = body.graph(), reach.into(node, body)
        if graph is None or inner is None:
            continue
        inputs = node.ins[body.offset :]
        known = {
            id(tensor) for tensor, key in zip(graph.inputs, inputs, strict=False) if key in read
        }
        if known:
            yield from writes(nodes_of(graph), inner, known, (*around, node))
