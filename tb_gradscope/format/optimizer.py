"""Optimizer records: what reached an optimizer, and the update it made of it.

An optimizer record is
    [version, rows, applied (2), skipped (2), loss_scale, learning_rate]   header
    rows x [update_norm]
    a gradient record of as many rows
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tb_gradscope.format.batch import (
    GradientRecords,
    decode_gradients,
    expect_rows,
    in_groups,
    stacked,
)
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
from tb_gradscope.format.record import GradientRecord, decode_gradient, encode_gradient
from tb_gradscope.format.tags import FORMAT_VERSION

HEADER = 8
_NAME = "optimizer record"


@dataclasses.dataclass(frozen=True)
class OptimizerRecord:
    """One step of an optimizer.

    Attributes:
      gradient: of the gradients as they reached the optimizer: loss scale divided
        out, reduced over replicas and accumulated, before its own clipping. The
        variable norm is that before the update; `calls` counts the steps asked for.
      update_norms: float32 `[variable]`, L2 norm of what was added to the variable;
        NaN where it could not be had, 0 where the update was left out.
      applied: updates applied so far.
      skipped: updates left out so far because the loss scale had overflowed.
      loss_scale: in force in this step; 1 for none.
      learning_rate: of this step; NaN where unknown.
    """

    gradient: GradientRecord
    update_norms: Floats
    applied: int
    skipped: int
    loss_scale: float
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class OptimizerRecords:
    """The records of one optimizer that could be read. Attributes as in `OptimizerRecord`.

    Attributes:
      gradients: the gradient records; `kept` and `errors` are those of all.
      update_norms: float32 `[record, variable]`.
      applied, skipped: int64 `[record]`.
      loss_scales, learning_rates: float32 `[record]`.
    """

    gradients: GradientRecords
    update_norms: Floats
    applied: Counts
    skipped: Counts
    loss_scales: Floats
    learning_rates: Floats


def encode_optimizer(record: OptimizerRecord) -> Floats:
    """Returns the stored form of a record, float32 `[n]`."""
    header = np.array(
        [FORMAT_VERSION, len(record.update_norms)]
        + [*split(record.applied), *split(record.skipped)]
        + [record.loss_scale, record.learning_rate],
        np.float32,
    )
    updates = np.asarray(record.update_norms, np.float32)
    return np.concatenate([header, updates, encode_gradient(record.gradient)])


def decode_optimizer(data: Floats) -> OptimizerRecord:
    """Returns the record whose stored form is `data`.

    Raises:
      FormatError: `data` is no optimizer record, or a newer version's.
    """
    data = checked(_NAME, data, HEADER, finite=6)
    end = HEADER + _rows(data)
    gradient = decode_gradient(data[end:])
    expect_rows(_NAME, len(gradient.values), end - HEADER)
    return OptimizerRecord(
        gradient,
        data[HEADER:end],
        join(data[2:4]),
        join(data[4:6]),
        float(data[6]),
        float(data[7]),
    )


def decode_optimizers(data: Sequence[Floats], variables: int) -> OptimizerRecords:
    """Decodes optimizer records; the broken ones are named in the gradients' `errors`.

    Args:
      data: the stored forms.
      variables: how many rows each must have.
    """
    updates = np.zeros((len(data), variables), np.float32)
    counts = np.zeros((len(data), 2), np.int64)
    numbers = np.zeros((len(data), 2), np.float32)
    inner: list[Floats] = [np.zeros(0, np.float32)] * len(data)

    def decode(positions: list[int]) -> None:
        stack = stacked(_NAME, data, positions, HEADER, finite=6)
        rows = _rows(stack[0])
        expect_rows(_NAME, rows, variables)
        updates[positions] = stack[:, HEADER : HEADER + rows]
        counts[positions] = get_counts(stack[:, 2:6])
        numbers[positions] = stack[:, 6:HEADER]
        for position, one in zip(positions, stack, strict=True):
            inner[position] = one[HEADER + rows :]

    kept, errors = in_groups(data, decode)
    gradients = decode_gradients([inner[position] for position in kept], variables)
    errors += tuple((int(kept[position]), error) for position, error in gradients.errors)
    kept = kept[gradients.kept]
    gradients = dataclasses.replace(
        gradients, kept=kept, errors=tuple(sorted(errors, key=lambda item: item[0]))
    )
    return OptimizerRecords(
        gradients,
        updates[kept],
        counts[kept, 0],
        counts[kept, 1],
        numbers[kept, 0],
        numbers[kept, 1],
    )


def _rows(data: Floats) -> int:
    rows = size(_NAME, data[1])
    if len(data) < HEADER + rows:
        expect_length(_NAME, data, HEADER + rows)
    return rows
