"""The terms that a loss is the sum of, as far as its operations show."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from tb_gradscope.recording.why.nodes import CARRIES_GRADIENT, Key, Node
from tb_gradscope.recording.why.world import World

_SUMS = frozenset({"Add", "AddV2", "AddN", "Sub", "Pack", "ConcatV2"})
_SCALES = frozenset({"Mul", "MulNoNan", "RealDiv", "Div", "DivNoNan", "Xdivy"})
_PASSES = frozenset(
    {
        "Capture",
        "Cast",
        "CheckNumerics",
        "EnsureShape",
        "ExpandDims",
        "Identity",
        "Mean",
        "Neg",
        "Reshape",
        "Squeeze",
        "Sum",
    }
)
_MOST = 200  # operations between a loss and its terms


@dataclasses.dataclass(frozen=True)
class Summand:
    """One term of a sum.

    Attributes:
      key: of the tensor itself.
      called: keys of all tensors that differ from it by a factor or a shape alone.
    """

    key: Key
    called: tuple[Key, ...]


def may_be_sum(target: Any) -> bool:
    """Tells from a few operations whether a tensor of a graph can be a sum at all."""
    waiting = collections.deque([target.op])
    for _ in range(_MOST):
        if not waiting:
            return False
        op = waiting.popleft()
        if op.type in _SUMS:
            return True
        if op.type in _SCALES:
            waiting += [tensor.op for tensor in op.inputs]
        elif op.type in _PASSES and op.inputs:
            waiting.append(op.inputs[0].op)
    return False


def summands(world: World, depends: Callable[[Key], bool]) -> list[Summand]:
    """Returns the terms that the losses of a world are sums of.

    Args:
      world: the operations.
      depends: tells whether a tensor depends on any variable; factors that do not
        are constants.
    """
    found: list[Summand] = []
    # In breadth: what is far from the loss is part of a network, and not told apart.
    waiting = collections.deque[tuple[Key, tuple[Key, ...]]]((key, ()) for key in world.losses)
    seen: set[Key] = set()
    while waiting:
        key, called = waiting.popleft()
        if key in seen:
            continue
        seen.add(key)
        node = world.maker(key)
        is_near = len(seen) < _MOST
        inner = list(_inner(node, depends)) if node is not None and is_near else []
        if not inner:
            found.append(Summand(key, (*called, key)))
            continue
        path = (*called, key) if len(inner) == 1 else ()
        waiting.extend((one, path) for one in inner)
    return found


def _inner(node: Node, depends: Callable[[Key], bool]) -> Iterator[Key]:
    """Yields the tensors that another one is a weighted sum of; none where it is no sum."""
    if node.custom or node.bodies:
        return
    if node.type in _SUMS:
        for one, dtype in zip(node.ins, node.in_dtypes, strict=True):
            if dtype in CARRIES_GRADIENT:
                yield one
    elif node.type in _SCALES:
        dependent = [one for one in node.ins if depends(one)]
        if len(dependent) == 1 and (node.type in ("Mul", "MulNoNan") or dependent == node.ins[:1]):
            yield dependent[0]
    elif node.type in _PASSES and node.in_dtypes[0] in CARRIES_GRADIENT:
        yield node.ins[0]
