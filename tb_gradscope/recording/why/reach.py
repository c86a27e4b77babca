"""Where the values of sources get to, and from where a gradient comes back to them.

All sources are followed at once: a set of them is an integer with a bit for each,
so that the work is one pass over the operations, however many are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tb_gradscope.recording.why import nodes
from tb_gradscope.recording.why.flow import flow_through
from tb_gradscope.recording.why.graphs import nodes_of
from tb_gradscope.recording.why.nodes import CARRIES_GRADIENT, Body, Key, Node

Bits = int
Window = Callable[[Node], str | None]


class Reach:
    """What gets where.

    Attributes:
      values: sources whose value each tensor depends on.
      gradients: sources that get a gradient from each tensor.
      custom_passes: `tf.custom_gradient` functions return gradients rather than None.
    """

    def __init__(
        self, custom_passes: bool = True, window: Window | None = None, known: Any = None
    ) -> None:
        self.values: dict[Key, Bits] = {}
        self.gradients: dict[Key, Bits] = {}
        self.custom_passes = custom_passes
        self.window = window
        self._known: dict[Any, Reach] = {} if known is None else known

    def seed(self, key: Key, bits: Bits, with_gradient: bool = True) -> None:
        """Begins at a tensor."""
        self.values[key] = self.values.get(key, 0) | bits
        if with_gradient:
            self.gradients[key] = self.gradients.get(key, 0) | bits

    def run(self, found: Iterable[Node]) -> None:
        """Follows operations in the order in which they were made."""
        values, gradients = self.values, self.gradients
        for node in found:
            reached = [values.get(key, 0) for key in node.ins]
            if not any(reached):
                continue
            returned = [gradients.get(key, 0) for key in node.ins]
            reached, returned = self._through(node, reached, returned)
            if any(returned) and self.window is not None and self.window(node) is not None:
                returned = [0] * len(returned)
            for key, bits in zip(node.outs, reached, strict=True):
                if bits:
                    values[key] = values.get(key, 0) | bits
            for key, bits in zip(node.outs, returned, strict=True):
                if bits:
                    gradients[key] = gradients.get(key, 0) | bits

    def into(self, node: Node, body: Body) -> Reach | None:
        """Returns what gets where inside of a body, given what gets to its operation."""
        reached = [self.values.get(key, 0) for key in node.ins]
        returned = [self.gradients.get(key, 0) for key in node.ins]
        return self._inside(body, reached, returned)

    def _through(
        self, node: Node, reached: list[Bits], returned: list[Bits]
    ) -> tuple[list[Bits], list[Bits]]:
        if node.bodies:
            return self._through_bodies(node, reached, returned)
        if node.custom:
            everything = _union(reached)
            passed = _union(returned) if self.custom_passes else 0
            return [everything] * len(node.outs), _where(node, [passed] * len(node.outs))
        flow = flow_through(node)
        returned = [bits if ok else 0 for bits, ok in zip(returned, flow.inputs, strict=True)]
        if flow.by_position:
            return reached, _where(node, returned)
        count = len(node.outs)
        out = _union(returned)
        return [_union(reached)] * count, [out if ok else 0 for ok in flow.outputs]

    def _through_bodies(
        self, node: Node, reached: list[Bits], returned: list[Bits]
    ) -> tuple[list[Bits], list[Bits]]:
        out_values, out_gradients = [0] * len(node.outs), [0] * len(node.outs)
        for body in node.bodies:
            inner = self._inside(body, reached, returned)
            graph = body.graph()
            if inner is None or graph is None:
                return [_union(reached)] * len(node.outs), _where(
                    node, [_union(returned)] * len(node.outs)
                )
            # What decides on a branch or on the number of turns gets to every output.
            decides = reached[0] if body.role == nodes.BRANCH else 0
            if body.role == nodes.CONDITION:
                decides = _union(inner.values.get(id(out), 0) for out in graph.outputs)
            out_values = [bits | decides for bits in out_values]
            if body.role == nodes.CONDITION:
                continue
            for position, out in enumerate(graph.outputs[: len(node.outs)]):
                out_values[position] |= inner.values.get(id(out), 0)
                out_gradients[position] |= inner.gradients.get(id(out), 0)
        return out_values, _where(node, out_gradients)

    def _inside(self, body: Body, reached: list[Bits], returned: list[Bits]) -> Reach | None:
        graph = body.graph()
        if graph is None:
            return None
        inputs = graph.inputs
        values = tuple(reached[body.offset :][: len(inputs)])
        gradients = tuple(returned[body.offset :][: len(inputs)])
        key = (id(graph), body.role, values, gradients)
        if key not in self._known:
            self._known[key] = self._followed(graph, body.role, values, gradients)
        return self._known[key]

    def _followed(
        self, graph: Any, role: str, values: tuple[Bits, ...], gradients: tuple[Bits, ...]
    ) -> Reach:
        while True:
            inner = Reach(self.custom_passes, known=self._known)
            for tensor, bits, with_gradient in zip(graph.inputs, values, gradients, strict=False):
                inner.seed(id(tensor), bits, with_gradient=False)
                inner.gradients[id(tensor)] = with_gradient
            inner.run(nodes_of(graph))
            if role != nodes.LOOP:
                return inner
            # What one turn leaves, the next one takes up.
            outs = [id(out) for out in graph.outputs]
            again = tuple(
                bits | (inner.values.get(outs[i], 0) if i < len(outs) else 0)
                for i, bits in enumerate(values)
            )
            back = tuple(
                bits | (inner.gradients.get(outs[i], 0) if i < len(outs) else 0)
                for i, bits in enumerate(gradients)
            )
            if (again, back) == (values, gradients):
                return inner
            values, gradients = again, back


def _union(found: Iterable[Bits]) -> Bits:
    union = 0
    for bits in found:
        union |= bits
    return union


def _where(node: Node, gradients: list[Bits]) -> list[Bits]:
    return [
        bits if dtype in CARRIES_GRADIENT else 0
        for bits, dtype in zip(gradients, node.out_dtypes, strict=True)
    ]
