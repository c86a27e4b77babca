"""What a loss is computed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tb_gradscope.recording.why import nodes
from tb_gradscope.recording.why.graphs import nodes_of
from tb_gradscope.recording.why.nodes import Body, Key, Node


class Needed:
    """The tensors that given ones depend on, in one list of operations."""

    def __init__(self, found: Iterable[Node], known: dict[Any, Any] | None = None) -> None:
        self._known: dict[Any, Any] = {} if known is None else known
        self.made_by: dict[Key, Node] = {}
        for node in found:
            for key in node.outs:
                self.made_by[key] = node

    def by(self, targets: Iterable[Key]) -> set[Key]:
        """Returns all tensors that the targets depend on, themselves too."""
        needed: set[Key] = set()
        waiting = list(targets)
        while waiting:
            key = waiting.pop()
            if key in needed:
                continue
            needed.add(key)
            node = self.made_by.get(key)
            if node is None:
                continue
            if node.type in ("IdentityN", "Capture") and not node.custom:
                waiting.extend(node.ins[position] for position in node.positions(key))
            elif node.bodies:
                waiting.extend(
                    node.ins[position]
                    for position in self._inputs(node, frozenset(node.positions(key)))
                )
            else:
                waiting.extend(node.ins)
        return needed

    def inside(self, body: Body, outputs: frozenset[int]) -> tuple[set[Key], frozenset[int]] | None:
        """Returns what outputs of a body need inside of it, and which outputs these are.

        Args:
          body: of an operation.
          outputs: which are needed; of a loop also those that the next turn needs are added.
        """
        graph = body.graph()
        if graph is None:
            return None
        if body.role == nodes.CONDITION:
            outputs = frozenset(range(len(graph.outputs)))
        while True:
            needed = self._in_graph(graph, outputs)
            if body.role != nodes.LOOP:
                return needed, outputs
            carried = frozenset(
                position
                for position, tensor in enumerate(graph.inputs[: len(graph.outputs)])
                if id(tensor) in needed
            )
            if carried <= outputs:
                return needed, outputs
            outputs |= carried

    def _inputs(self, node: Node, outputs: frozenset[int]) -> set[int]:
        found: set[int] = set()
        for body in node.bodies:
            graph, inner = body.graph(), self.inside(body, outputs)
            if graph is None or inner is None:
                return set(range(len(node.ins)))
            found.update(range(body.offset))
            found.update(
                position + body.offset
                for position, tensor in enumerate(graph.inputs)
                if id(tensor) in inner[0]
            )
            if body.role == nodes.LOOP:  # a loop that never turns returns its inputs
                found.update(inner[1])
        return {position for position in found if position < len(node.ins)}

    def _in_graph(self, graph: Any, outputs: frozenset[int]) -> set[Key]:
        key = (id(graph), outputs)
        if key not in self._known:
            if id(graph) not in self._known:
                self._known[id(graph)] = Needed(nodes_of(graph), self._known)
            targets = [id(graph.outputs[i]) for i in outputs if i < len(graph.outputs)]
            self._known[key] = self._known[id(graph)].by(targets)
        found: set[Key] = self._known[key]
        return found
