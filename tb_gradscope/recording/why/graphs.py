"""The operations of graphs under construction, and of the functions that they call."""

from __future__ import annotations

import weakref
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.why import internals, nodes
from tb_gradscope.recording.why.nodes import Body, Node

_Known = tuple[list[Node], dict[str, int]]
_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()

_CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
_IFS = {"If", "StatelessIf"}
_CASES = {"Case", "StatelessCase"}
_LOOPS = {"While", "StatelessWhile"}


def chain(graph: Any) -> list[Any]:
    """Returns a function's graph and those around it, the outermost first."""
    found = []
    while isinstance(graph, tf.__internal__.FuncGraph):
        found.append(graph)
        graph = graph.outer_graph
    return found[::-1]


def nodes_of(graph: Any, last: str | None = None) -> list[Node]:
    """Returns the operations of one graph in the order in which they were made.

    Args:
      graph: a FuncGraph.
      last: name of the last operation wanted; None for all.
    """
    # Holds nothing of the graph but numbers and names, so that it can be freed.
    found, end = _known.setdefault(graph, ([], {}))
    if last is not None and last in end:
        return found[: end[last]]
    operations = graph.get_operations()
    reference = weakref.ref(graph)
    for index in range(len(found), len(operations)):
        node = _node(operations[index], index, reference)
        found.append(node)
        end[node.name] = len(found)
        if node.name == last:
            break
    return found[:]


def captures(graph: Any) -> list[Node]:
    """Returns a node for each tensor that a graph takes from outside."""
    return [
        nodes.plain("Capture", -1, [id(outer)], [id(inner)], ((outer.dtype,), (inner.dtype,)))
        for outer, inner in graph.captures
    ]


def _node(op: Any, index: int, graph: weakref.ref[Any]) -> Node:
    kind = op.type
    inputs, outputs = op.inputs, op.outputs
    return Node(
        type=kind,
        index=index,
        ins=[id(tensor) for tensor in inputs],
        outs=[id(tensor) for tensor in outputs],
        in_dtypes=tuple([tensor.dtype for tensor in inputs]),
        out_dtypes=tuple([tensor.dtype for tensor in outputs]),
        bodies=_bodies(op, kind),
        custom=_custom(op) if kind == "IdentityN" else "",
        graph=graph,
        name=op.name,
        line=None,
        attributes=None,
        shapes=None,
    )


def _custom(op: Any) -> str:
    try:
        name = op.get_attr("_gradient_op_type")
    except ValueError:
        return ""
    return name.decode() if isinstance(name, bytes) else str(name)


def _bodies(op: Any, kind: str) -> tuple[Body, ...]:
    if kind in _CALLS:
        named = [(nodes.CALL, op.get_attr("f").name, 0)]
    elif kind in _IFS:
        named = [
            (nodes.BRANCH, op.get_attr(which).name, 1) for which in ("then_branch", "else_branch")
        ]
    elif kind in _CASES:
        named = [(nodes.BRANCH, branch.name, 1) for branch in op.get_attr("branches")]
    elif kind in _LOOPS:
        named = [
            (nodes.LOOP, op.get_attr("body").name, 0),
            (nodes.CONDITION, op.get_attr("cond").name, 0),
        ]
    else:
        return ()
    found = [
        (role, internals.function_graph(op.graph, name), offset) for role, name, offset in named
    ]
    if any(graph is None for _, graph, _ in found):
        return ()
    return tuple(Body(role, weakref.ref(graph), offset) for role, graph, offset in found)
