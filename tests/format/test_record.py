"""Records: decoding undoes encoding, to the bit, and refuses what is none."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format.errors import FormatError, GradscopeError
from tb_gradscope.format.record import (
    COUNTED,
    ClipRecord,
    GradientRecord,
    absent_norm,
    decode_clip,
    decode_gradient,
    encode_clip,
    encode_gradient,
    is_absent,
    is_none,
    none_norm,
)
from tb_gradscope.format.statistics import STATISTIC_COUNT, STORED, State, Statistic

NOT_STORED = [Statistic.NAN_COUNT, Statistic.INF_COUNT]


def record(states, seed=0, calls=7, records=5, counts=None):
    """A record as a recorder makes it: NaN counts 0 where nothing is broken."""
    random = np.random.default_rng(seed)
    values = random.lognormal(0, 5, (len(states), STATISTIC_COUNT)).astype(np.float32)
    values[:, Statistic.STATE] = states
    values[:, NOT_STORED] = 0
    for row, state in zip(values, states, strict=True):
        if state in (State.NONE, State.ABSENT):
            row[Statistic.NORM : Statistic.VARIABLE_NORM] = np.nan
        elif state == State.ZERO:
            row[Statistic.NORM] = 0
        elif state == State.NAN:
            row[[Statistic.NORM, *NOT_STORED]] = np.nan, 3, 5
        elif state == State.INF:
            row[[Statistic.NORM, *NOT_STORED]] = np.inf, 0, 4
    if counts is None:
        counts = np.zeros((len(states), len(COUNTED)), np.int64)
    return GradientRecord(values, calls, records, np.asarray(counts), calls // 3, 2, 1024.0, 0.25)


def assert_same(one, other):
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.state_counts, other.state_counts)
    assert (one.calls, one.records) == (other.calls, other.records)
    assert (one.nonfinite, one.reason) == (other.nonfinite, other.reason)
    assert (one.loss_scale, one.loss) == (other.loss_scale, other.loss)


@pytest.mark.parametrize("states", [[], [State.OK], list(State), [State.NAN] * 3, [*State] * 50])
def test_round_trip(states):
    one = record(states)
    data = encode_gradient(one)
    assert data.dtype == np.float32
    assert_same(decode_gradient(data), one)
    assert encode_gradient(decode_gradient(data)).tobytes() == data.tobytes()


def test_round_trip_of_all_that_was_broken_once():
    counts = np.arange(24).reshape(6, 4) * 10**12
    one = record(list(State), counts=counts, calls=2**47, records=2**40 + 1)
    assert_same(decode_gradient(encode_gradient(one)), one)


def test_numbers_that_broken_elements_are_counted_by_may_be_large():
    one = record([State.NAN, State.INF])
    one.values[0, NOT_STORED] = 5e9, 7
    decoded = decode_gradient(encode_gradient(one))
    assert decoded.values[0, NOT_STORED].tolist() == [np.float32(5e9), 7]


def test_the_norm_of_an_empty_gradient_is_zero_and_its_state_is_well():
    one = record([State.OK] * 2)
    one.values[0, [Statistic.NORM, Statistic.MAX_ABS]] = 0
    one.values[1, [Statistic.NORM, Statistic.MAX_ABS]] = 2
    decoded = decode_gradient(encode_gradient(one)).values
    assert decoded[:, Statistic.STATE].tolist() == [State.OK, State.OK]
    assert decoded[:, Statistic.NORM].tolist() == [0.0, 2.0]


@pytest.mark.parametrize(
    ("norm", "stored"), [(1e-60, 1e-45), (0.0, 1e-45), (1e60, np.finfo(np.float32).max)]
)
def test_state_outlives_the_range_of_float32(norm, stored):
    """A tiny norm is stored as the smallest there is, not as ZERO; a huge one not as INF."""
    one = record([State.OK])
    with np.errstate(over="ignore"):
        one.values[0, Statistic.NORM] = norm
    decoded = decode_gradient(encode_gradient(one)).values[0]
    assert decoded[Statistic.STATE] == State.OK
    assert decoded[Statistic.NORM] == np.float32(stored)


def test_healthy_record_is_small():
    data = encode_gradient(record([State.OK] * 500))
    assert len(data) == 13 + 500 * len(STORED)


def test_absent_norm_is_a_nan_of_its_own():
    norms = np.array([1, np.nan, none_norm(), absent_norm(), 0], np.float32)
    assert np.isnan(absent_norm())
    assert is_none(norms).tolist() == [False, False, True, False, False]
    assert is_absent(norms).tolist() == [False, False, True, True, False]


def test_none_norm_is_a_nan_of_its_own():
    norms = np.array([1, np.nan, none_norm(), 0, np.inf], np.float32)
    assert is_none(norms).tolist() == [False, False, True, False, False]
    assert np.isnan(norms[2])
    assert is_none(np.stack([norms, norms], axis=1)[::2]).tolist() == [
        [False, False],
        [True, True],
        [False, False],
    ]


@pytest.mark.parametrize("count", [0, 1, 2**24, 2**24 + 1, 2**48 - 1])
def test_clip_round_trip(count):
    norms = np.array([[3, 1], [none_norm(), none_norm()], [np.nan, np.inf]], np.float32)
    one = ClipRecord(norms, count, count, count, np.nan, 3.5, 1.25, 0.5)
    data = encode_clip(one)
    decoded = decode_clip(data)
    assert decoded.norms.tobytes() == norms.tobytes()
    assert (decoded.calls, decoded.clipped, decoded.nonfinite) == (count, count, count)
    assert (decoded.norm_before, decoded.norm_after, decoded.scale) == (3.5, 1.25, 0.5)
    assert np.isnan(decoded.threshold)
    assert encode_clip(decoded).tobytes() == data.tobytes()


DAMAGED = "; the event file is damaged"
SOMETHING = " or was written by something else."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda data: data[:7],
            "A stored gradient record is float32 of shape [7], expected a float32 vector of at "
            "least 13" + DAMAGED + SOMETHING,
        ),
        (
            lambda data: data.astype(np.float64),
            "A stored gradient record is float64 of shape [39], expected a float32 vector of at "
            "least 13" + DAMAGED + SOMETHING,
        ),
        (
            lambda data: data[None],
            "A stored gradient record is float32 of shape [1, 39], expected a float32 vector of "
            "at least 13" + DAMAGED + SOMETHING,
        ),
        (
            lambda data: data[:-1],
            "A stored gradient record has 38 numbers where its header asks for 39" + DAMAGED + ".",
        ),
        (
            lambda data: put(data, 0, 2),
            "A stored gradient record has format version 2, this tb_gradscope reads up to 1; "
            "upgrade with: pip install --upgrade tb-gradscope",
        ),
        (
            lambda data: put(data, 0, np.nan),
            "A stored gradient record has format version nan, expected 1 to 1"
            + DAMAGED
            + SOMETHING,
        ),
        (
            lambda data: put(data, 1, -1),
            "A stored gradient record says it has -1 rows, expected a whole number.",
        ),
        (
            lambda data: put(data, 1, 2.5),
            "A stored gradient record says it has 2.5 rows, expected a whole number.",
        ),
        (
            lambda data: put(data, 5, np.inf),
            "A stored gradient record has a damaged header: "
            "[1.0, 2.0, 1.0, 1.0, 0.0, inf, 0.0, 5.0].",
        ),
        (
            lambda data: put(data, 25, 2),
            "A stored gradient record of 2 rows refers to row 2" + DAMAGED + ".",
        ),
        (
            lambda data: put(data, 30, np.nan),
            "A stored gradient record of 2 rows refers to row nan" + DAMAGED + ".",
        ),
    ],
)
def test_refused(change, sentence):
    counts = np.zeros((2, 4), np.int64)
    counts[0, 2] = 1
    data = encode_gradient(record([State.NAN, State.OK], counts=counts))
    assert len(data) == 13 + 2 * 6 + 5 + 9 == 39
    with pytest.raises(FormatError) as error:
        decode_gradient(change(data))
    assert str(error.value) == sentence
    assert isinstance(error.value, GradscopeError)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:11], "A stored clip record is float32 of shape [11], expected"),
        (lambda data: data[:-1], "A stored clip record has 13 numbers where its header asks for"),
        (lambda data: put(data, 0, 9), "A stored clip record has format version 9, this"),
        (lambda data: put(data, 2, np.nan), "A stored clip record has a damaged header"),
    ],
)
def test_clip_refused(change, sentence):
    data = encode_clip(ClipRecord(np.ones((1, 2), np.float32), 1, 1, 0, 1, 1, 1, 1))
    with pytest.raises(FormatError) as error:
        decode_clip(change(data))
    assert str(error.value).startswith(sentence)


def put(data, position, number):
    data = data.copy()
    data[position] = number
    return data
