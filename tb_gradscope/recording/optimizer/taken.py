"""What is taken of the variables of a step before the update: statistics, and copies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import STATISTIC_COUNT, Statistic
from tb_gradscope.recording.measure import statistics
from tb_gradscope.recording.measure.alone import rows_apart
from tb_gradscope.recording.optimizer.internals import OwnClipping
from tb_gradscope.recording.optimizer.numbers import Copies, clip_norms, when_due


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be taken.

    Attributes:
      rows: statistics of the gradients as they come.
      copies: of the values of the variables.
      clipping: of the optimizer, None for none.
    """

    rows: bool
    copies: bool
    clipping: OwnClipping | None

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return STATISTIC_COUNT + (0 if self.clipping is None else 2)

    def clipped(self, measured: Any, gradients: list[Any]) -> Any:
        """Returns rows of statistics, with `clip_norms` where the optimizer clips."""
        if self.clipping is None:
            return measured
        return tf.concat([measured, clip_norms(self.clipping, gradients, measured)], 1)

    def with_norm(self, row: Any) -> Any:
        """Returns a row with its norm as that before and after clipping, where that is wanted.

        After, it takes the norms of all gradients to tell.
        """
        norms = [row[Statistic.NORM]] * (self.width - STATISTIC_COUNT)
        return tf.concat([row, norms], 0) if norms else row


class Taken:
    """What was taken of the variables of a step, if it was due.

    Attributes:
      positions: of the variables.
      header: what the step as a whole gave; None in an eager call that is not due.
      rows: float32 `[variable, Wanted.width]`; None where none are wanted.
    """

    def __init__(
        self,
        positions: Sequence[int],
        due: Any,
        wanted: Wanted,
        variables: list[Any],
        gradients: Callable[[], list[Any]],
        header: Callable[[], Any],
    ) -> None:
        """Takes it.

        Args:
          positions: of the variables.
          due: whether to: a bool, or a scalar of the graph under construction.
          wanted: what.
          variables: those at the positions.
          gradients: returns the true gradients of those.
          header: returns float32 `[2]`.
        """
        self.positions = list(positions)
        self._copies = Copies(variables if wanted.copies else [])
        has_rows = wanted.rows and bool(self.positions)
        shape = [len(self.positions), wanted.width]

        def take() -> list[Any]:
            found = [header()]
            if has_rows:
                true = gradients()
                found.append(wanted.clipped(statistics.gradient_statistics(true, variables), true))
            return [*found, *self._copies.taken()]

        def leave() -> list[Any]:
            rows = [tf.zeros(shape)] if has_rows else []
            return [tf.zeros([2]), *rows, *self._copies.none_taken()]

        found = when_due(due, take, leave) or [None, None]
        self.header = found.pop(0)
        self.rows = found.pop(0) if has_rows else None
        self._taken = found

    def changes(self) -> Any:
        """Returns the L2 norm of what was added to each variable since, float32 `[variable]`."""
        return self._copies.changes(self._taken)


class TakenApart:
    """The same of variables whose gradients must not wait for the others; in a graph.

    Nothing that reads a variable waits for its gradient, or the update would. (What is
    accumulated is read with it.)

    Attributes:
      positions: of the variables.
      rows: float32 `[variable, Wanted.width]`.
    """

    def __init__(
        self,
        positions: Sequence[int],
        due: Any,
        wanted: Wanted,
        variables: list[Any],
        row: Callable[[Any, int, Any], Any],
        seen: Sequence[tuple[Any, Any]],
    ) -> None:
        """Takes it.

        Args:
          positions: of the variables.
          due: whether to take all.
          wanted: what.
          variables: those at the positions.
          row: see `rows_apart`.
          seen: see `rows_apart`.
        """
        self.positions, self._due = list(positions), due
        self._copies = Copies(variables if wanted.copies else [])
        self._taken = when_due(due, self._copies.taken, self._copies.none_taken)

        self.rows = rows_apart(due, positions, seen, row, variables)

    def changes(self) -> Any:
        """Returns what `Taken.changes` does, NaN where not all was taken."""
        unknown = np.full(len(self.positions), np.nan, np.float32)
        return tf.cond(
            self._due, lambda: self._copies.changes(self._taken), lambda: tf.constant(unknown)
        )
