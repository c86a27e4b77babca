"""Numbers as float32: integers beyond 2**24, NaN payloads, and checks of what was stored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.messages import check_version

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

_BASE = 1 << 24


def float_of(bits: int) -> np.float32:
    """Returns the float32 with these bits."""
    return np.float32(np.array([bits], np.uint32).view(np.float32)[0])


def split(number: int) -> tuple[float, float]:
    """Splits an integer below 2**48 into two that float32 holds exactly."""
    high, low = divmod(int(number), _BASE)
    return float(high), float(low)


def join(pair: Floats) -> int:
    """Undoes `split`."""
    return int(pair[0]) * _BASE + int(pair[1])


def put_counts(into: Floats, counts: npt.NDArray[np.generic]) -> None:
    """Writes counts `[..., n]` as pairs `[..., 2 n]`; what is not finite counts 0."""
    whole = np.nan_to_num(np.asarray(counts, np.float64)).astype(np.int64)
    into[..., 0::2], into[..., 1::2] = whole // _BASE, whole % _BASE


def get_counts(pairs: Floats) -> Counts:
    """Undoes `put_counts`."""
    return pairs[..., 0::2].astype(np.int64) * _BASE + pairs[..., 1::2].astype(np.int64)


def checked(name: str, data: Floats, header: int, finite: int = 8) -> Floats:
    """Returns the data, a float32 vector with a header of this version, or raises FormatError.

    Args:
      name: what it is, for the message.
      data: what was stored.
      header: how many numbers there are at least.
      finite: how many of them cannot be NaN or Inf.
    """
    data = np.asarray(data)
    if data.dtype != np.float32 or data.ndim != 1 or len(data) < header:
        raise FormatError(
            f"A stored {name} is {data.dtype} of shape {list(data.shape)}, expected a float32 "
            f"vector of at least {header}; the event file is damaged or was written by "
            "something else."
        )
    check_version(name, float(data[0]))
    if not np.isfinite(data[:finite]).all():
        raise FormatError(f"A stored {name} has a damaged header: {data[:8].tolist()}.")
    return np.ascontiguousarray(data)


def size(name: str, number: np.float32) -> int:
    """Returns a number of rows, or raises FormatError."""
    if number < 0 or number != int(number):
        raise FormatError(f"A stored {name} says it has {number:g} rows, expected a whole number.")
    return int(number)


def expect_length(name: str, data: Floats, expected: int) -> None:
    """Raises FormatError unless the data has that many numbers."""
    if len(data) != expected:
        raise FormatError(
            f"A stored {name} has {len(data)} numbers where its header asks for {expected}; "
            "the event file is damaged."
        )


def indices(name: str, numbers: Floats, rows: int) -> Counts:
    """Returns the positions of rows, or raises FormatError."""
    wrong = numbers[~((numbers >= 0) & (numbers < rows))]
    if wrong.size:
        raise FormatError(
            f"A stored {name} of {rows} rows refers to row {wrong[0]:g}; the event file is damaged."
        )
    return numbers.astype(np.int64)
