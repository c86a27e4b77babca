"""The cosines of a loss's gradients with those of the losses before it in the same step."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.measure.cosines import cosines
from tb_gradscope.recording.parts.companions import Companion
from tb_gradscope.recording.store.description import Description


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What one call of a loss is compared with.

    Attributes:
      descriptions: of the series of its cosines; none where there is nothing to compare.
    """

    descriptions: list[Description]
    _others: list[Companion]
    _shared: list[int]
    _found: list[Any]
    _gradients: list[Any]

    def payloads(self) -> list[Any]:
        """Returns the payload of each series."""
        if not self.descriptions:
            return []
        every = [*(other.alive() for other in self._others), self._gradients]
        chosen = [[gradients[index] for index in self._shared] for gradients in every]
        between = cosines(chosen, [self._found[index] for index in self._shared])
        return [tf.reshape(tf.transpose(between[:, -1, :-1]), [-1])]


def compare(
    loss: Description, others: list[Companion], found: list[Any], gradients: list[Any]
) -> Comparison:
    """Returns how a call is compared with others.

    Args:
      loss: describes the series of the loss.
      others: observed before in the same step.
      found: flat sources.
      gradients: one for each; None is data.
    """
    is_shared = np.array([[g is not None for g in other.gradients] for other in others], bool)
    shared = [int(index) for index in np.flatnonzero(is_shared.any(0))] if others else []
    descriptions = []
    if shared:
        names = [other.name for other in others]
        stage = loss.schema.label.stage
        descriptions = [loss.beside(messages.Schema.COSINE, stage, shared, losses=names)]
    return Comparison(descriptions, others, shared, found, gradients)
