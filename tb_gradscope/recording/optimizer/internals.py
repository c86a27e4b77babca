"""Every private name that recording an optimizer uses, each with a way to do without."""

from __future__ import annotations

import dataclasses
import os
import sys
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.failure import say_once
from tb_gradscope.recording.tape import sources

_MOST_FRAMES = 20


def is_keras(candidate: Any) -> bool:
    """Tells whether something is an optimizer of Keras 3."""
    keras = sys.modules.get("keras")
    base = getattr(getattr(keras, "optimizers", None), "Optimizer", None)
    return isinstance(base, type) and isinstance(candidate, base)


def uses_tensorflow() -> bool:
    """Tells whether Keras runs on TensorFlow, rather than JAX or PyTorch."""
    backend = getattr(getattr(sys.modules.get("keras"), "config", None), "backend", None)
    return backend is None or backend() == "tensorflow"


def inner_of(optimizer: Any) -> Any | None:
    """Returns the optimizer inside a `LossScaleOptimizer`, None for any other optimizer."""
    return getattr(optimizer, "inner_optimizer", None)


def outer_of(optimizer: Any) -> Any | None:
    """Returns the `LossScaleOptimizer` that is building `optimizer`, its inner one, just now.

    Keras wraps a model's optimizer by itself, and tells nobody. Without the
    private names the loss scale of such a model is not recorded.
    """
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return None
        held = frame.f_locals.get("self") if frame.f_code.co_name == "build" else None
        if held is not None and getattr(held, "inner_optimizer", None) is optimizer:
            return held
        frame = frame.f_back
    return None


def variables_of(optimizer: Any) -> list[Any]:
    """Returns what an optimizer was built for.

    Without the private name, `apply(grads)` without variables is not recorded.
    """
    return list(getattr(optimizer, "_trainable_variables", []))


def is_overwritten(variable: Any) -> bool:
    """Tells variables that Keras sets to their "gradient": scales of float8, no gradients."""
    return bool(getattr(variable, "overwrite_with_gradient", False))


def read(variable: Any) -> Any:
    """Returns the value of a variable, unseen by tapes."""
    return tf.raw_ops.ReadVariableOp(
        resource=sources.handle_of(variable), dtype=tf.as_dtype(variable.dtype)
    )


def is_compiled() -> bool:
    """Tells whether XLA compiles the graph under construction, or may.

    Without the private name: yes, and variables are copied in every step.
    """
    if tf.config.optimizer.get_jit() or "auto_jit" in os.environ.get("TF_XLA_FLAGS", ""):
        return True
    try:
        from tensorflow.python.ops import control_flow_util

        graph = tf.compat.v1.get_default_graph()
        return bool(control_flow_util.GraphOrParentsInXlaContext(graph))
    except (ImportError, AttributeError):
        return True


def applications(optimizer: Any) -> Any | None:
    """Returns how often an optimizer was applied, micro-batches too, as an integer tensor.

    Without the private names, skipped steps are not told from others, and with
    accumulated gradients nothing is recorded.
    """
    counter = getattr(optimizer, "_iterations", None)
    if counter is None:  # up to Keras 3.3
        counter = getattr(optimizer, "iterations", None)
    return None if sources.handle_of(counter) is None else read(counter)


def loss_scale(optimizer: Any) -> Any | None:
    """Returns what an optimizer multiplies losses with, None for nothing."""
    if inner_of(optimizer) is None:
        return getattr(optimizer, "loss_scale_factor", None)
    dynamic = getattr(optimizer, "dynamic_scale", None)
    return getattr(optimizer, "initial_scale", None) if dynamic is None else read(dynamic)


def learning_rate(optimizer: Any, taken: Any) -> Any:
    """Returns the learning rate that the step to come will use, NaN where unknown.

    A rate that code of the program computes is not asked for another time: that
    code may do more than compute.

    Args:
      optimizer: not a `LossScaleOptimizer`.
      taken: number of steps so far, a tensor.
    """
    rate = getattr(optimizer, "_learning_rate", None)
    if sources.handle_of(rate) is not None:
        return tf.cast(read(rate), tf.float32)
    if taken is not None and callable(rate) and type(rate).__module__.split(".")[0] == "keras":
        return tf.cast(tf.convert_to_tensor(rate(taken)), tf.float32)
    return tf.constant(float("nan"))


def accumulated(
    optimizer: Any, gradients: list[Any], variables: list[Any], steps: int
) -> list[Any]:
    """Returns the gradients of an update: the mean of those kept so far and the latest.

    Raises:
      AttributeError: Keras keeps them elsewhere.
    """
    found: list[Any] = []
    for gradient, variable in zip(gradients, variables, strict=True):
        if gradient is None:
            found.append(None)
            continue
        kept = read(optimizer._accumulated_gradients[optimizer._get_variable_index(variable)])
        if isinstance(gradient, tf.IndexedSlices):
            values = tf.cast(gradient.values, kept.dtype)
            total = tf.tensor_scatter_nd_add(kept, gradient.indices[:, None], values)
        else:
            total = kept + tf.cast(gradient, kept.dtype)
        found.append(total / steps)
    return found


@dataclasses.dataclass(frozen=True)
class OwnClipping:
    """How an optimizer clips.

    Attributes:
      option: of the optimizer: "clipnorm", "global_clipnorm" or "clipvalue".
      method: a `Clip.Method`.
      threshold: a number.
    """

    option: str
    method: int
    threshold: float


_OPTIONS = (
    ("clipnorm", messages.Clip.NORM),
    ("global_clipnorm", messages.Clip.GLOBAL_NORM),
    ("clipvalue", messages.Clip.VALUE),
)


def clipping_of(optimizer: Any) -> OwnClipping | None:
    """Returns how an optimizer clips, None for not at all."""
    found = [
        OwnClipping(option, method, float(threshold))
        for option, method in _OPTIONS
        if (threshold := getattr(optimizer, option, None)) and threshold > 0
    ]
    if not found:
        return None
    clip = getattr(type(optimizer), "_clip_gradients", None)
    if getattr(clip, "__module__", "").split(".")[0] != "keras":
        say_once(
            f"tb_gradscope: {type(optimizer).__name__} clips by code of its own, which is not "
            "recorded; gs.record_clipping in that code would."
        )
        return None
    if _is_accumulating(optimizer) and not _clips_what_is_accumulated(optimizer):
        say_once(
            "tb_gradscope: this Keras clips each micro-batch before it accumulates them, which is "
            "not recorded; newer ones clip what is accumulated."
        )
        return None
    return found[0]


def _is_accumulating(optimizer: Any) -> bool:
    return bool(getattr(optimizer, "gradient_accumulation_steps", None))


def _clips_what_is_accumulated(optimizer: Any) -> bool:
    """Tells whether clipping comes after accumulating; in Keras 3.3 it came before."""
    return _calls(optimizer, "_backend_apply_gradients", "_clip_gradients")


def reduces(optimizer: Any) -> bool:
    """Tells whether an optimizer sums the gradients of replicas before it applies them.

    Up to Keras 3.4 it asks for the sum too late, where the replicas have met, and gets
    what it gave.
    """
    if not _calls(optimizer, "_distributed_tf_update_step", "_all_reduce_sum_gradients"):
        return True
    say_once(
        "tb_gradscope: this Keras does not sum gradients over replicas: each copy of a variable "
        "is updated with the gradient of its own replica, and the copies drift apart. Keras 3.5 "
        "sums them."
    )
    return False


def _calls(optimizer: Any, method: str, name: str) -> bool:
    """Tells whether the code of a method names another one, in any class it may come from."""
    functions = [vars(kind).get(method) for kind in type(optimizer).__mro__]
    codes = [getattr(each, "__code__", None) for each in functions]
    return any(name in getattr(code, "co_names", ()) for code in codes)
