"""Each statistic against slow float64 NumPy: eager, in a graph, and compiled by XLA."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.measure.statistics import gradient_statistics
from tb_gradscope.recording.store.description import UNMEASURED_MARK
from tests import reference

RNG = np.random.default_rng(7)
NORMAL = RNG.normal(size=(5, 7))


def with_(values, **at):
    """A copy of `values` with some elements replaced, counted from the front."""
    copy = np.array(values, np.float64)
    for position, value in at.items():
        copy.flat[int(position[1:])] = value
    return copy


GRADIENTS = {
    "normal": NORMAL,
    "scalar": np.float64(-3.5),
    "one_element": np.array([0.25]),
    "empty": np.zeros([0]),
    "empty_rows": np.zeros([3, 0, 2]),
    "all_zero": np.zeros([4, 3]),
    "some_zero": with_(NORMAL, _0=0, _3=-0.0, _30=0),
    "constant": np.full([50], 0.1),
    "mean_far_above_spread": 1000 + 0.01 * RNG.normal(size=300),
    "squares_underflow": 1e-30 * NORMAL,
    "squares_overflow": 1e25 * NORMAL,
    "one_huge": with_(NORMAL, _5=3e19),
    "nan": with_(NORMAL, _2=np.nan, _9=np.nan),
    "nan_first": with_(NORMAL, _0=np.nan),
    "inf": with_(NORMAL, _2=np.inf, _9=-np.inf, _10=np.inf),
    "nan_and_inf": with_(NORMAL, _2=np.inf, _9=np.nan),
    "many": RNG.normal(size=(300, 200)),
}


def measured_in(mode, gradients, variables):
    if mode == "eager":
        return gradient_statistics(gradients, variables).numpy()
    there = [g for g in gradients if g is not None]

    @tf.function(jit_compile=mode == "xla", autograph=False)
    def step(given):
        left = list(given)
        return gradient_statistics([g if g is None else left.pop(0) for g in gradients], variables)

    return step(there).numpy()


def assert_close(row, expected, rtol=3e-5):
    """Equal but for rounding: a sum is as exact as its largest terms."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(row - expected)
    same = (row == expected) | (np.isnan(row) & np.isnan(expected))
    close = difference <= slack(expected, rtol) + rtol * np.abs(expected)
    assert (same | close).all(), f"{row} instead of {expected}"


def slack(expected, rtol):
    atol = np.zeros_like(expected)
    largest = expected[..., Statistic.MAX_ABS]
    atol[..., Statistic.MEAN] = atol[..., Statistic.STD] = rtol * np.nan_to_num(largest, posinf=0)
    return atol


modes = pytest.mark.parametrize("mode", ["eager", "graph", "xla"])


@modes
@pytest.mark.parametrize("case", GRADIENTS)
def test_float32(case, mode):
    gradient = tf.constant(GRADIENTS[case], tf.float32)
    variable = tf.Variable(tf.ones_like(gradient) * 2)
    row = measured_in(mode, [gradient], [variable])[0]
    expected = reference.gradient_statistics(gradient.numpy(), variable.numpy())
    assert_close(row, expected)


@modes
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("case", ["normal", "some_zero", "nan", "inf", "scalar", "empty"])
def test_other_dtypes(case, dtype, mode):
    gradient = tf.cast(tf.constant(GRADIENTS[case], tf.float64), dtype)
    variable = tf.Variable(tf.ones_like(gradient))
    row = measured_in(mode, [gradient], [variable])[0]
    as_stored = tf.cast(gradient, tf.float64).numpy()  # rounding to the dtype is not our error
    expected = reference.gradient_statistics(as_stored, np.ones_like(as_stored))
    assert_close(row, expected)


@pytest.mark.parametrize(
    ("scale", "state"), [(1e200, State.OK), (1e-200, State.OK), (1e30, State.OK), (0, State.ZERO)]
)
def test_float64_beyond_float32_is_neither_zero_nor_infinite(scale, state):
    gradient = tf.constant(NORMAL * scale, tf.float64)
    row = measured_in("eager", [gradient], [tf.Variable(gradient)])[0]
    assert row[Statistic.STATE] == state


@modes
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex(dtype, mode):
    values = (NORMAL + 1j * RNG.normal(size=NORMAL.shape)).astype(dtype)
    values[0, 0] = 0
    gradient, variable = tf.constant(values), tf.Variable(values)
    row = measured_in(mode, [gradient], [variable])[0]
    expected = reference.gradient_statistics(values, values)
    assert_close(row, expected)


@modes
def test_complex_with_nan(mode):
    gradient = tf.constant([1 + 1j, complex(np.nan, 0), complex(0, np.inf)], tf.complex64)
    row = measured_in(mode, [gradient], [tf.Variable(gradient)])[0]
    assert row[Statistic.STATE] == State.NAN
    assert row[Statistic.NAN_COUNT] == 1
    assert row[Statistic.INF_COUNT] == 1


SLICES = {
    "distinct": ([3, 0, 8], 10),
    "duplicates": ([3, 3, 0, 3, 8, 0], 10),
    "all_the_same": ([2, 2, 2], 4),
    "every_row": ([1, 0], 2),
    "none": ([], 5),
}


@modes
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("case", SLICES)
def test_sparse_is_as_its_dense_gradient(case, dtype, mode):
    indices, rows = SLICES[case]
    values = tf.cast(RNG.normal(size=(len(indices), 4)), dtype)
    wide = tf.cast(values, tf.float64).numpy()
    gradient = tf.IndexedSlices(values, tf.constant(indices, tf.int32), tf.constant([rows, 4]))
    variable = tf.Variable(tf.ones([rows, 4], dtype))
    row = measured_in(mode, [gradient], [variable])[0]
    expected = reference.gradient_statistics(
        reference.densify(wide, np.array(indices, int), rows), np.ones([rows, 4])
    )
    assert_close(row, expected)


def test_sparse_that_cancels_out_is_zero():
    values = tf.constant([[1.0, 2.0], [-1.0, -2.0]])
    gradient = tf.IndexedSlices(values, tf.constant([1, 1]), tf.constant([3, 2]))
    row = measured_in("eager", [gradient], [tf.Variable(tf.ones([3, 2]))])[0]
    assert row[Statistic.STATE] == State.ZERO


def test_sparse_without_a_dense_shape():
    gradient = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1]))
    row = measured_in("eager", [gradient], [tf.Variable(tf.ones([4, 2]))])[0]
    assert row[Statistic.ZERO_FRACTION] == 0.75


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_the_norm_of_a_large_table_is_not_measured(mode):
    """A step touches few of its rows; reading them all would cost more than the step."""
    rows = tf.IndexedSlices(tf.ones([2, 4]), tf.constant([1, 5]), tf.constant([70_000, 4]))
    variables = [tf.Variable(tf.ones([70_000, 4])), tf.Variable([3.0, 4.0])]
    found = measured_in(mode, [rows, tf.ones([2])], variables)
    assert found[0, Statistic.VARIABLE_NORM] == UNMEASURED_MARK
    assert found[1, Statistic.VARIABLE_NORM] == 5


def test_a_large_embedding_is_never_densified():
    """A dense gradient of this variable would take 40 TB."""
    gradient = tf.IndexedSlices(
        tf.ones([2, 10]), tf.constant([5, 5], tf.int64), tf.constant([10**12, 10], tf.int64)
    )
    tensor_source = tf.ones([1])
    row = measured_in("graph", [gradient], [tensor_source])[0]
    assert row[Statistic.NORM] == pytest.approx(np.sqrt(40))
    assert row[Statistic.ZERO_FRACTION] == pytest.approx(1)


@modes
def test_a_record_of_many_kinds(mode):
    """None, broken, sparse and healthy gradients in one record do not disturb each other."""
    dense = tf.constant(NORMAL, tf.float32)
    gradients = [
        None,
        dense,
        tf.constant([np.nan, 1.0]),
        tf.IndexedSlices(tf.ones([1, 2]), tf.constant([0]), tf.constant([2, 2])),
        None,
        tf.zeros([3]),
    ]
    variables = [
        tf.Variable([1, 2, 3]),
        tf.Variable(dense),
        tf.Variable([3.0, 4.0]),
        tf.Variable(tf.ones([2, 2])),
        tf.constant([3.0]),
        tf.Variable(tf.zeros([3])),
    ]
    rows = measured_in(mode, gradients, variables)
    states = [State.NONE, State.OK, State.NAN, State.OK, State.NONE, State.ZERO]
    assert rows[:, Statistic.STATE].tolist() == states
    norms = rows[:, Statistic.VARIABLE_NORM]
    assert (norms[[0, 4]] == UNMEASURED_MARK).all()  # an integer variable, a tensor
    np.testing.assert_allclose(norms[[2, 3, 5]], [5, 2, 0])
    expected = reference.gradient_statistics(dense.numpy(), dense.numpy())
    assert_close(rows[1], expected)


def test_only_none():
    rows = measured_in("graph", [None, None], [tf.Variable(1.0), tf.Variable(2.0)])
    assert rows[:, Statistic.STATE].tolist() == [State.NONE, State.NONE]
    assert rows[:, Statistic.VARIABLE_NORM].tolist() == [1, 2]


def test_ragged_gradient():
    ragged = tf.ragged.constant([[3.0], [4.0, 0.0]])
    row = measured_in("eager", [ragged], [ragged])[0]
    assert row[Statistic.NORM] == 5
    assert row[Statistic.ZERO_FRACTION] == pytest.approx(1 / 3)
