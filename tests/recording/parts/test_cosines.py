"""Cosines between the gradients of losses: against slow float64 NumPy, and of which losses."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.recording.measure.cosines import cosines
from tb_gradscope.recording.store.description import ABSENT_MARK

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


@pytest.mark.parametrize("case", CASES)
def test_against_numpy(case):
    gradients, found = CASES[case]
    result = cosines(gradients, found).numpy()
    np.testing.assert_allclose(result, expected(gradients, found), atol=2e-5)


@pytest.mark.parametrize("case", CASES)
def test_those_of_the_last_loss_against_numpy(case):
    gradients, found = CASES[case]
    result = cosines(gradients, found, of_last=True).numpy()
    np.testing.assert_allclose(result, expected(gradients, found)[:, -1, :-1], atol=2e-5)


@pytest.mark.parametrize("of_last", [False, True], ids=["all", "of_last"])
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_of_many_elements(jit, of_last):
    """Summed one after the other in float32, XLA has lost the third digit here."""
    one = normal(2_200_007)
    gradients, found = [[one], [one + tf.reverse(one, [0])]], [variable(2_200_007)]
    compared = tf.function(lambda: cosines(gradients, found, of_last), jit_compile=jit)
    exact = expected(gradients, found)
    exact = exact[:, -1, :-1] if of_last else exact
    np.testing.assert_allclose(compared().numpy(), exact, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_against_numpy_in_a_function(jit):
    cases = [CASES[name] for name in ("small and large", "some None", "sparse and dense", "NaN")]
    results = tf.function(
        lambda: [cosines(*case) for case in cases], jit_compile=jit, autograph=False
    )()
    for result, case in zip(results, cases, strict=True):
        np.testing.assert_allclose(result.numpy(), expected(*case), atol=2e-5)


def test_a_cosine_is_never_beyond_one():
    gradient = normal(50, 300)
    found = cosines([[gradient], [gradient], [-gradient]], [variable(50, 300)]).numpy()
    assert np.abs(found).max() <= 1


def slope(weights, factor):
    """Of a loss whose gradient is `factor`."""
    return tf.reduce_sum(weights * factor)


NORTH, EAST, WEST = ([0.0, 1.0], [1.0, 0.0], [-1.0, 0.0])


def pairs(run):
    return {cosine.losses: cosine.cosines[:, 0].round(3).tolist() for cosine in run.cosines}


MODES = ["eager", "graph", "xla"]


def in_mode(step, mode):
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


@pytest.mark.parametrize("mode", MODES)
def test_every_pair_of_a_step(mode, recorded):
    weights = tf.Variable([1.0, 2.0])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            north, east, west = (slope(weights, factor) for factor in (NORTH, EAST, WEST))
        one = tape.gradient(north, weights)
        two = tape.gradient(east, weights)
        return one + two + tape.gradient(west, weights)

    step = in_mode(step, mode)
    for _ in range(2):
        step()
    assert pairs(recorded()) == {
        ("north", "east"): [0, 0],
        ("north", "west"): [0, 0],
        ("east", "west"): [-1, -1],
    }


def test_only_shared_variables(recorded):
    """A generator and a discriminator share none; two heads share the trunk alone."""
    trunk, one, two = tf.Variable([1.0, 1.0]), tf.Variable([1.0, 1.0]), tf.Variable([1.0, 1.0])
    with gs.GradientTape(persistent=True) as tape:
        first, second, third = slope(trunk, one), slope(trunk, two), slope(one, EAST)
    a = tape.gradient(first, [trunk, one])
    b = tape.gradient(second, [trunk, two])
    c = tape.gradient(third, [one])
    run = recorded()
    names = [variable.name for variable in run.variables]
    found = {c.losses: [names[index] for index in c.variables] for c in run.cosines}
    assert found == {("first", "second"): ["trunk"], ("first", "third"): ["one"]}
    del a, b, c


def test_gradients_that_are_gone_are_not_kept_for_it(recorded):
    weights = tf.Variable([1.0, 2.0])
    with gs.GradientTape(persistent=True) as tape:
        north, east = slope(weights, NORTH), slope(weights, EAST)
    tape.gradient(north, weights)
    gc.collect()
    tape.gradient(east, weights)
    assert pairs(recorded()) == {}


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_asked_in_turns_for_several_sets_of_variables(mode, recorded):
    one, two = tf.Variable([1.0, 2.0]), tf.Variable([3.0, 4.0])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            north = slope(one, NORTH) + slope(two, NORTH)
            east = slope(one, EAST) + slope(two, NORTH)
        a, b = tape.gradient(north, one), tape.gradient(north, two)
        c, d = tape.gradient(east, one), tape.gradient(east, two)
        return a + b + c + d

    step = in_mode(step, mode)
    for _ in range(3):
        step()
    (cosine,) = recorded().cosines
    assert cosine.losses == ("north", "east")
    assert cosine.cosines.tolist() == [[0, 1]] * 3


def test_gradients_of_an_earlier_step_do_not_count(recorded):
    """One loss every step, the other every second step only, its last gradient still there."""
    weights = tf.Variable([1.0, 2.0])
    rare = None
    for number in range(6):
        with gs.GradientTape(persistent=True) as tape:
            north, east = slope(weights, NORTH), slope(weights, EAST)
        if number % 2 == 0:
            rare = tape.gradient(north, weights)
        tape.gradient(east, weights)
    (cosine,) = recorded().cosines
    assert cosine.steps.tolist() == [0, 2, 4]
    assert rare is not None


def test_a_phase_before_does_not_count(recorded):
    weights = tf.Variable([1.0, 2.0])
    for _ in range(3):
        with gs.GradientTape() as tape:
            pretraining = slope(weights, NORTH)
        gradient = tape.gradient(pretraining, weights)
    for _ in range(3):
        with gs.GradientTape() as tape:
            training = slope(weights, EAST)
        tape.gradient(training, weights)
    assert gradient is not None
    assert pairs(recorded()) == {}


def test_another_function_is_another_execution(recorded):
    weights = tf.Variable([1.0, 2.0])

    @tf.function
    def one():
        with gs.GradientTape() as tape:
            north = slope(weights, NORTH)
        return tape.gradient(north, weights)

    @tf.function
    def two():
        with gs.GradientTape() as tape:
            east = slope(weights, EAST)
        return tape.gradient(east, weights)

    kept = [(one(), two()) for _ in range(2)]
    assert len(kept) == 2
    assert pairs(recorded()) == {}


def test_a_branch_compares_with_what_is_around_it(recorded):
    weights = tf.Variable([1.0, 2.0])

    @tf.function
    def step(also):
        with gs.GradientTape() as tape:
            north = slope(weights, NORTH)
        gradient = tape.gradient(north, weights)
        if also:
            with gs.GradientTape() as tape:
                east = slope(weights, EAST)
            gradient += tape.gradient(east, weights)
        return gradient

    for also in (True, False, True):
        step(tf.constant(also))
    (cosine,) = recorded().cosines
    assert cosine.losses == ("north", "east")
    assert cosine.steps.tolist() == [0, 1]


def test_eight_losses(recorded):
    weights = tf.Variable([[1.0, 2.0]] * 8)

    @tf.function
    def step():
        with gs.GradientTape(persistent=True) as tape:
            losses = {f"l{n}": tf.reduce_sum(weights[n] * weights[0]) for n in range(8)}
        return [tape.gradient(loss, weights, loss_name=name) for name, loss in losses.items()]

    step()
    assert len(recorded().cosines) == 28


def test_training_is_tensorflows(recorder):
    def train(tape):
        weights = tf.Variable(tf.random.stateless_normal([4, 3], [1, 2]))

        @tf.function
        def step():
            with tape(persistent=True) as t:
                one, two = tf.reduce_sum(tf.sin(weights)), tf.reduce_sum(tf.exp(weights))
            weights.assign_sub(0.1 * t.gradient(one, weights))
            weights.assign_sub(0.1 * t.gradient(two, weights))

        for _ in range(5):
            step()
        return weights.numpy()

    np.testing.assert_array_equal(train(gs.GradientTape), train(tf.GradientTape))
