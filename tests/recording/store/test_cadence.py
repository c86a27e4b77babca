"""When a call is recorded: the same answer in Python and in a graph."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tb_gradscope.recording.store import cadence

CALLS = [0, 1, 2, 127, 128, 129, 130, 255, 256, 260, 511, 512, 1024, 10**6, 2**40, 2**40 + 1]


@pytest.mark.parametrize("every", [cadence.OFF, cadence.AUTO, 1, 2, 10, 1000])
def test_the_graph_agrees(every):
    due = tf.function(cadence.is_due_in_graph)
    found = [bool(due(tf.constant(call, tf.int64), tf.constant(every, tf.int64))) for call in CALLS]
    assert found == [cadence.is_due(call, every) for call in CALLS]


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
