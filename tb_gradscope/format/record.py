"""Records: one float32 tensor each, written often, hence small.

A gradient record is
    [version, rows, broken, ailing, calls (2), records (2),        header
     nonfinite (2), reason, loss_scale, loss]
    rows   x [norm, max_abs, mean, std, zero_fraction, variable_norm]
    broken x [row, nan_count (2), inf_count (2)]                   state NAN or INF now
    ailing x [row, none (2), zero (2), nan (2), inf (2)]           not OK at least once
and a clip record
    [version, rows, calls (2), clipped (2), nonfinite (2), threshold, norm_before,
     norm_after, scale]
    rows   x [norm_before, norm_after]

"(2)" is an integer as two floats, high and low (see `packing.split`): float32 alone
counts only to 2**24. A row's state lies in its norm: 0 is ZERO, infinity INF,
and a NaN's payload tells NAN, NONE and ABSENT apart.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.packing import (
    Counts,
    Floats,
    checked,
    expect_length,
    float_of,
    get_counts,
    indices,
    join,
    put_counts,
    size,
    split,
)
from tb_gradscope.format.statistics import STATISTIC_COUNT, STORED, Reason, State, Statistic
from tb_gradscope.format.tags import FORMAT_VERSION

HEADER = 13
_ROW = len(STORED)
_BROKEN = 5
_AILING = 9
CLIP_HEADER = 12

COUNTED = (State.NONE, State.ZERO, State.NAN, State.INF)
"""The states whose occurrences a record counts, in the order of `state_counts`."""

_NAN_BITS = {State.NAN: 0x7FC00000, State.NONE: 0x7FC00001, State.ABSENT: 0x7FC00002}
_TINY = np.float32(1e-45)
_HUGE = np.finfo(np.float32).max


@dataclasses.dataclass(frozen=True)
class GradientRecord:
    """One call of `tape.gradient` for one loss.

    Attributes:
      values: float32 `[variable, statistic]`, see `Statistic`.
      calls: calls for this loss so far, this one included, recorded or not; all
        series of a loss count together.
      records: records of this series so far, this one included.
      state_counts: int64 `[variable, COUNTED]`, records so far in which the
        variable was in that state. Totals survive however records are sampled.
      nonfinite: calls so far, of those recorded or watched by the sentinel, in
        which a gradient held NaN or Inf.
      reason: a `Reason`, why this call was recorded.
      loss_scale: the mixed-precision scale divided out of all numbers; 1 for none.
      loss: value of the loss, the sum of its elements; NaN also where it is not known.
    """

    values: Floats
    calls: int
    records: int
    state_counts: Counts
    nonfinite: int = 0
    reason: int = Reason.CADENCE
    loss_scale: float = 1.0
    loss: float = math.nan


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """One call of a clip site.

    Attributes:
      norms: float32 `[variable, 2]`, L2 norm before and after. NaN payload of
        `none_norm` where the gradient was None.
      calls: calls of this site so far, this one included.
      clipped: calls so far, of those known, in which clipping changed something.
      nonfinite: calls so far, of those known, with a global norm not finite.
      threshold: the clip threshold; NaN where there is none.
      norm_before: global L2 norm before.
      norm_after: global L2 norm after.
      scale: norm_after / norm_before, 1 where nothing was clipped.
    """

    norms: Floats
    calls: int
    clipped: int
    nonfinite: int
    threshold: float
    norm_before: float
    norm_after: float
    scale: float


def none_norm() -> np.float32:
    """Returns the NaN that stands for "the gradient was None"."""
    return float_of(_NAN_BITS[State.NONE])


def is_none(norms: Floats) -> npt.NDArray[np.bool_]:
    """Tells which norms are `none_norm()`."""
    bits = np.ascontiguousarray(norms, np.float32).view(np.uint32)
    here: npt.NDArray[np.bool_] = bits == np.uint32(_NAN_BITS[State.NONE])
    return here


def absent_norm() -> np.float32:
    """Returns the NaN that stands for "this record has no such gradient"."""
    return float_of(_NAN_BITS[State.ABSENT])


def is_absent(norms: Floats) -> npt.NDArray[np.bool_]:
    """Tells which norms are `none_norm()` or `absent_norm()`: there is no gradient."""
    bits = np.ascontiguousarray(norms, np.float32).view(np.uint32)
    here: npt.NDArray[np.bool_] = is_none(norms) | (bits == np.uint32(_NAN_BITS[State.ABSENT]))
    return here


def encode_gradient(record: GradientRecord) -> Floats:
    """Returns the stored form of a record, float32 `[n]`."""
    values = np.asarray(record.values, np.float32)
    states = values[:, Statistic.STATE].astype(np.int64)
    rows = values[:, STORED].copy()
    norms = rows[:, 0]
    ok = states == State.OK
    # A norm too small or large for float32 must not read as ZERO or INF.
    norms[ok] = np.clip(norms[ok], _TINY, _HUGE)
    norms[states == State.ZERO] = 0
    norms[states == State.INF] = np.inf
    bits = norms.view(np.uint32) if norms.flags.c_contiguous else norms.copy().view(np.uint32)
    for state, pattern in _NAN_BITS.items():
        bits[states == state] = pattern
    rows[:, 0] = bits.view(np.float32)

    broken = np.flatnonzero((states == State.NAN) | (states == State.INF))
    broken_rows = np.empty((len(broken), _BROKEN), np.float32)
    broken_rows[:, 0] = broken
    put_counts(broken_rows[:, 1:], values[broken][:, [Statistic.NAN_COUNT, Statistic.INF_COUNT]])

    ailing = np.flatnonzero(record.state_counts.any(axis=1))
    ailing_rows = np.empty((len(ailing), _AILING), np.float32)
    ailing_rows[:, 0] = ailing
    put_counts(ailing_rows[:, 1:], record.state_counts[ailing])

    header: list[float] = [FORMAT_VERSION, len(values), len(broken), len(ailing)]
    header += [*split(record.calls), *split(record.records), *split(record.nonfinite)]
    header += [float(record.reason), record.loss_scale, record.loss]
    parts = [np.array(header, np.float32), rows.ravel(), broken_rows.ravel(), ailing_rows.ravel()]
    return np.concatenate(parts)


def decode_gradient(data: Floats) -> GradientRecord:
    """Returns the record whose stored form is `data`.

    Raises:
      FormatError: `data` is no gradient record, or a newer version's.
    """
    data = checked("gradient record", data, HEADER)
    stack = data[None]
    values, counts = decode_stack(stack), decode_state_counts(stack)
    return GradientRecord(
        values=values[0],
        calls=join(data[4:6]),
        records=join(data[6:8]),
        state_counts=counts[0],
        nonfinite=join(data[8:10]),
        reason=int(data[10]),
        loss_scale=float(data[11]),
        loss=float(data[12]),
    )


def decode_stack(stack: Floats) -> Floats:
    """Returns the values `[record, variable, statistic]` of stored records `[record, n]`.

    All must have the sizes that the first one's header has, which `checked` passed.

    Raises:
      FormatError: they are damaged.
    """
    rows, broken, _, end = _sizes(stack)
    stored = stack[:, HEADER:end].reshape(len(stack), rows, _ROW)
    values = np.zeros((len(stack), rows, STATISTIC_COUNT), np.float32)
    for column, statistic in enumerate(STORED):
        values[:, :, statistic] = stored[:, :, column]
    norms = np.ascontiguousarray(stored[:, :, 0])
    states = np.full(norms.shape, State.OK, np.float32)
    states[norms == 0] = State.ZERO
    states[np.isinf(norms)] = State.INF
    states[np.isnan(norms)] = State.NAN
    bits = norms.view(np.uint32)
    for state in (State.NONE, State.ABSENT):
        record, row = np.nonzero(bits == np.uint32(_NAN_BITS[state]))
        states[record, row] = state
        variable_norms = values[record, row, Statistic.VARIABLE_NORM]
        values[record, row] = np.nan
        values[record, row, Statistic.VARIABLE_NORM] = variable_norms
    values[:, :, Statistic.STATE] = states
    is_empty = (norms == _TINY) & (values[:, :, Statistic.MAX_ABS] == 0)
    values[:, :, Statistic.NORM][is_empty] = 0
    tail = stack[:, end : end + broken * _BROKEN].reshape(len(stack), broken, _BROKEN)
    index = indices("gradient record", tail[:, :, 0], rows)
    records = np.arange(len(stack))[:, None]
    counts = get_counts(tail[:, :, 1:])
    values[records, index, Statistic.NAN_COUNT] = counts[:, :, 0]
    values[records, index, Statistic.INF_COUNT] = counts[:, :, 1]
    return values


def decode_state_counts(stack: Floats) -> Counts:
    """Returns the state counts `[record, variable, COUNTED]`, as `decode_stack` the values."""
    rows, broken, ailing, end = _sizes(stack)
    tail = stack[:, end + broken * _BROKEN :].reshape(len(stack), ailing, _AILING)
    counts = np.zeros((len(stack), rows, len(COUNTED)), np.int64)
    index = indices("gradient record", tail[:, :, 0], rows)
    counts[np.arange(len(stack))[:, None], index] = get_counts(tail[:, :, 1:])
    return counts


def _sizes(stack: Floats) -> tuple[int, int, int, int]:
    """Returns rows, broken, ailing, and where the rows end."""
    rows, broken, ailing = (size("gradient record", stack[0, i]) for i in (1, 2, 3))
    expect_length(
        "gradient record", stack[0], HEADER + rows * _ROW + broken * _BROKEN + ailing * _AILING
    )
    return rows, broken, ailing, HEADER + rows * _ROW


def encode_clip(record: ClipRecord) -> Floats:
    """Returns the stored form of a clip record, float32 `[n]`."""
    header = np.array(
        [FORMAT_VERSION, len(record.norms)]
        + [*split(record.calls), *split(record.clipped), *split(record.nonfinite)]
        + [record.threshold, record.norm_before, record.norm_after, record.scale],
        np.float32,
    )
    return np.concatenate([header, np.asarray(record.norms, np.float32).ravel()])


def decode_clip(data: Floats) -> ClipRecord:
    """Returns the clip record whose stored form is `data`.

    Raises:
      FormatError: `data` is no clip record, or a newer version's.
    """
    data = checked("clip record", data, CLIP_HEADER)
    rows = size("clip record", data[1])
    expect_length("clip record", data, CLIP_HEADER + rows * 2)
    return ClipRecord(
        data[CLIP_HEADER:].reshape(rows, 2),
        join(data[2:4]),
        join(data[4:6]),
        join(data[6:8]),
        *(float(x) for x in data[8:12]),
    )
