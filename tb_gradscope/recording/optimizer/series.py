"""Which optimizer this is, and the series that its steps are recorded in."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.distribution.replica import Replica, replica_here
from tb_gradscope.recording.optimizer import internals as keras
from tb_gradscope.recording.store.description import Description
from tb_gradscope.recording.store.labels import REDUCED, label_of
from tb_gradscope.recording.store.observe import schema
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape import place, sources
from tb_gradscope.recording.tape.origins import ORIGINS


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer as it is at one step.

    Attributes:
      outer: what the program applies.
      inner: what makes the update: the one inside a `LossScaleOptimizer`, or the same.
      accumulation: micro-batches to one update, 1 for none.
    """

    outer: Any
    inner: Any
    accumulation: int

    @classmethod
    def of(cls, outer: Any) -> Optimizer:
        """Returns what the program applies, with what is inside."""
        inner = keras.inner_of(outer) or outer
        return cls(outer, inner, getattr(inner, "gradient_accumulation_steps", None) or 1)

    @property
    def may_skip(self) -> bool:
        """Tells whether steps are left out when the loss scale has overflowed."""
        return self.inner is not self.outer


class Recognised:
    """An optimizer and its variables as recognised at one call.

    Attributes:
      update: the series of its updates, None where another replica records it.
      clipping: how it clips, None for not at all.
      clip: the series of its clip site, None for none.
    """

    def __init__(
        self,
        recorder: Recorder,
        optimizer: Optimizer,
        name: str,
        gradients: list[Any],
        variables: list[Any],
        replica: Replica | None,
    ) -> None:
        caller = place.find_caller()
        scale = keras.loss_scale(optimizer.outer)
        is_accumulated = optimizer.accumulation > 1
        label = label_of(
            stage=messages.Label.RAW if scale is None else messages.Label.UNSCALED,
            batch=messages.Label.ACCUMULATED if is_accumulated else messages.Label.WHOLE,
        )
        names = recorder.names.of_variables(variables, caller, None)
        described = [
            sources.describe(variable, given)
            for variable, given in zip(variables, names, strict=True)
        ]
        counted_as = f"optimizer {name}" + ("" if replica is None else f" in {replica.index}")
        none = tuple(gradient is None for gradient in gradients)
        self.given = sources.SameSources(variables)
        self.clipping = keras.clipping_of(optimizer.inner)
        self.clip: Description | None = None
        if self.clipping is not None:
            known = [ORIGINS.of(gradient) for gradient in gradients if gradient is not None]
            clip = messages.Clip(
                method=self.clipping.method,
                after=next((origin.site for origin in known if origin and origin.site), ""),
            )
            site = f"{name}.{self.clipping.option}"
            self.clip = Description(
                schema(
                    messages.Schema.CLIP, site, described, caller.message(), label=label, clip=clip
                ),
                none,
                counted_as,
            )
        label = messages.Label.FromString(label.SerializeToString())
        label.sparse = any(isinstance(gradient, tf.IndexedSlices) for gradient in gradients)
        # Keras reduces the gradients itself, after it has clipped them.
        reduces = replica is not None and keras.reduces(optimizer.inner)
        self.is_reduced = reduces and not optimizer.may_skip and not is_accumulated
        if self.is_reduced:
            label.replica, label.reduction = REDUCED, messages.Label.SUM
            label.clipped = "" if self.clip is None else self.clip.schema.name
        self.update: Description | None = None
        if not self.is_reduced or (replica is not None and replica.leads):
            described_schema = schema(
                messages.Schema.OPTIMIZER,
                name,
                described,
                caller.message(),
                label=label,
                optimizer=messages.Optimizer(
                    class_name=type(optimizer.inner).__name__,
                    has_loss_scale=optimizer.may_skip,
                    accumulation=optimizer.accumulation,
                ),
            )
            self.update = Description(described_schema, none, counted_as)

    @property
    def descriptions(self) -> list[Description]:
        """The series that a step is recorded in."""
        return [each for each in (self.update, self.clip) if each is not None]


def recognised(
    recorder: Recorder,
    watched: Hashable,
    optimizer: Optimizer,
    name: str,
    gradients: list[Any],
    variables: list[Any],
) -> Recognised:
    """Returns an optimizer as it is known in a recording, or gets to be known now.

    Args:
      recorder: the recording.
      watched: stands for the optimizer.
      optimizer: as it is now.
      name: what to call it, as far as that is free.
      gradients: None is data.
      variables: one for each gradient.
    """
    replica = replica_here()
    kinds = tuple(
        None if gradient is None else isinstance(gradient, tf.IndexedSlices)
        for gradient in gradients
    )
    key = (watched, optimizer.accumulation, tuple(id(v) for v in variables), kinds, replica)
    one: Recognised | None = recorder.seen.get(key)
    if one is None or not one.given.are(variables):
        own = recorder.names.of_optimizer(name, watched)
        one = Recognised(recorder, optimizer, own, gradients, variables, replica)
        recorder.remember(key, one)
    return one
