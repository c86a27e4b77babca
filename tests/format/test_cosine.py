"""Cosine records survive being stored, one by one and many at once."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format.cosine import (
    CosineRecord,
    decode_cosine,
    decode_cosines,
    encode_cosine,
)
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.record import absent_norm, is_absent


def record(number, shape=(2, 3)):
    cosines = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return CosineRecord(cosines, number)


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 40)])
def test_round_trip(shape):
    one = record(2**25 + 1, shape)
    if one.cosines.size:
        one.cosines[0, 0] = absent_norm()
    again = decode_cosine(encode_cosine(one))
    np.testing.assert_array_equal(is_absent(again.cosines), is_absent(one.cosines))
    np.testing.assert_array_equal(again.cosines, one.cosines)
    assert again.calls == one.calls


def test_many_at_once_and_the_broken_are_named():
    stored = [encode_cosine(record(number)) for number in range(4)]
    stored[2] = encode_cosine(record(2, (1, 3)))
    found = decode_cosines(stored, 2, 3)
    assert found.kept.tolist() == [0, 1, 3]
    assert found.calls.tolist() == [0, 1, 3]
    assert "has 1 losses, its schema names 2" in str(found.errors[0][1])


def test_what_is_cut_off_is_refused():
    with pytest.raises(FormatError, match="its header asks for"):
        decode_cosine(encode_cosine(record(1))[:-1])
