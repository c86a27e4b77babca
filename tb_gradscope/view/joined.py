"""Records of several series, side by side as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.history import Steps, Times
from tb_gradscope.format.packing import Counts

_A = TypeVar("_A", bound="npt.NDArray[Any]")


class Recorded(Protocol):
    """What records of any kind have."""

    @property
    def steps(self) -> Steps:
        """Steps, strictly increasing."""

    @property
    def wall_times(self) -> Times:
        """When each was written."""


class Joined:
    """The steps of several series together, and where the records of each go.

    Attributes:
      steps: int64 `[record]`, all of them, strictly increasing.
      wall_times: float64 `[record]`, when the last of a step was written.
    """

    def __init__(self, parts: Sequence[Recorded], columns: Sequence[Counts], width: int) -> None:
        """Makes room for all.

        Args:
          parts: the series.
          columns: int64 `[variable of the part]` each, positions in all variables.
          width: number of all variables.
        """
        self._parts, self._columns, self._width = parts, columns, width
        self._alone = len(parts) == 1 and np.array_equal(columns[0], np.arange(width))
        self.steps: Steps = np.unique(np.concatenate([part.steps for part in parts]))
        self._rows = [np.searchsorted(self.steps, part.steps) for part in parts]
        self.wall_times = self.largest([part.wall_times for part in parts])

    def largest(self, arrays: Sequence[_A]) -> _A:
        """Joins an array `[record]` of each part: the largest of each step."""
        if self._alone:
            return arrays[0]
        result: _A = np.zeros(len(self.steps), arrays[0].dtype)  # type: ignore[assignment]
        for rows, array in zip(self._rows, arrays, strict=True):
            result[rows] = np.maximum(result[rows], array)
        return result

    def latest(self, arrays: Sequence[_A]) -> _A:
        """Joins an array `[record]` of each part: what was written last at each step."""
        if self._alone:
            return arrays[0]
        result: _A = np.zeros(len(self.steps), arrays[0].dtype)  # type: ignore[assignment]
        for part, rows, array in zip(self._parts, self._rows, arrays, strict=True):
            result[rows] = np.where(part.wall_times >= self.wall_times[rows], array, result[rows])
        return result

    def summed(self, arrays: Sequence[Counts]) -> Counts:
        """Joins a cumulative counter `[record]` of each part that counts for itself."""
        total = np.zeros(len(self.steps), np.int64)
        for part, array in zip(self._parts, arrays, strict=True):
            known = np.searchsorted(part.steps, self.steps, side="right")
            total += np.concatenate([[0], array])[known]
        return total

    def cells(
        self, arrays: Sequence[_A], present: Sequence[npt.NDArray[np.bool_]], fill: Any
    ) -> _A:
        """Joins an array `[record, variable, ...]` of each part.

        Of what several have, the later written counts.

        Args:
          arrays: one of each part.
          present: bool `[record, variable]`, where the part has anything.
          fill: what stands where none has anything.
        """
        if self._alone:
            return arrays[0]
        shape = (len(self.steps), self._width)
        result: _A = np.empty((*shape, *arrays[0].shape[2:]), arrays[0].dtype)  # type: ignore[assignment]
        result[...] = fill
        written = np.full(shape, -np.inf)
        for i, part in enumerate(self._parts):
            here = np.ix_(self._rows[i], self._columns[i])
            newer = present[i] & (part.wall_times[:, None] >= written[here])
            deep = newer.reshape(*newer.shape, *[1] * (result.ndim - 2))
            result[here] = np.where(deep, arrays[i], result[here])
            written[here] = np.where(newer, part.wall_times[:, None], written[here])
        return result


def columns_of(
    names: Sequence[Sequence[str]], positions: dict[str, int]
) -> tuple[Counts, list[Counts]]:
    """Returns the positions of all variables in a run, and where those of each part stand.

    Args:
      names: of the variables of each part.
      positions: of each name in `RunHistory.variables`.
    """
    variables = list(dict.fromkeys(positions[name] for part in names for name in part))
    column_of = {position: column for column, position in enumerate(variables)}
    columns = [np.array([column_of[positions[name]] for name in part], np.int64) for part in names]
    return np.array(variables, np.int64), columns
