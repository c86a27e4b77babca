"""Records: one float32 tensor each, written often, hence small.

A gradient record is
    [version, rows, broken, ailing, calls (2), records (2)]        header
    rows   x [norm, max_abs, mean, std, zero_fraction, variable_norm]
    broken x [row, nan_count (2), inf_count (2)]                   state NAN or INF now
    ailing x [row, none (2), zero (2), nan (2), inf (2)]           not OK at least once
and a clip record
    [version, rows, calls (2), clipped (2), nonfinite (2), threshold, norm_before,
     norm_after, scale]
    rows   x [norm_before, norm_after]

"(2)" is an integer as two floats, high and low (see `_split`): float32 alone
counts only to 2**24. A row's state lies in its norm: 0 is ZERO, infinity INF,
and a NaN's payload tells NAN, NONE and ABSENT apart.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.messages import check_version
from tb_gradscope.format.statistics import STATISTIC_COUNT, STORED, State, Statistic
from tb_gradscope.format.tags import FORMAT_VERSION

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

_HEADER = 8
_ROW = len(STORED)
_BROKEN = 5
_AILING = 9
_CLIP_HEADER = 12
_BASE = 1 << 24

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
      calls: calls of this series so far, this one included, recorded or not.
      records: records of this series so far, this one included.
      state_counts: int64 `[variable, COUNTED]`, records so far in which the
        variable was in that state. Totals survive however records are sampled.
    """

    values: Floats
    calls: int
    records: int
    state_counts: Counts


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
    return _float_of(_NAN_BITS[State.NONE])


def is_none(norms: Floats) -> npt.NDArray[np.bool_]:
    """Tells which norms are `none_norm()`."""
    bits = np.ascontiguousarray(norms, np.float32).view(np.uint32)
    return bits == np.uint32(_NAN_BITS[State.NONE])


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
    _put_counts(broken_rows[:, 1:], values[broken][:, [Statistic.NAN_COUNT, Statistic.INF_COUNT]])

    ailing = np.flatnonzero(record.state_counts.any(axis=1))
    ailing_rows = np.empty((len(ailing), _AILING), np.float32)
    ailing_rows[:, 0] = ailing
    _put_counts(ailing_rows[:, 1:], record.state_counts[ailing])

    header = [FORMAT_VERSION, len(values), len(broken), len(ailing)]
    header += [*_split(record.calls), *_split(record.records)]
    parts = [np.array(header, np.float32), rows.ravel(), broken_rows.ravel(), ailing_rows.ravel()]
    return np.concatenate(parts)


def decode_gradient(data: Floats) -> GradientRecord:
    """Returns the record whose stored form is `data`.

    Raises:
      FormatError: `data` is no gradient record, or a newer version's.
    """
    data = _checked("gradient record", data, _HEADER)
    rows, broken, ailing = (_size("gradient record", data[i]) for i in (1, 2, 3))
    expected = _HEADER + rows * _ROW + broken * _BROKEN + ailing * _AILING
    _expect_length("gradient record", data, expected)
    end = _HEADER + rows * _ROW
    stored = data[_HEADER:end].reshape(rows, _ROW)
    broken_rows = data[end : end + broken * _BROKEN].reshape(broken, _BROKEN)
    ailing_rows = data[end + broken * _BROKEN :].reshape(ailing, _AILING)

    values = np.zeros((rows, STATISTIC_COUNT), np.float32)
    values[:, STORED] = stored
    norms = stored[:, 0].copy()
    states = np.full(rows, State.OK, np.int64)
    states[norms == 0] = State.ZERO
    states[np.isinf(norms)] = State.INF
    states[np.isnan(norms)] = State.NAN
    bits = norms.view(np.uint32)
    for state in (State.NONE, State.ABSENT):
        here = bits == np.uint32(_NAN_BITS[state])
        states[here] = state
        values[here] = np.nan
        values[here, Statistic.VARIABLE_NORM] = stored[here, STORED.index(Statistic.VARIABLE_NORM)]
    values[:, Statistic.STATE] = states
    index = _indices("gradient record", broken_rows[:, 0], rows)
    values[index[:, None], [Statistic.NAN_COUNT, Statistic.INF_COUNT]] = _get_counts(
        broken_rows[:, 1:]
    )
    counts = np.zeros((rows, len(COUNTED)), np.int64)
    counts[_indices("gradient record", ailing_rows[:, 0], rows)] = _get_counts(ailing_rows[:, 1:])
    return GradientRecord(values, _join(data[4:6]), _join(data[6:8]), counts)


def encode_clip(record: ClipRecord) -> Floats:
    """Returns the stored form of a clip record, float32 `[n]`."""
    header = np.array(
        [FORMAT_VERSION, len(record.norms)]
        + [*_split(record.calls), *_split(record.clipped), *_split(record.nonfinite)]
        + [record.threshold, record.norm_before, record.norm_after, record.scale],
        np.float32,
    )
    return np.concatenate([header, np.asarray(record.norms, np.float32).ravel()])


def decode_clip(data: Floats) -> ClipRecord:
    """Returns the clip record whose stored form is `data`.

    Raises:
      FormatError: `data` is no clip record, or a newer version's.
    """
    data = _checked("clip record", data, _CLIP_HEADER)
    rows = _size("clip record", data[1])
    _expect_length("clip record", data, _CLIP_HEADER + rows * 2)
    return ClipRecord(
        data[_CLIP_HEADER:].reshape(rows, 2),
        _join(data[2:4]),
        _join(data[4:6]),
        _join(data[6:8]),
        *(float(x) for x in data[8:12]),
    )


def _float_of(bits: int) -> np.float32:
    return np.array([bits], np.uint32).view(np.float32)[0]


def _split(number: int) -> tuple[float, float]:
    """Splits an integer below 2**48 into two that float32 holds exactly."""
    high, low = divmod(int(number), _BASE)
    return float(high), float(low)


def _join(pair: Floats) -> int:
    return int(pair[0]) * _BASE + int(pair[1])


def _put_counts(into: Floats, counts: npt.NDArray[np.generic]) -> None:
    whole = np.nan_to_num(np.asarray(counts, np.float64)).astype(np.int64)
    into[:, 0::2], into[:, 1::2] = whole // _BASE, whole % _BASE


def _get_counts(pairs: Floats) -> Counts:
    return pairs[:, 0::2].astype(np.int64) * _BASE + pairs[:, 1::2].astype(np.int64)


def _checked(name: str, data: Floats, header: int) -> Floats:
    data = np.asarray(data)
    if data.dtype != np.float32 or data.ndim != 1 or len(data) < header:
        raise FormatError(
            f"A stored {name} is {data.dtype} of shape {list(data.shape)}, expected a float32 "
            f"vector of at least {header}; the event file is damaged or was written by "
            "something else."
        )
    check_version(name, float(data[0]))
    if not np.isfinite(data[: min(header, 8)]).all():
        raise FormatError(f"A stored {name} has a damaged header: {data[:8].tolist()}.")
    return np.ascontiguousarray(data)


def _size(name: str, number: np.float32) -> int:
    if number < 0 or number != int(number):
        raise FormatError(f"A stored {name} says it has {number:g} rows, expected a whole number.")
    return int(number)


def _expect_length(name: str, data: Floats, expected: int) -> None:
    if len(data) != expected:
        raise FormatError(
            f"A stored {name} has {len(data)} numbers where its header asks for {expected}; "
            "the event file is damaged."
        )


def _indices(name: str, numbers: Floats, rows: int) -> Counts:
    index = numbers.astype(np.int64)
    if ((index < 0) | (index >= rows)).any():
        raise FormatError(f"A stored {name} of {rows} rows refers to row {int(index.max())}.")
    return index
