"""Optimizer records survive being stored, one by one and many at once."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.optimizer import (
    OptimizerRecord,
    decode_optimizer,
    decode_optimizers,
    encode_optimizer,
)
from tb_gradscope.format.statistics import State
from tests.format import test_record


def record(number, rows=3):
    gradient = test_record.record([State.OK] * rows, calls=number)
    updates = np.arange(rows, dtype=np.float32) * np.float32(number)
    return OptimizerRecord(gradient, updates, number, number // 2, 2.0**15, np.nan)


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_round_trip(rows):
    one = record(2**26 + 3, rows)
    again = decode_optimizer(encode_optimizer(one))
    test_record.assert_same(again.gradient, one.gradient)
    np.testing.assert_array_equal(again.update_norms, one.update_norms)
    assert (again.applied, again.skipped) == (one.applied, one.skipped)
    assert again.loss_scale == one.loss_scale
    assert np.isnan(again.learning_rate)


def test_many_at_once_and_the_broken_are_named():
    stored = [encode_optimizer(record(number)) for number in range(5)]
    stored[1] = stored[1][:-1]
    stored[3] = stored[3][:4]
    found = decode_optimizers(stored, 3)
    assert found.gradients.kept.tolist() == [0, 2, 4]
    assert [position for position, _ in found.gradients.errors] == [1, 3]
    assert found.applied.tolist() == [0, 2, 4]
    assert found.gradients.calls.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(found.update_norms[2], [0, 4, 8])


def test_another_number_of_rows_is_refused():
    found = decode_optimizers([encode_optimizer(record(1, 2))], 3)
    assert "has 2 rows, its schema names 3" in str(found.gradients.errors[0][1])


def test_what_is_cut_off_is_refused():
    with pytest.raises(FormatError, match="its header asks for"):
        decode_optimizer(encode_optimizer(record(1))[:10])
