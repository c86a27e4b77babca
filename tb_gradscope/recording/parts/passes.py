"""Further backward passes through what a tape recorded."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.tape import sources

# What does more than compute. In a graph it is known before it is run.
_EFFECT = re.compile(
    r"(Eager)?PyFunc|Assign\w*VariableOp|Resource(Sparse)?Apply\w+|ResourceScatter\w+|Rng\w+"
    r"|Stateful(?!PartitionedCall)\w+|Print\w*|Collective\w+|Nccl\w+|Queue\w+|\w*(Send|Recv)"
)

Gradients = list[Any]
Window = tuple[int, int | None]


class NoPassError(Exception):
    """No further backward pass can be made; the text says why, as the end of a sentence."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What one pass differentiates: the sum of some tensors.

    Attributes:
      tensors: of the sum; none for a constant.
      weights: one gradient for each tensor to begin with, or None for ones.
    """

    tensors: tuple[Any, ...]
    weights: tuple[Any, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Passes:
    """Backward passes still to be made.

    Attributes:
      none: for each target which gradients are None; None where only running shows.
      run: makes the passes; returns for each target one gradient for each source.
    """

    none: list[tuple[bool, ...]] | None
    run: Callable[[], list[Gradients]]


def eager_passes(tape: Any, targets: Sequence[Target], found: Sequence[Any]) -> Passes:
    """Returns passes through a persistent tape.

    Args:
      tape: a `tf.GradientTape`.
      targets: of the passes.
      found: flat sources.
    """

    def run() -> list[Gradients]:
        with internals.seeds_of_our_own():
            return [_eager_pass(tape, target, list(found)) for target in targets]

    return Passes(None, run)


def _eager_pass(tape: Any, target: Target, found: list[Any]) -> Gradients:
    if not target.tensors:
        return [None] * len(found)
    weights = None if target.weights is None else list(target.weights)
    gradients: Gradients = tf.GradientTape.gradient(tape, list(target.tensors), found, weights)
    return gradients


def graph_passes(
    graph: Any,
    windows: Sequence[Window],
    targets: Sequence[Target],
    found: Sequence[Any],
    is_known: Callable[[Any, bool], bool],
) -> Passes:
    """Returns passes through the operations of a graph that a tape recorded.

    Args:
      graph: under construction, or one around that.
      windows: first and last operation of the times in which the tape recorded.
      targets: of the passes.
      found: flat sources.
      is_known: tells whether the tape knows a source, given whether it recorded
        how the source came about. TensorFlow's graphs know all of them.

    Raises:
      NoPassError: a pass would do more than compute.
    """
    recorded = _Recorded(graph, windows)
    known = [source if is_known(source, recorded.has(source)) else None for source in found]
    ends = [_in_graph(source, graph) for source in known if source is not None]
    on_tape = [_on_tape(target, recorded) for target in targets]
    stops = recorded.boundary([tensor for target in on_tape for tensor in target.tensors])

    def pass_of(target: Target) -> Any:
        # A function of its own for each, in which all have the same name scopes: by name
        # TensorFlow knows what a loop kept for another pass already.
        @tf.function(autograph=False)
        def differentiate() -> Gradients:
            if not target.tensors or not ends:
                return [None] * len(ends)
            gradients: Gradients = tf.gradients(
                list(target.tensors), ends, grad_ys=target.weights, stop_gradients=stops
            )
            return gradients

        try:
            made = differentiate.get_concrete_function()
        except RuntimeError as error:
            if "merge_call" not in str(error):
                raise
            raise NoPassError(
                "its backward pass reaches through an all-reduce of the replicas"
            ) from None
        _expect_no_effect(made.graph)
        return made

    made = [pass_of(target) for target in on_tape]

    def spread(gradients: Iterable[Any]) -> Gradients:
        left = iter(gradients)
        return [None if source is None else next(left) for source in known]

    none = [tuple(one is None for one in spread(each.structured_outputs)) for each in made]
    return Passes(none, lambda: [spread(each()) for each in made])


class _Recorded:
    """The operations of a graph that a tape recorded."""

    def __init__(self, graph: Any, windows: Sequence[Window]) -> None:
        self._graph = graph
        self._windows = windows
        # The version of a graph is the number of its operations.
        self._index = {op: index for index, op in enumerate(graph.get_operations())}

    def has(self, tensor: Any) -> bool:
        """Tells whether the tape recorded how a tensor came about."""
        is_here = isinstance(tensor, tf.Tensor) and getattr(tensor, "graph", None) is self._graph
        return is_here and self._is_recorded(tensor.op)

    def boundary(self, targets: Iterable[Any]) -> list[Any]:
        """Returns the tensors at which the way back from `targets` leaves what was recorded."""
        left, seen = [target.op for target in targets], set()
        outside: dict[int, Any] = {}
        while left:
            op = left.pop()
            if op in seen:
                continue
            seen.add(op)
            for tensor in op.inputs:
                if self._is_recorded(tensor.op):
                    left.append(tensor.op)
                else:
                    outside[id(tensor)] = tensor
        return list(outside.values())

    def _is_recorded(self, op: Any) -> bool:
        index = self._index[op]
        return any(begin <= index and (end is None or index < end) for begin, end in self._windows)


def _on_tape(target: Target, recorded: _Recorded) -> Target:
    """Returns what of a target the tape recorded: the rest has no gradient."""
    kept = [position for position, t in enumerate(target.tensors) if recorded.has(t)]
    weights = target.weights
    return Target(
        tuple(target.tensors[position] for position in kept),
        None if weights is None else tuple(weights[position] for position in kept),
    )


def _in_graph(source: Any, graph: Any) -> Any:
    """Returns what stands for a source in the graph that the tape recorded in."""
    handle = sources.handle_of(source)
    tensor = source if handle is None else handle
    return tensor if getattr(tensor, "graph", None) is graph else graph.capture(tensor)


def _expect_no_effect(graph: Any) -> None:
    definition = graph.as_graph_def()
    functions = {function.signature.name: function for function in definition.library.function}
    left, seen = list(definition.node), set()
    while left:
        node = left.pop()
        if _EFFECT.fullmatch(node.op):
            raise NoPassError(
                f"its backward pass runs {node.op}, which does more than compute and must not "
                "run once more for each part"
            )
        called = [node.op]
        for attribute in node.attr.values():
            called += [attribute.func.name, *(one.name for one in attribute.list.func)]
        for name in called:
            if name in functions and name not in seen:
                seen.add(name)
                left.extend(functions[name].node_def)
