"""The tape is a drop-in: the same results, errors and traces as TensorFlow's."""

from __future__ import annotations

import gc
import inspect
import weakref

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic

_made = {}


def var(value, name=None):
    """The same variable for the same value and name: a function must not make its own."""
    key = (np.asarray(value).tobytes(), name)
    if key not in _made:
        _made[key] = tf.Variable(value, name=name)
    return _made[key]


def variables():
    return var([[1.0, -2.0], [0.5, 3.0]], "w"), var([0.1, 0.2], "b")


X = tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def plain(tape):
    w, b = variables()
    with tape() as t:
        loss = tf.reduce_sum(tf.tanh(X @ w + b))
    return t.gradient(loss, [w, b])


def persistent(tape):
    w, b = variables()
    with tape(persistent=True) as t:
        hidden = tf.tanh(X @ w + b)
        one, two = tf.reduce_sum(hidden), tf.reduce_sum(hidden**2)
    return t.gradient(one, w), t.gradient(two, [b, w]), t.gradient(hidden, b)


def nested_structures(tape):
    w, b = variables()
    with tape() as t:
        loss = {"a": tf.reduce_sum(X @ w), "b": [tf.reduce_sum(b**2)]}
    return t.gradient(loss, {"weights": [w], "rest": (b,)})


def output_gradients(tape):
    w, _ = variables()
    with tape() as t:
        y = X @ w
    return t.gradient(y, w, output_gradients=tf.ones_like(y) * 3)


def unconnected_none(tape):
    w, b = variables()
    with tape() as t:
        loss = tf.reduce_sum(X @ w)
    return t.gradient(loss, [w, b])


def unconnected_zero(tape):
    w, b = variables()
    with tape() as t:
        loss = tf.reduce_sum(X @ w)
    return t.gradient(loss, [w, b], unconnected_gradients=tf.UnconnectedGradients.ZERO)


def unconnected_zero_by_value(tape):
    w, b = variables()
    with tape() as t:
        loss = tf.reduce_sum(X @ w)
    return t.gradient(loss, {"w": w, "b": b}, unconnected_gradients="zero")


def watched_tensor(tape):
    x = tf.constant([3.0, 4.0])
    with tape(watch_accessed_variables=False) as t:
        t.watch(x)
        y = tf.reduce_sum(x**3)
    return t.gradient(y, x)


def stopped(tape):
    w, b = variables()
    with tape() as t:
        a = tf.reduce_sum(w**2)
        with t.stop_recording():
            a += tf.reduce_sum(b)
    return t.gradient(a, [w, b])


def reset(tape):
    w, b = variables()
    with tape() as t:
        a = tf.reduce_sum(w**2)
        t.reset()
        a += tf.reduce_sum(b**2)
    return t.gradient(a, [w, b])


def jacobian(tape):
    w, _ = variables()
    with tape() as t:
        y = tf.sin(X @ w)
    return t.jacobian(y, w)


def jacobian_without_pfor(tape):
    w, _ = variables()
    with tape(persistent=True) as t:
        y = tf.sin(X @ w)
    return t.jacobian(y, w, experimental_use_pfor=False)


def batch_jacobian(tape):
    x = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    with tape() as t:
        t.watch(x)
        y = x**2
    return t.batch_jacobian(y, x)


def second_order(tape):
    x = var(2.0)
    with tape() as outer:
        with tape() as inner:
            y = x**4
        first = inner.gradient(y, x)
    return first, outer.gradient(first, x)


def third_order_persistent(tape):
    x = var(2.0)
    with tape(persistent=True) as one:
        with tape(persistent=True) as two:
            with tape() as three:
                y = tf.exp(x) * x**3
            a = three.gradient(y, x)
        b = two.gradient(a, x)
    return a, b, one.gradient(b, x)


def gradient_inside_the_context(tape):
    x = var(2.0)
    with tape(persistent=True) as t:
        y = x**3
        first = t.gradient(y, x)
    return first, t.gradient(first, x)


def gradient_penalty(tape):
    w, _ = variables()
    x = tf.constant([[1.0, 2.0]])
    with tape() as outer:
        with tape() as inner:
            inner.watch(x)
            critic = tf.reduce_sum(tf.tanh(x @ w))
        slope = inner.gradient(critic, x)
        penalty = (tf.norm(slope) - 1.0) ** 2
    return outer.gradient(penalty, w)


def forward_accumulator_around(tape):
    x = tf.constant(2.0)
    with tf.autodiff.ForwardAccumulator(x, tf.constant(1.0)) as accumulator:
        with tape() as t:
            t.watch(x)
            y = x**3
        first = t.gradient(y, x)
    return first, accumulator.jvp(first)


@tf.custom_gradient
def doubled_backwards(x):
    return x, lambda upstream: 2 * upstream


def custom_gradient(tape):
    w, _ = variables()
    with tape() as t:
        loss = tf.reduce_sum(doubled_backwards(w) ** 2)
    return t.gradient(loss, w)


def custom_gradient_with_a_tape_inside(tape):
    @tf.custom_gradient
    def own(x):
        with tape() as t:
            t.watch(x)
            y = tf.sin(x)
        slope = t.gradient(y, x)
        return y, lambda upstream: upstream * slope

    w, _ = variables()
    with tape() as t:
        loss = tf.reduce_sum(own(w))
    return t.gradient(loss, w)


def inside_while_loop(tape):
    w = var(2.0)

    def body(i, total):
        with tape() as t:
            y = w**2 * tf.cast(i, tf.float32)
        return i + 1, total + t.gradient(y, w)

    return tf.while_loop(lambda i, _: i < 5, body, [tf.constant(0), tf.constant(0.0)])


def around_while_loop(tape):
    w = var(1.1)
    with tape() as t:
        _, y = tf.while_loop(lambda i, _: i < 4, lambda i, y: (i + 1, y * w), [0, w])
    return t.gradient(y, w)


def inside_cond(tape):
    w = var(2.0)

    def branch():
        with tape() as t:
            y = w**3
        return t.gradient(y, w)

    return tf.cond(w > 1, branch, lambda: tf.constant(0.0)), tf.cond(
        w > 9, branch, lambda: tf.constant(0.0)
    )


def inside_map_fn(tape):
    w = var(2.0)

    def one(x):
        with tape() as t:
            y = w**2 * x
        return t.gradient(y, w)

    return tf.map_fn(one, tf.constant([1.0, 2.0, 3.0]))


def sparse(tape):
    table = var(np.ones([10, 3], np.float32))
    with tape() as t:
        loss = tf.reduce_sum(tf.gather(table, [1, 4, 4]) ** 2)
    return t.gradient(loss, table)


def not_trainable(tape):
    count = var(3)
    with tape() as t:
        loss = tf.reduce_sum(tf.cast(count, tf.float32))
    return t.gradient(loss, count)


PROGRAMS = [
    plain, persistent, nested_structures, output_gradients, unconnected_none, unconnected_zero,
    unconnected_zero_by_value, watched_tensor, stopped, reset, jacobian, jacobian_without_pfor,
    batch_jacobian, second_order, third_order_persistent, gradient_inside_the_context,
    gradient_penalty, forward_accumulator_around, custom_gradient,
    custom_gradient_with_a_tape_inside, inside_while_loop, around_while_loop, inside_cond,
    inside_map_fn, sparse, not_trainable,
]  # fmt: skip


def assert_identical(ours, theirs):
    tf.nest.assert_same_structure(ours, theirs, expand_composites=True)
    for a, b in zip(
        tf.nest.flatten(ours, expand_composites=True),
        tf.nest.flatten(theirs, expand_composites=True),
        strict=True,
    ):
        if a is None or b is None:
            assert a is b
        else:
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_eager_results_are_tensorflows(program, recorder):
    assert_identical(program(gs.GradientTape), program(tf.GradientTape))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_results_in_a_function_are_tensorflows(program, jit, recorder):
    if jit and program is around_while_loop:
        pytest.skip("TensorFlow's own tape does not compile this")

    program(tf.GradientTape)  # makes the variables

    def compiled(tape):
        return tf.function(lambda: program(tape), jit_compile=jit)()

    assert_identical(compiled(gs.GradientTape), compiled(tf.GradientTape))


def none_target(tape):
    with tape() as t:
        pass
    t.gradient(None, tf.Variable(1.0))


def used_twice(tape):
    w = tf.Variable(1.0)
    with tape() as t:
        y = w * 2
    t.gradient(y, w)
    t.gradient(y, w)


def unknown_unconnected(tape):
    w = tf.Variable(1.0)
    with tape() as t:
        y = w * 2
    t.gradient(y, w, unconnected_gradients="nonsense")


def no_gradient_registered(tape):
    image = tf.Variable(tf.ones([1, 2, 2, 3]))
    with tape() as t:
        y = tf.reduce_sum(tf.image.adjust_hue(image, 0.1))
    t.gradient(y, image)


def not_a_tensor(tape):
    with tape() as t:
        pass
    t.gradient(3.0, tf.Variable(1.0))


def variable_as_target(tape):
    w = tf.Variable(1.0)
    with tape() as t:
        pass
    t.gradient(w, w)


@pytest.mark.parametrize(
    "program",
    [
        none_target,
        used_twice,
        unknown_unconnected,
        no_gradient_registered,
        not_a_tensor,
        variable_as_target,
    ],
    ids=lambda program: program.__name__,
)
def test_errors_are_tensorflows(program, recorder):
    def outcome(tape):
        try:
            return program(tape)
        except Exception as error:
            return type(error), str(error)

    assert outcome(gs.GradientTape) == outcome(tf.GradientTape)


@pytest.mark.parametrize("method", ["__init__", "gradient", "jacobian", "batch_jacobian"])
def test_signatures_are_tensorflows_and_keywords_more(method):
    ours = list(inspect.signature(getattr(gs.GradientTape, method)).parameters.values())
    theirs = list(inspect.signature(getattr(tf.GradientTape, method)).parameters.values())
    assert [p.name for p in ours[: len(theirs)]] == [p.name for p in theirs]
    for mine, its in zip(ours, theirs, strict=False):
        assert mine.default == its.default or mine.default.value == its.default.value
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in ours[len(theirs) :])


def test_it_is_a_tensorflow_tape():
    assert isinstance(gs.GradientTape(), tf.GradientTape)


def test_as_many_traces_as_tensorflow(recorder):
    def traces(tape):
        w = tf.Variable([1.0, 2.0])

        @tf.function
        def step(x):
            with tape() as t:
                loss = tf.reduce_sum(w * x)
            w.assign_sub(0.1 * t.gradient(loss, w))

        for size in (2, 2, 1, 2, 1):
            step(tf.ones([size]))
        step(tf.ones([2]))
        return step.experimental_get_tracing_count()

    assert traces(gs.GradientTape) == traces(tf.GradientTape) == 2


def test_nothing_of_ours_is_watched(recorder):
    w, b = variables()
    with tf.GradientTape(persistent=True) as outer:
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(X @ w)
        tape.gradient(loss, [w, b])  # recording reads `b` for its norm
    assert [v.name for v in outer.watched_variables()] == ["w:0"]
    assert [v.name for v in tape.watched_variables()] == ["w:0"]


@pytest.mark.parametrize("in_function", [False, True])
def test_nothing_of_ours_lands_on_an_outer_tape(in_function, recorder, monkeypatch):
    """What an outer tape holds is what it would replay: count its backward operations."""

    def operations(tape_class):
        w, _ = variables()

        def step():
            with tf.GradientTape() as outer:
                with tape_class() as tape:
                    loss = tf.reduce_sum(tf.tanh(X @ w))
                first = tape.gradient(loss, w)
                total = tf.reduce_sum(first**2)
            return outer.gradient(total, w)

        if not in_function:
            return step().numpy().tolist()
        graph = tf.function(step).get_concrete_function().graph
        return sorted(op.type for op in graph.get_operations() if "gradscope" not in op.name)

    ours, theirs = operations(gs.GradientTape), operations(tf.GradientTape)
    # The buffers that the recorder writes to are inputs of the graph.
    if in_function:
        ours = [op for op in ours if op not in ("Placeholder", "NoOp")]
        theirs = [op for op in theirs if op not in ("Placeholder", "NoOp")]
    assert ours == theirs


@pytest.mark.parametrize("persistent_tape", [False, True])
def test_no_tensor_outlives_its_tape(persistent_tape, recorder):
    w = tf.Variable(tf.ones([100, 100]))
    with gs.GradientTape(persistent=persistent_tape) as tape:
        hidden = tf.tanh(w)
        loss = tf.reduce_sum(hidden)
    (gradient,) = tape.gradient(loss, [w])
    clipped, _ = gs.clip_by_global_norm([gradient], 1.0)
    alive = [weakref.ref(t) for t in (hidden, loss, gradient, clipped[0])]
    del hidden, loss, gradient, clipped
    if persistent_tape:
        del tape
    gc.collect()
    assert [reference() for reference in alive] == [None] * 4


def test_a_record_says_what_the_gradient_was(recorded):
    w, b = variables()
    with gs.GradientTape() as tape:
        loss = tf.reduce_sum(X @ w)
    gradient, missing = tape.gradient(loss, [w, b])
    assert missing is None
    (history,) = recorded().losses
    assert history.name == "loss"
    assert history.values[0, :, Statistic.STATE].tolist() == [State.OK, State.NONE]
    norm = np.linalg.norm(gradient.numpy())
    assert history.values[0, 0, Statistic.NORM] == pytest.approx(norm)
    norms = history.values[0, :, Statistic.VARIABLE_NORM]
    assert norms == pytest.approx([np.linalg.norm(w.numpy()), np.linalg.norm(b.numpy())])


@pytest.mark.parametrize("zero", [tf.UnconnectedGradients.ZERO, "zero"])
def test_zero_does_not_hide_none(zero, recorded):
    w, b = variables()
    with gs.GradientTape() as tape:
        loss = tf.reduce_sum(X @ w)
    tape.gradient(loss, [w, b], unconnected_gradients=zero)
    (history,) = recorded().losses
    assert history.values[0, :, Statistic.STATE].tolist() == [State.OK, State.NONE]


def test_a_jacobian_is_not_recorded(recorder, recorded):
    w, _ = variables()
    with gs.GradientTape(persistent=True) as tape:
        y = tf.sin(X @ w)
        total = tf.reduce_sum(y)
    tape.jacobian(y, w)
    tape.gradient(total, w)
    assert [history.name for history in recorded().losses] == ["total"]


def test_wrong_recorder_and_loss_name_are_refused():
    with pytest.raises(TypeError, match=r"expected what gs.record\(...\) returns, found str"):
        gs.GradientTape(recorder="logs")
    w = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        y = w * 2
    with pytest.raises(TypeError, match=r"gradient\(loss_name=3\): expected a string, found int"):
        tape.gradient(y, w, loss_name=3)


def test_no_variables_at_all(recorder, logdir):
    w = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        loss = w * 2
    assert tape.gradient(loss, []) == []
    recorder.flush()
    assert not any(run.losses for run in gs.load(logdir).runs.values())
