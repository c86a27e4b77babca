"""Decoding all records of a series at once: what makes a long log open quickly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.packing import (
    Counts,
    Floats,
    checked,
    expect_length,
    get_counts,
    size,
)
from tb_gradscope.format.record import CLIP_HEADER, HEADER, decode_stack
from tb_gradscope.format.statistics import STATISTIC_COUNT

Errors = tuple[tuple[int, FormatError], ...]


@dataclasses.dataclass(frozen=True)
class GradientRecords:
    """The gradient records of one series that could be read.

    Attributes:
      kept: int64 `[record]`, their positions in the input, increasing.
      values: float32 `[record, variable, statistic]`.
      calls, records, nonfinite, reasons: int64 `[record]`.
      loss_scales, losses: float32 `[record]`.
      errors: position in the input and reason of each of the others.
    """

    kept: Counts
    values: Floats
    calls: Counts
    records: Counts
    nonfinite: Counts
    reasons: Counts
    loss_scales: Floats
    losses: Floats
    errors: Errors


@dataclasses.dataclass(frozen=True)
class ClipRecords:
    """The clip records of one series that could be read. Attributes as in `ClipRecord`.

    Attributes:
      kept: int64 `[record]`, their positions in the input, increasing.
      norms: float32 `[record, variable, 2]`.
      counts: int64 `[record, 3]`: calls, clipped, nonfinite.
      numbers: float32 `[record, 4]`: threshold, norm_before, norm_after, scale.
      errors: position in the input and reason of each of the others.
    """

    kept: Counts
    norms: Floats
    counts: Counts
    numbers: Floats
    errors: Errors


def decode_gradients(data: Sequence[Floats], variables: int) -> GradientRecords:
    """Decodes gradient records; the broken ones are named in `errors`.

    Args:
      data: the stored forms.
      variables: how many rows each must have.
    """
    name = "gradient record"
    values = np.zeros((len(data), variables, STATISTIC_COUNT), np.float32)
    counts = np.zeros((len(data), 3), np.int64)
    numbers = np.zeros((len(data), 3), np.float32)

    def decode(positions: list[int]) -> None:
        nonlocal values
        stack = stacked(name, data, positions, HEADER)
        expect_rows(name, size(name, stack[0, 1]), variables)
        decoded = decode_stack(stack)
        if len(positions) == len(data):
            values = decoded
        else:
            values[positions] = decoded
        counts[positions] = get_counts(stack[:, 4:10])
        numbers[positions] = stack[:, 10:HEADER]

    kept, errors = in_groups(data, decode)
    if len(kept) != len(data):
        values, counts, numbers = values[kept], counts[kept], numbers[kept]
    calls, records, nonfinite = counts.T
    reasons = numbers[:, 0].astype(np.int64)
    return GradientRecords(
        kept, values, calls, records, nonfinite, reasons, numbers[:, 1], numbers[:, 2], errors
    )


def decode_clips(data: Sequence[Floats], variables: int) -> ClipRecords:
    """Decodes clip records; as `decode_gradients`."""
    name = "clip record"
    norms = np.zeros((len(data), variables, 2), np.float32)
    counts = np.zeros((len(data), 3), np.int64)
    numbers = np.zeros((len(data), 4), np.float32)

    def decode(positions: list[int]) -> None:
        stack = stacked(name, data, positions, CLIP_HEADER)
        rows = size(name, stack[0, 1])
        expect_length(name, stack[0], CLIP_HEADER + rows * 2)
        expect_rows(name, rows, variables)
        norms[positions] = stack[:, CLIP_HEADER:].reshape(-1, variables, 2)
        counts[positions] = get_counts(stack[:, 2:8])
        numbers[positions] = stack[:, 8:CLIP_HEADER]

    kept, errors = in_groups(data, decode)
    return ClipRecords(kept, norms[kept], counts[kept], numbers[kept], errors)


def expect_rows(name: str, rows: int, variables: int) -> None:
    """Raises FormatError unless a record has as many rows as its schema has variables."""
    if rows != variables:
        raise FormatError(f"A stored {name} has {rows} rows, its schema names {variables}.")


def stacked(
    name: str, data: Sequence[Floats], positions: list[int], header: int, finite: int = 8
) -> Floats:
    """Returns stored forms of equal sizes as one `[record, n]`, their headers checked."""
    checked(name, data[positions[0]], header, finite)
    stack = np.stack([data[position] for position in positions])
    for row in np.flatnonzero(~np.isfinite(stack[:, :finite]).all(axis=1)):
        checked(name, stack[row], header, finite)
    return stack


def in_groups(data: Sequence[Floats], decode: Callable[[list[int]], None]) -> tuple[Counts, Errors]:
    """Calls `decode` with positions of records of equal sizes; one by one where that fails."""
    groups: dict[object, list[int]] = {}
    for position, one in enumerate(data):
        array = np.asarray(one)
        key = (array.dtype.str, array.shape, array.reshape(-1)[:4].tobytes())
        groups.setdefault(key, []).append(position)
    waiting, errors = list(groups.values()), dict[int, FormatError]()
    while waiting:
        positions = waiting.pop()
        try:
            decode(positions)
        except FormatError as error:
            if len(positions) > 1:
                waiting += [[position] for position in positions]
            else:
                errors[positions[0]] = error
    kept = np.array([i for i in range(len(data)) if i not in errors], np.int64)
    return kept, tuple(sorted(errors.items(), key=lambda item: item[0]))
