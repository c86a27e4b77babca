"""The cosines of a loss's gradients with those of the losses before it in the same step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording.measure.cosines import cosines
from tb_gradscope.recording.measure.order import in_order
from tb_gradscope.recording.parts.companions import Companion
from tb_gradscope.recording.store.description import ABSENT_MARK, Description


class Comparison:
    """What one call of a loss is compared with.

    Attributes:
      descriptions: of the series of its cosines; none where there is nothing to compare.
    """

    def __init__(
        self,
        descriptions: list[Description],
        others: list[Companion],
        shared: list[int],
        found: list[Any],
        gradients: list[Any],
    ) -> None:
        self.descriptions = descriptions
        self._others, self._shared = others, shared
        self._found, self._gradients = found, gradients
        self._apart: list[int] = []
        self._between_apart: Any = None

    def payloads(self) -> list[Any]:
        """Returns the payload of each series."""
        if not self.descriptions:
            return []
        rest = [index for index in self._shared if index not in self._apart]
        groups = [self._cosines(rest)] if rest else []
        if self._apart:
            groups.append(self._between_apart)
        rows = [self._shared.index(position) for position in (*rest, *self._apart)]
        return [tf.reshape(tf.transpose(in_order(groups, rows)), [-1])]

    def measure_apart(self, positions: Sequence[int], is_due: Any) -> None:
        """Compares large gradients where the call is due, in a graph.

        On the others they are not kept until a sentinel has judged the call.

        Args:
          positions: of the gradients.
          is_due: bool scalar.
        """
        apart = [index for index in self._shared if index in set(positions)]
        if apart:
            shape = [len(apart), len(self._others)]
            self._between_apart = tf.cond(
                is_due,
                lambda: self._cosines(apart),
                lambda: tf.fill(shape, np.float32(ABSENT_MARK)),
            )
            self._apart = apart

    def _cosines(self, positions: list[int]) -> Any:
        """Returns the cosines with the others, float32 `[variable, other]`."""
        every = [*(other.alive() for other in self._others), self._gradients]
        chosen = [[gradients[index] for index in positions] for gradients in every]
        return cosines(chosen, [self._found[index] for index in positions], of_last=True)


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
