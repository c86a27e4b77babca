"""Whether a gradient passes back through one operation, from which output to which input."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals as recording_internals
from tb_gradscope.recording.why import internals
from tb_gradscope.recording.why.nodes import CARRIES_GRADIENT, Node

_NOT_PROBED = ("Collective", "Nccl", "While", "If", "Case", "Stateless", "Partitioned", "Stateful")


@dataclasses.dataclass(frozen=True)
class Flow:
    """What passes.

    Attributes:
      inputs: which inputs get a gradient.
      outputs: which outputs may bring one.
      by_position: output i leads to input i alone.
    """

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    by_position: bool = False


_flows: dict[Any, Flow] = {}


def flow_through(node: Node) -> Flow:
    """Returns what passes through an operation, functions and `tf.custom_gradient` left aside."""
    key = (node.type, node.in_dtypes, node.out_dtypes)
    found = _flows.get(key)
    if found is None:
        found = _flows[key] = _flow(node)
    return found


def _flow(node: Node) -> Flow:
    inputs = tuple(dtype in CARRIES_GRADIENT for dtype in node.in_dtypes)
    outputs = tuple(dtype in CARRIES_GRADIENT for dtype in node.out_dtypes)
    if node.type in ("IdentityN", "Capture"):
        return Flow(inputs, outputs, by_position=True)
    is_known, function = internals.gradient_function(node.type)
    if is_known and function is None:
        return Flow((False,) * len(inputs), outputs)
    if function is None or not any(inputs) or not any(outputs):
        return Flow(inputs, outputs)
    passed = _passed(node, function)
    if passed is None:
        return Flow(inputs, outputs)
    return Flow(tuple(a and b for a, b in zip(inputs, passed, strict=True)), outputs)


def _passed(node: Node, function: Any) -> tuple[bool, ...] | None:
    """Returns which inputs TensorFlow's own gradient function gives a gradient, None if unknown."""
    # Gradient functions of the program may do anything when called; TensorFlow's do not.
    if not _is_tensorflows(function) or node.type.startswith(_NOT_PROBED):
        return None
    try:
        return _probed(node, function)
    except Exception:  # needs more than stands here: take it to pass
        return None


def _is_tensorflows(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("tensorflow.")


def _probed(node: Node, function: Any) -> tuple[bool, ...] | None:
    """Asks the gradient function itself, in a graph that is thrown away."""
    op = node.op
    with recording_internals.stop_recording(), (op.graph if op else tf.Graph()).as_default():
        scratch = tf.__internal__.FuncGraph("gradscope_probe")
        with scratch.as_default():
            if op is None:
                if node.shapes is None:
                    return None
                inputs = _placeholders(node.in_dtypes, node.shapes[0])
                outputs = _placeholders(node.out_dtypes, node.shapes[1])
                op = internals.mock_operation(node.type, node.attributes, inputs, outputs)
            found = function(op, *[_gradient_of(output) for output in op.outputs])
    if not isinstance(found, list | tuple):
        found = [found]
    if len(found) != len(node.ins):
        return None
    return tuple(gradient is not None for gradient in found)


def _placeholders(dtypes: tuple[Any, ...], shapes: Any) -> list[Any]:
    return [
        tf.compat.v1.placeholder(dtype, shape) for dtype, shape in zip(dtypes, shapes, strict=True)
    ]


def _gradient_of(output: Any) -> Any:
    if output.dtype == tf.variant:
        return output
    if output.dtype == tf.resource or output.dtype not in CARRIES_GRADIENT:
        return None
    return tf.zeros_like(output)
