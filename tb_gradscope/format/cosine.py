"""Cosine records: how the gradients of one loss lie to those of others.

A cosine record is
    [version, losses, rows, calls (2), 0, 0, 0]                header
    losses x rows x [cosine]
with `absent_norm()` where the two losses do not share the variable in that step, or
where the cosine was not measured: of large gradients at steps that only the sentinel
has chosen. The gradient records of both tell which: there, both have a gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tb_gradscope.format.batch import Errors, expect_rows, in_groups, stacked
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.packing import (
    Counts,
    Floats,
    checked,
    expect_length,
    get_counts,
    join,
    size,
    split,
)
from tb_gradscope.format.tags import FORMAT_VERSION

HEADER = 8
_NAME = "cosine record"


@dataclasses.dataclass(frozen=True)
class CosineRecord:
    """One call for one loss, beside the losses asked for before it in the same step.

    Attributes:
      cosines: float32 `[loss, variable]`, -1 to 1; `absent_norm()` where the two
        share no gradient of the variable or the cosine was not measured, NaN where
        one is zero or not finite.
      calls: calls for this loss so far, this one included.
    """

    cosines: Floats
    calls: int


@dataclasses.dataclass(frozen=True)
class CosineRecords:
    """The cosine records of one series that could be read.

    Attributes:
      kept: int64 `[record]`, their positions in the input, increasing.
      cosines: float32 `[record, loss, variable]`.
      calls: int64 `[record]`.
      errors: position in the input and reason of each of the others.
    """

    kept: Counts
    cosines: Floats
    calls: Counts
    errors: Errors


def encode_cosine(record: CosineRecord) -> Floats:
    """Returns the stored form of a record, float32 `[n]`."""
    cosines = np.asarray(record.cosines, np.float32)
    header = [FORMAT_VERSION, *cosines.shape, *split(record.calls), 0, 0, 0]
    return np.concatenate([np.array(header, np.float32), cosines.ravel()])


def decode_cosine(data: Floats) -> CosineRecord:
    """Returns the record whose stored form is `data`.

    Raises:
      FormatError: `data` is no cosine record, or a newer version's.
    """
    data = checked(_NAME, data, HEADER)
    losses, rows = _sizes(data)
    return CosineRecord(data[HEADER:].reshape(losses, rows), join(data[3:5]))


def decode_cosines(data: Sequence[Floats], losses: int, variables: int) -> CosineRecords:
    """Decodes cosine records; the broken ones are named in `errors`.

    Args:
      data: the stored forms.
      losses: how many other losses each must have.
      variables: how many variables each must have.
    """
    cosines = np.zeros((len(data), losses, variables), np.float32)
    calls = np.zeros(len(data), np.int64)

    def decode(positions: list[int]) -> None:
        stack = stacked(_NAME, data, positions, HEADER)
        found, rows = _sizes(stack[0])
        expect_rows(_NAME, rows, variables)
        if found != losses:
            raise FormatError(f"A stored {_NAME} has {found} losses, its schema names {losses}.")
        cosines[positions] = stack[:, HEADER:].reshape(-1, losses, variables)
        calls[positions] = get_counts(stack[:, 3:5])[:, 0]

    kept, errors = in_groups(data, decode)
    return CosineRecords(kept, cosines[kept], calls[kept], errors)


def _sizes(data: Floats) -> tuple[int, int]:
    losses, rows = size(_NAME, data[1]), size(_NAME, data[2])
    expect_length(_NAME, data, HEADER + losses * rows)
    return losses, rows
