"""Counters that go on where a training was started again."""

from __future__ import annotations

import numpy as np

from tb_gradscope.format.packing import Counts


def carried(counts: Counts, sessions: Counts) -> tuple[Counts, list[int]]:
    """Makes counters go on where a restarted training began anew.

    Args:
      counts: int64 `[record, counter]`. The first tells of a new beginning: it grows with
        every record of one process.
      sessions: int64 `[record]`, the number of who wrote it; each has counters of its own.

    Returns:
      The counters, and the positions of the last records of each process.
    """
    result, ends = np.zeros_like(counts), list[int]()
    for session in np.unique(sessions):
        rows = np.flatnonzero(sessions == session)
        begins = np.flatnonzero(np.diff(counts[rows, 0]) <= 0) + 1
        own = np.concatenate([np.zeros_like(counts[:1]), counts[rows]])
        for begin in begins:
            own[begin + 1 :] += counts[rows[begin - 1]]
        # What others have counted until then counts too, whether they have ended or not.
        result += own[np.searchsorted(rows, np.arange(len(counts)), side="right")]
        ends += [*rows[begins - 1].tolist(), int(rows[-1])]
    return result, sorted(ends)
