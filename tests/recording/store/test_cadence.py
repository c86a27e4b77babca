"""Which calls are recorded."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.recording.store import cadence

CALLS = [0, 1, 2, 127, 128, 129, 130, 255, 256, 260, 511, 512, 1024, 10**6, 2**40, 2**40 + 1]


@pytest.mark.parametrize("every", [cadence.OFF, cadence.AUTO, 1, 2, 10, 1000])
def test_strides_agree(every):
    for call in CALLS:
        stride = cadence.Stride.at(call, every)
        assert (call % stride.calls == stride.rest) == cadence.is_due(call, every)


def test_a_stride_lasts_until_it_doubles():
    for call in (0, 127, 128, 300, 5000):
        stride = cadence.Stride.at(call, cadence.AUTO)
        assert cadence.Stride.at(stride.until - 1, cadence.AUTO) == stride
        twice = cadence.Stride.at(stride.until, cadence.AUTO)
        assert (twice.calls, twice.until) == (2 * stride.calls, 2 * stride.until)


def test_auto_is_dense_then_ever_sparser():
    due = [call for call in range(5000) if cadence.is_due(call, cadence.AUTO)]
    assert due[:128] == list(range(128))
    gaps = np.diff(due)
    assert (np.diff(gaps) >= 0).all()
    assert gaps[-1] == 64


@pytest.mark.parametrize(("calls", "most"), [(10**3, 330), (10**6, 970), (10**9, 1610)])
def test_auto_keeps_logs_small(calls, most):
    """64 records for each doubling: counted without walking through a billion calls."""
    ends = [128 << k for k in range(40)]
    count = min(calls, 128)
    for k, start in enumerate(ends):
        if start < calls:
            count += -(-(min(calls, start * 2) - start) // (2 << k))
    assert count <= most
    if calls <= 10**6:
        assert count == sum(cadence.is_due(call, cadence.AUTO) for call in range(calls))


def test_off_is_never():
    assert not any(cadence.is_due(call, cadence.OFF) for call in range(1000))
