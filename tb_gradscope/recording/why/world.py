"""All operations that can have to do with a loss: of graphs, or of an observed eager step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from tb_gradscope.recording.why import graphs, internals
from tb_gradscope.recording.why.needed import Needed
from tb_gradscope.recording.why.nodes import Key, Node
from tb_gradscope.recording.why.observer import Observer


@dataclasses.dataclass(frozen=True)
class Readers:
    """The operations that read a tensor: those that the losses depend on, and the others."""

    serving: list[Node]
    idle: list[Node]


class World:
    """Operations up to those that made the losses.

    Attributes:
      nodes: in the order in which they were made or run.
      losses: keys of the losses.
      keys: of all tensors that they depend on.
      needed: knows what functions need.
      observer: of an eager step, None for graphs.
    """

    def __init__(
        self, nodes: list[Node], losses: list[Key], observer: Observer | None = None
    ) -> None:
        self.nodes = nodes
        self.losses = losses
        self.observer = observer
        self.needed = Needed(nodes)
        self.keys = self.needed.by(losses)

    def key(self, tensor: Any) -> Key:
        """Returns the key of a tensor."""
        return id(tensor) if self.observer is None else internals.eager_key(tensor)

    def maker(self, key: Key) -> Node | None:
        """Returns the operation that made a tensor."""
        return self.needed.made_by.get(key)

    def readers(self, keys: list[Key]) -> list[Readers]:
        """Returns the operations that read each of these tensors."""
        found = [Readers([], []) for _ in keys]
        names: dict[Key, list[Readers]] = {}
        for key, readers in zip(keys, found, strict=True):
            names.setdefault(key, []).append(readers)
        for node in self.nodes:
            for key in set(node.ins) & names.keys():
                if node.type == "Capture":
                    for out in node.outs:
                        names.setdefault(out, []).extend(names[key])
                    continue
                is_idle = self.keys.isdisjoint(node.outs)
                for readers in names[key]:
                    (readers.idle if is_idle else readers.serving).append(node)
        return found


def of_graph(targets: list[Any]) -> World:
    """Returns the world of losses in a graph under construction."""
    found: list[Node] = []
    last = max(targets, key=lambda target: _position(target.op))
    for graph in graphs.chain(last.graph):
        found += graphs.captures(graph)
        found += graphs.nodes_of(graph, last.op.name if graph is last.graph else None)
    return World(found, [id(target) for target in targets])


def of_step(targets: Iterable[Any], observer: Observer) -> World:
    """Returns the world of losses of an observed eager step."""
    losses = [internals.eager_key(target) for target in targets]
    end = 0
    for node in observer.nodes:
        if not set(losses).isdisjoint(node.outs):
            end = node.index + 1
    return World(observer.nodes[: end or None], losses, observer)


def _position(op: Any) -> int:
    return int(getattr(op, "_id", 0) or 0)
