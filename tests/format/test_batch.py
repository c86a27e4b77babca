"""Many records at once say what each says alone."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format.batch import decode_clips, decode_gradients
from tb_gradscope.format.record import (
    ClipRecord,
    decode_clip,
    decode_gradient,
    encode_clip,
    encode_gradient,
)
from tb_gradscope.format.statistics import STATISTIC_COUNT, State
from tests.format.test_record import record


def records():
    """Records of three rows and of every mixture of states, so of many lengths."""
    random = np.random.default_rng(0)
    found = []
    for number in range(60):
        states = random.choice(list(State), 3) if number % 3 else [State.OK] * 3
        counts = random.integers(0, 2, (3, 4)) * (number % 2)
        found.append(record(list(states), number, number + 1, number + 1, counts))
    return found


def test_same_as_one_by_one():
    data = [encode_gradient(one) for one in records()]
    decoded = decode_gradients(data, 3)
    alone = [decode_gradient(one) for one in data]
    assert decoded.errors == ()
    assert decoded.kept.tolist() == list(range(60))
    np.testing.assert_array_equal(decoded.values, [one.values for one in alone])
    assert decoded.calls.tolist() == [one.calls for one in alone]
    assert decoded.records.tolist() == [one.records for one in alone]


def test_alike():
    data = [encode_gradient(record([State.OK] * 4, seed)) for seed in range(5)]
    decoded = decode_gradients(data, 4)
    np.testing.assert_array_equal(decoded.values, [decode_gradient(one).values for one in data])


def test_broken_ones_are_left_out():
    data = [encode_gradient(one) for one in records()]
    good = decode_gradients(data, 3).values
    data[4] = data[4][:-1]
    data[5] = encode_gradient(record([State.OK]))
    data[6] = np.array(b"text", object)
    data[7] = np.full_like(data[7], np.nan)
    data[9] = data[9].copy()
    data[9][4] = np.inf
    decoded = decode_gradients(data, 3)
    positions = [position for position, _ in decoded.errors]
    assert positions == [4, 5, 6, 7, 9]
    kept = [i for i in range(60) if i not in positions]
    assert decoded.kept.tolist() == kept
    np.testing.assert_array_equal(decoded.values, good[kept])
    assert decoded.calls.tolist() == [i + 1 for i in kept]
    sentences = {position: str(error) for position, error in decoded.errors}
    assert sentences[5] == "A stored gradient record has 1 rows, its schema names 3."
    assert "damaged header" in sentences[9]


@pytest.mark.parametrize("variables", [0, 3])
def test_nothing(variables):
    decoded = decode_gradients([], variables)
    assert decoded.values.shape == (0, variables, STATISTIC_COUNT)
    assert decoded.calls.shape == decoded.kept.shape == (0,)
    assert decode_clips([], variables).norms.shape == (0, variables, 2)


def clip(number, rows=2):
    norms = np.full((rows, 2), number, np.float32)
    return ClipRecord(norms, number, number // 2, 2**30, 1, number, 1, 1 / (number + 1))


def test_clips():
    data = [encode_clip(clip(number)) for number in range(5)]
    data.insert(2, encode_clip(clip(9, rows=3)))
    data.append(data[0][:-1])
    decoded = decode_clips(data, 2)
    assert decoded.kept.tolist() == [0, 1, 3, 4, 5]
    assert [position for position, _ in decoded.errors] == [2, 6]
    for row, position in enumerate(decoded.kept):
        alone = decode_clip(data[position])
        np.testing.assert_array_equal(decoded.norms[row], alone.norms)
        assert decoded.counts[row].tolist() == [alone.calls, alone.clipped, alone.nonfinite]
        assert decoded.numbers[row].tolist() == [
            alone.threshold,
            alone.norm_before,
            alone.norm_after,
            alone.scale,
        ]
