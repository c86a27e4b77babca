"""Every private name of Keras that `KerasCallback` uses, each with a way to do without."""

from __future__ import annotations

import dataclasses
import sys
from types import FrameType
from typing import Any

import keras

from tb_gradscope.recording.tape import place

AGGREGATE = "_aggregate_additional_loss"
"""Method of a model through which each loss goes that is added to those of `compile`."""

OWN_LOSSES = "_get_own_losses"
"""Method of a model that lists its own losses; Keras appends all others to that very list.

For Keras up to 3.7, which has no `AGGREGATE`. Without either of them, those losses have no row
of their own.
"""

HAS_AGGREGATE = hasattr(keras.Model, AGGREGATE)


def callbacks_of_fit() -> list[Any]:
    """Returns the callbacks of the `fit` that is calling one of them.

    Keras does not tell a callback of the others. Where its list of them cannot
    be found, there is none: a TensorBoard callback is then not written through.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        held = frame.f_locals.get("self") if place.is_keras(frame) else None
        if isinstance(held, keras.callbacks.CallbackList):
            found = getattr(held, "callbacks", None)
            return list(found) if isinstance(found, list | tuple) else []
        frame = frame.f_back
    return []


def train_writer(tensorboard: Any) -> Any | None:
    """Returns the summary writer of a `keras.callbacks.TensorBoard` for training.

    Without it, records go into a file of their own beside the callback's.
    """
    return getattr(tensorboard, "_train_writer", None)


@dataclasses.dataclass(frozen=True)
class CompiledLoss:
    """One of the losses that a model was compiled with.

    Attributes:
      function: the `keras.losses.Loss` that is called.
      weight: what its value is multiplied by, None for 1.
      name: as Keras logs it where there are several.
    """

    function: Any
    weight: Any
    name: str


def compiled_losses(model: Any) -> list[CompiledLoss]:
    """Returns the losses of `model.compile`, in the order in which they are called.

    They are known once the model has computed its loss. Without the private
    names there is none, and only the total is recorded.
    """
    compiled = getattr(model, "_compile_loss", None)
    found = getattr(compiled, "_flat_losses", None)
    if found is not None:
        return [CompiledLoss(one.loss, one.loss_weights, f"{one.name}_loss") for one in found]
    functions = getattr(compiled, "flat_losses", None)  # up to Keras 3.6
    weights = getattr(compiled, "flat_loss_weights", None)
    if functions is None or weights is None:
        return []
    names = [metric.name for metric in getattr(compiled, "metrics", [])]
    if len(names) != len(functions):
        names = [f"{one}_loss" for one in getattr(compiled, "output_names", None) or []]
    if len(names) != len(functions):
        names = [f"{getattr(one, 'name', None)}_loss" for one in functions]
    every = zip(functions, weights, names, strict=True)
    return [CompiledLoss(*one) for one in every if one[0] is not None]


def has_own_compute_loss(model: Any) -> bool:
    """Tells whether a model's `compute_loss` is other than Keras'."""
    compute = getattr(model.compute_loss, "__func__", model.compute_loss)
    return not str(getattr(compute, "__module__", "")).startswith("keras.")


def batches_trained(model: Any) -> int:
    """Returns how many batches a model's optimizer has seen, 0 where that cannot be told.

    A step that applies it several times counts for as many.
    """
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return 0
    accumulated = getattr(optimizer, "inner_optimizer", optimizer).gradient_accumulation_steps
    return int(optimizer.iterations.numpy()) * int(accumulated or 1)
