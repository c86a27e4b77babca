"""Cosines between the gradients of losses, against slow float64 NumPy."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from tb_gradscope.recording.cosines import cosines
from tb_gradscope.recording.description import ABSENT_MARK

RANDOM = np.random.default_rng(7)


def dense_of(gradient, shape):
    """A gradient as one float64 vector, complex elements as two numbers."""
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values.numpy()
        whole = np.zeros(shape, np.complex128 if np.iscomplexobj(values) else np.float64)
        np.add.at(whole, gradient.indices.numpy(), values)
    else:
        whole = tf.cast(gradient, tf.float64) if gradient.dtype == tf.bfloat16 else gradient
        whole = np.asarray(whole)
    if np.iscomplexobj(whole):
        whole = np.stack([whole.real, whole.imag], -1)
    return whole.astype(np.float64).ravel()


def expected(gradients, found):
    """The definition: dot(a, b) / (|a| |b|), nothing clever."""
    count = len(gradients)
    result = np.full((len(found), count, count), np.nan)
    for variable, source in enumerate(found):
        for i in range(count):
            for j in range(count):
                a, b = gradients[i][variable], gradients[j][variable]
                is_shared = sum(of_loss[variable] is not None for of_loss in gradients) > 1
                if a is None or b is None or not is_shared:
                    result[variable, i, j] = ABSENT_MARK
                    continue
                a, b = dense_of(a, source.shape), dense_of(b, source.shape)
                with np.errstate(all="ignore"):
                    a, b = a / np.abs(a).max(), b / np.abs(b).max()
                    result[variable, i, j] = a @ b / np.sqrt((a @ a) * (b @ b))
    return result


def normal(*shape, scale=1.0, dtype=np.float32):
    values = RANDOM.normal(size=shape) * scale
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * RANDOM.normal(size=shape) * scale
    return tf.constant(values.astype(dtype))


def rows(indices, *shape, scale=1.0, dtype=np.float32):
    return tf.IndexedSlices(
        normal(len(indices), *shape, scale=scale, dtype=dtype),
        tf.constant(indices, tf.int64),
    )


def variable(*shape, dtype=tf.float32):
    return tf.Variable(tf.zeros(shape, dtype))


def with_element(value):
    gradient = np.ones([3, 4], np.float32)
    gradient[1, 1] = value
    return tf.constant(gradient)


CASES = {
    "dense": ([[normal(3, 4)], [normal(3, 4)]], [variable(3, 4)]),
    "large": ([[normal(200, 300)] for _ in range(3)], [variable(200, 300)]),
    "small and large": (
        [[normal(3), normal(200, 300), normal(5, 7), normal(120, 90)] for _ in range(3)],
        [variable(3), variable(200, 300), variable(5, 7), variable(120, 90)],
    ),
    "some None": (
        [
            [normal(3), None, normal(5, 7), None, normal(100, 100)],
            [normal(3), normal(4), None, None, None],
            [None, normal(4), normal(5, 7), normal(2), normal(100, 100)],
        ],
        [variable(3), variable(4), variable(5, 7), variable(2), variable(100, 100)],
    ),
    "nothing shared": ([[normal(3), None], [None, normal(4)]], [variable(3), variable(4)]),
    "sparse": (
        [[rows([1, 4, 4], 3)], [rows([4, 2], 3)], [rows([0, 9], 3)]],
        [variable(10, 3)],
    ),
    "sparse and dense": (
        [[rows([1, 4, 4], 3)], [normal(10, 3)], [rows([4], 3)], [normal(10, 3)]],
        [variable(10, 3)],
    ),
    "rows of a vector": ([[rows([1, 4, 4])], [rows([4, 1])]], [variable(10)]),
    "no rows at all": ([[rows([], 3)], [rows([1], 3)]], [variable(10, 3)]),
    "complex": (
        [[normal(3, 4, dtype=np.complex64), rows([1, 2], 2, dtype=np.complex64)] for _ in "ab"],
        [variable(3, 4, dtype=tf.complex64), variable(5, 2, dtype=tf.complex64)],
    ),
    "float16": (
        [[normal(40, 40, scale=1e4, dtype=np.float16)] for _ in "ab"],
        [variable(40, 40, dtype=tf.float16)],
    ),
    "bfloat16": (
        [[tf.cast(normal(200, 200), tf.bfloat16)] for _ in "ab"],
        [variable(200, 200, dtype=tf.bfloat16)],
    ),
    "float64": (
        [[normal(3, 4, scale=1e200, dtype=np.float64)] for _ in "ab"],
        [variable(3, 4, dtype=tf.float64)],
    ),
    "huge": ([[normal(3, 4, scale=1e30)], [normal(3, 4)]], [variable(3, 4)]),
    "tiny": ([[normal(3, 4, scale=1e-30)], [normal(3, 4)]], [variable(3, 4)]),
    "huge and sparse": (
        [[rows([1, 4, 4], 3, scale=1e30)], [normal(10, 3, scale=1e-30)]],
        [variable(10, 3)],
    ),
    "zero": ([[tf.zeros([3, 4])], [normal(3, 4)]], [variable(3, 4)]),
    "NaN": ([[with_element(np.nan)], [normal(3, 4)]], [variable(3, 4)]),
    "infinity": ([[with_element(-np.inf)], [normal(3, 4)]], [variable(3, 4)]),
    "NaN in a row not touched": (
        [[tf.constant([[np.nan, 1.0], [2.0, 3.0]])], [rows([1], 2)]],
        [variable(2, 2)],
    ),
    "the same": ([[normal(50, 300)]] * 2, [variable(50, 300)]),
    "eight losses": (
        [[normal(9, 9), normal(100, 99)] for _ in range(8)],
        [variable(9, 9), variable(100, 99)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_against_numpy(case, mode):
    gradients, found = CASES[case]
    compute = functools.partial(cosines, gradients, found)
    if mode != "eager":
        compute = tf.function(compute, jit_compile=mode == "xla", autograph=False)
    np.testing.assert_allclose(compute().numpy(), expected(gradients, found), atol=2e-5)


def test_a_cosine_is_never_beyond_one():
    gradient = normal(50, 300)
    found = cosines([[gradient], [gradient], [-gradient]], [variable(50, 300)]).numpy()
    assert np.abs(found).max() <= 1
