"""The operations at which gradients stop on the way from a loss back to a source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from tb_gradscope.recording.why import nodes
from tb_gradscope.recording.why.graphs import nodes_of
from tb_gradscope.recording.why.lines import Line, of_operation
from tb_gradscope.recording.why.needed import Needed
from tb_gradscope.recording.why.nodes import Key, Node
from tb_gradscope.recording.why.reach import Bits, Reach

DECIDES = "decides"
_FUNCTION = "function"
_SHAPES = frozenset(
    {
        "BroadcastGradientArgs",
        "FakeParam",
        "OnesLike",
        "Rank",
        "Shape",
        "ShapeN",
        "Size",
        "TensorListElementShape",
        "TensorListLength",
        "VariableShape",
        "ZerosLike",
    }
)


@dataclasses.dataclass(frozen=True)
class Blocker:
    """An operation that a value goes through and a gradient does not.

    Attributes:
      node: the operation.
      bits: of which sources.
      output: which output is needed.
      window: what the tape did meanwhile: "before", "after", "stopped", "reset", or "".
      reason: DECIDES where the value only decides what runs, else "".
      around: the calls, branches and loops that it is in, the outermost first.
    """

    node: Node
    bits: Bits
    output: int
    window: str = ""
    reason: str = ""
    around: tuple[Node, ...] = ()

    @property
    def is_shape(self) -> bool:
        """Tells whether only the shape of the value goes on."""
        return self.node.type in _SHAPES

    @property
    def rank(self) -> int:
        """Orders blockers of one source: the more surely it is the one to mend, the less."""
        if self.window or self.node.custom or self.node.type == "StopGradient":
            return 0
        if self.is_shape:
            return 4
        return 3 if self.reason == DECIDES else 1

    @property
    def line(self) -> Line | None:
        """The user's line: its own, else that of the innermost call around it."""
        for node in (self.node, *reversed(self.around)):
            found = line_of(node)
            if found is not None:
                return found
        return None


def line_of(node: Node) -> Line | None:
    """Returns the user's line that made or ran an operation."""
    op = node.op
    return node.line if op is None else of_operation(op)


def blockers(
    found: Sequence[Node],
    reach: Reach,
    needed: Needed,
    keys: set[Key],
    bits: Bits,
    around: tuple[Node, ...] = (),
) -> Iterator[Blocker]:
    """Yields where gradients stop.

    Args:
      found: operations.
      reach: what gets where among them.
      needed: knows what their functions need.
      keys: the tensors that the loss needs.
      bits: the sources in question.
      around: the operations that run these.
    """
    for node in found:
        arriving = 0
        for key in node.ins:
            arriving |= reach.gradients.get(key, 0)
        arriving &= bits
        if not arriving:
            continue
        outputs = [
            position
            for position, key in enumerate(node.outs)
            if key in keys and reach.values.get(key, 0) & ~reach.gradients.get(key, 0) & arriving
        ]
        stopped = 0
        for position in outputs:
            key = node.outs[position]
            stopped |= reach.values.get(key, 0) & ~reach.gradients.get(key, 0) & arriving
        if not stopped:
            continue
        window = reach.window(node) if reach.window is not None else None
        if window is not None:
            yield Blocker(node, stopped, outputs[0], window, around=around)
        elif node.bodies:
            yield from _inside(node, reach, needed, frozenset(outputs), stopped, around)
        else:
            yield Blocker(node, stopped, outputs[0], around=around)


def _inside(
    node: Node,
    reach: Reach,
    needed: Needed,
    outputs: frozenset[int],
    bits: Bits,
    around: tuple[Node, ...],
) -> Iterator[Blocker]:
    explained = 0
    for body in node.bodies:
        graph, inner = body.graph(), reach.into(node, body)
        inside = needed.inside(body, outputs)
        if graph is None or inner is None or inside is None:
            continue
        if body.role == nodes.BRANCH and reach.gradients.get(node.ins[0], 0) & bits:
            decided = reach.gradients[node.ins[0]] & bits
            explained |= decided
            yield Blocker(node, decided, 0, reason=DECIDES, around=around)
        for blocker in blockers(nodes_of(graph), inner, needed, inside[0], bits, (*around, node)):
            explained |= blocker.bits
            yield blocker
    if bits & ~explained:
        yield Blocker(node, bits & ~explained, min(outputs), reason=_FUNCTION, around=around)
