"""Parts of a sum: a row for each part, and a total that is TensorFlow's to the last bit."""

from __future__ import annotations

import gc
import warnings
import weakref

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording import failure, internals
from tests.bench.kernels import count_kernels

X = tf.random.stateless_normal([3, 4], [1, 5])


def in_mode(step, mode):
    return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")


class Model:
    """Two terms over one matrix, one of them over a vector and a table too."""

    def __init__(self):
        self.w = tf.Variable(tf.random.stateless_normal([4, 4], [1, 2]), name="w")
        self.v = tf.Variable(tf.ones([4]), name="v")
        self.table = tf.Variable(tf.random.stateless_normal([10, 4], [1, 3]), name="table")

    @property
    def variables(self):
        return [self.w, self.v, self.table]

    def terms(self):
        rows = tf.gather(self.table, [1, 2, 2])
        hidden = tf.tanh((X + rows) @ self.w)
        return tf.reduce_sum((hidden - X) ** 2), tf.reduce_sum(tf.exp(self.v) + self.w**2)

    def update(self, gradients):
        for variable, gradient in zip(self.variables, gradients, strict=True):
            if isinstance(gradient, tf.IndexedSlices):
                gradient = tf.IndexedSlices(0.01 * gradient.values, gradient.indices)
                variable.scatter_sub(gradient)
            elif gradient is not None:
                variable.assign_sub(0.01 * gradient)


def with_losses(tape, model, persistent=False):
    def step():
        with tape(persistent=persistent) as t:
            recon, kl = model.terms()
            total = recon + 0.1 * kl
        if tape is gs.GradientTape:
            t.losses(recon=recon, kl=kl)
        model.update(t.gradient(total, model.variables))

    return step


def with_dict(tape, model, persistent=False):
    def step():
        with tape(persistent=persistent) as t:
            recon, kl = model.terms()
        model.update(t.gradient({"recon": recon, "kl": kl}, model.variables))

    return step


def trained(write, tape, mode, steps=4, **keywords):
    model = Model()
    step = in_mode(write(tape, model, **keywords), mode)
    for _ in range(steps):
        step()
    return [variable.numpy() for variable in model.variables]


def assert_trained_alike(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def rows(run):
    return {loss.name: loss for loss in run.losses}


@pytest.mark.parametrize(
    ("write", "mode"),
    [(with_losses, "eager"), (with_losses, "graph"), (with_dict, "eager"), (with_dict, "xla")],
)
def test_each_part_has_a_row(write, mode, recorded):
    ours = trained(write, gs.GradientTape, mode)
    assert_trained_alike(ours, trained(write, tf.GradientTape, mode))
    run = recorded()
    found = rows(run)
    assert list(found) == ["total", "recon", "kl"]
    assert [found[name].part_of for name in found] == ["", "total", "total"]
    assert [found[name].steps.tolist() for name in found] == [[0, 1, 2, 3]] * 3

    model = Model()
    with tf.GradientTape(persistent=True) as tape:
        recon, kl = model.terms()
    for name, part in (("recon", recon), ("kl", kl)):
        values = found[name].values[0]
        for row, gradient in zip(values, tape.gradient(part, model.variables), strict=True):
            if gradient is None:
                assert row[Statistic.STATE] == State.NONE
            else:
                norm = np.linalg.norm(tf.convert_to_tensor(gradient).numpy())
                assert row[Statistic.NORM] == pytest.approx(norm, rel=1e-5)

    (cosine,) = run.cosines
    assert cosine.losses == ("recon", "kl")
    a, b = (tape.gradient(part, model.w).numpy().ravel() for part in (recon, kl))
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert cosine.cosines[0, 0] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(cosine.cosines[0, 1:]).all()


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_steps_not_recorded_run_none_of_it(mode, tmp_path):
    def kernels(write, every):
        with gs.record(tmp_path / f"{write.__name__}_{every}", every=every, on_error="raise"):
            step = in_mode(write(gs.GradientTape, Model()), mode)
            for _ in range(3):
                step()
            return count_kernels(step)

    def without(tape, model):
        def step():
            with tape() as t:
                recon, kl = model.terms()
                total = recon + 0.1 * kl
            model.update(t.gradient(total, model.variables))

        return step

    recorded, not_recorded = (
        kernels(with_losses, every) - kernels(without, every) for every in (1, 1000)
    )
    # In a graph something stands for the branch that is not taken.
    assert not_recorded == 0 if mode == "eager" else not_recorded < recorded / 4


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("persistent", [False, True])
def test_what_draws_random_numbers_draws_the_same(persistent, mode, tmp_path):
    """A second tape in sight of a tf.function would run another version of it."""

    def train(tape):
        tf.random.set_seed(3)
        model = Model()

        @tf.function
        def inner(x):
            return tf.nn.dropout(tf.nn.softplus(x @ model.w), 0.3)

        def step():
            with tape(persistent=persistent) as t:
                hidden = inner(tf.nn.dropout(inner(X), 0.1))
                recon, kl = tf.reduce_sum(hidden**2), tf.reduce_sum(tf.sin(hidden))
            model.update(t.gradient({"recon": recon, "kl": kl}, model.variables))

        step = in_mode(step, mode)
        for _ in range(6):
            step()
        return model.w.numpy()

    with gs.record(tmp_path, every=2, on_error="raise"):
        ours = train(gs.GradientTape)
    np.testing.assert_array_equal(ours, train(tf.GradientTape))
    (run,) = gs.load(tmp_path).runs.values()
    assert rows(run)["kl"].steps.tolist() == [0, 2, 4]


def test_random_numbers_of_a_backward_pass_leave_the_programs_alone(tmp_path):
    @tf.custom_gradient
    def noisy(x):
        return tf.identity(x), lambda upstream: upstream * tf.random.uniform([4, 4])

    def train(tape):
        tf.random.set_seed(3)
        model = Model()
        for _ in range(3):
            with tape() as t:
                hidden = tf.nn.dropout(X @ noisy(model.w), 0.5)
                one, two = tf.reduce_sum(hidden), tf.reduce_sum(hidden**2)
            model.update(t.gradient({"one": one, "two": two}, model.variables))
        return model.w.numpy()

    with gs.record(tmp_path, every=1, on_error="raise"):
        ours = train(gs.GradientTape)
    np.testing.assert_array_equal(ours, train(tf.GradientTape))


def semi_gradient(tape, model, t):
    """The target is computed by the same weights outside the tape, as in Q-learning."""
    target = tf.reduce_sum(X @ model.w)
    with t:
        value = tf.reduce_sum(tf.tanh(X @ model.w))
        error, size = (value - target) ** 2, tf.reduce_sum(model.w**2)
    return error, size


def stopped(tape, model, t):
    with t:
        hidden = tf.tanh(X @ model.w)
        with t.stop_recording():
            factor = tf.reduce_sum(tf.sin(model.w))
        error, size = tf.reduce_sum(hidden) * factor, tf.reduce_sum(model.w**2)
    return error, size


def reset(tape, model, t):
    with t:
        hidden = tf.tanh(X @ model.w)
        t.reset()
        error, size = tf.reduce_sum(hidden * model.w[0]), tf.reduce_sum(model.w**2)
    return error, size


def not_watched(tape, model, t):
    with t:
        t.watch(model.v)
        error, size = tf.reduce_sum(model.v * model.w), tf.reduce_sum(model.v**2)
    return error, size


def entered_twice(tape, model, t):
    with t:
        hidden = tf.tanh(X @ model.w)
    between = tf.sin(model.w)
    with t:
        error, size = tf.reduce_sum(hidden) + tf.reduce_sum(between), tf.reduce_sum(model.w**2)
    return error, size


def nothing_on_it(tape, model, t):
    error, size = tf.reduce_sum(model.w), tf.reduce_sum(model.w**2)
    with t:
        size = size + tf.reduce_sum(model.w)
    return error, size


WINDOWS = [semi_gradient, stopped, reset, not_watched, entered_twice, nothing_on_it]


@pytest.mark.parametrize("write", WINDOWS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_part_sees_only_what_the_tape_saw(write, mode, recorded):
    model = Model()

    def step(tape, persistent):
        t = tape(persistent=persistent, watch_accessed_variables=write is not not_watched)
        error, size = write(tape, model, t)
        if tape is gs.GradientTape:
            t.losses(error=error, size=size)
            return t.gradient(error + size, model.variables)
        return [t.gradient(part, model.variables) for part in (error, size)]

    in_mode(lambda: step(gs.GradientTape, False), mode)()
    found = rows(recorded())
    for name, gradients in zip(("error", "size"), step(tf.GradientTape, True), strict=True):
        for row, gradient in zip(found[name].values[0], gradients, strict=True):
            if gradient is None:
                assert row[Statistic.STATE] == State.NONE
            else:
                norm = np.linalg.norm(gradient.numpy())
                assert row[Statistic.NORM] == pytest.approx(norm, rel=1e-5)


def test_forward_control_flow_keeps_its_outputs(recorded):
    """Differentiating a loop makes it hand out intermediates: parts must not ask for more."""

    def step(tape):
        w = made["w"]
        with tape() as t:
            h = tf.cond(tf.reduce_sum(w) > 0, lambda: tf.tanh(X @ w), lambda: tf.sin(X @ w))
            _, h = tf.while_loop(lambda i, _: i < 3, lambda i, h: (i + 1, tf.tanh(h @ w)), [0, h])
            h = inner(h)
            one, two = tf.reduce_sum(h**2), tf.reduce_sum(tf.sin(h))
        return t.gradient({"one": one, "two": two}, w)

    made = {"w": Model().w}
    inner = tf.function(lambda h: tf.nn.softplus(h @ made["w"]))

    def operations(tape):
        function = tf.function(lambda: step(tape))
        graph = function.get_concrete_function().graph
        kinds = [
            (op.type, len(op.outputs))
            for op in graph.get_operations()
            if "gradscope" not in op.name and op.type not in ("Placeholder", "NoOp")
        ]
        return function().numpy(), sorted(kinds)

    (ours, our_kinds), (theirs, their_kinds) = (
        operations(gs.GradientTape),
        operations(tf.GradientTape),
    )
    np.testing.assert_array_equal(ours, theirs)
    assert our_kinds == their_kinds
    found = rows(recorded())
    assert found["one"].records == found["two"].records == 1
    assert set(found) == {"total", "one", "two"}


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_second_gradient_call_is_still_an_error(mode, recorder):
    w = tf.Variable(1.0)

    def step():
        with gs.GradientTape() as tape:
            one, two = w * 2, w * 3
        tape.gradient({"one": one, "two": two}, w)
        tape.gradient({"one": one, "two": two}, w)

    with pytest.raises(RuntimeError, match="non-persistent GradientTape can only be used"):
        in_mode(step, mode)()


@pytest.mark.parametrize("due", [True, False])
def test_no_tensor_outlives_its_tape(due, tmp_path):
    w = tf.Variable(tf.ones([100, 100]))
    with gs.record(tmp_path, every=1 if due else 1000):
        for _ in range(3):
            with gs.GradientTape() as tape:
                hidden = tf.tanh(w)
                one, two = tf.reduce_sum(hidden), tf.reduce_sum(hidden**2)
                total = one + two
            tape.losses(one=one, two=two)
            gradient = tape.gradient(total, w)
            alive = [weakref.ref(t) for t in (hidden, one, two, total, gradient)]
            del hidden, one, two, total, gradient
            gc.collect()
            assert [reference() for reference in alive] == [None] * 5


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_names(mode, recorded):
    w = tf.Variable([1.0, 2.0])

    def terms():
        return {"a": tf.reduce_sum(w), "b": tf.reduce_sum(w**2)}

    def step():
        with gs.GradientTape(persistent=True) as tape:
            one, two, three, four = (terms() for _ in range(4))
            sums = terms()
        tape.gradient({"a": one["a"], "b": one["b"]}, w)
        tape.gradient(sums, w)
        tape.gradient({"a": two["a"], "b": two["b"]}, w, loss_name="mine")
        tape.gradient(dict(a=three["a"], b=three["b"]), w)  # noqa: C408
        tape.gradient({"only": four["a"]}, w)

    in_mode(step, mode)()
    found = [(loss.name, loss.part_of) for loss in recorded().losses]
    totals = ["total", "sums", "mine", "total_2"]
    assert [name for name, of in found if not of] == [*totals, "only"]
    # Parts of other totals are others, and no two rows have one name.
    assert [(name, of) for name, of in found if of] == [
        ("a", "total"), ("b", "total"), ("a_2", "sums"), ("b_2", "sums"),
        ("a_3", "mine"), ("b_3", "mine"), ("a_4", "total_2"), ("b_4", "total_2"),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_part_may_be_anything_that_can_be_added(mode, recorded):
    model = Model()

    def step():
        with gs.GradientTape() as tape:
            recon, kl = model.terms()
            elsewhere = tf.constant(3.0)
            total = recon + 0.1 * kl
        tape.losses(nested={"x": recon, "y": [kl]}, number=0.0, none=None, elsewhere=elsewhere)
        tape.gradient(total, model.variables)

    in_mode(step, mode)()
    found = rows(recorded())
    assert list(found) == ["total", "nested", "number", "none", "elsewhere"]
    for name in ("number", "none", "elsewhere"):
        assert (found[name].values[0, :, Statistic.STATE] == State.NONE).all()
    assert (found["nested"].values[0, :, Statistic.STATE] == State.OK).all()


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_weights_go_with_their_parts(mode, recorded):
    w = tf.Variable([1.0, 2.0])

    def step():
        with gs.GradientTape() as tape:
            b, a = w * 3.0, w * 5.0
        tape.gradient(
            {"b": b, "a": a},
            w,
            output_gradients={"b": tf.constant([1.0, 0.0]), "a": tf.constant([0.0, 2.0])},
        )

    in_mode(step, mode)()
    found = rows(recorded())
    assert found["b"].values[0, 0, Statistic.NORM] == 3
    assert found["a"].values[0, 0, Statistic.NORM] == 10


def test_losses_called_twice_adds(recorded):
    w = tf.Variable([1.0, 2.0])
    with gs.GradientTape(persistent=True) as tape:
        a, b, c = tf.reduce_sum(w), tf.reduce_sum(w**2), tf.reduce_sum(w**3)
        first, second = a + b, a + c
    tape.losses(a=a)
    tape.losses(b=b)
    tape.gradient(first, w)
    tape.gradient(first, w)
    tape.losses(a=a, c=c)
    tape.gradient(second, w)
    tape.gradient(c, w)
    found = {loss.name: loss.part_of for loss in recorded().losses}
    assert found == {
        "first": "", "a": "first", "b": "first",
        "second": "", "a_2": "second", "c": "second", "c_2": "",
    }  # fmt: skip


def test_parts_that_are_differentiated_themselves_are_no_sum(recorded):
    w = tf.Variable([1.0, 2.0])
    with gs.GradientTape(persistent=True) as tape:
        a, b = tf.reduce_sum(w), tf.reduce_sum(w**2)
    tape.losses(a=a, b=b)
    tape.gradient(a, w)
    tape.gradient(b, w)
    assert {loss.name: loss.part_of for loss in recorded().losses} == {"a": "", "b": ""}


def test_other_variables_of_the_same_total(recorded):
    """As with one optimizer for the encoder and one for the decoder."""
    model = Model()
    with gs.GradientTape(persistent=True) as tape:
        recon, kl = model.terms()
        total = recon + kl
    tape.losses(recon=recon, kl=kl)
    tape.gradient(total, model.w)
    tape.gradient(total, model.v)
    found = rows(recorded())
    assert found["kl"].asked.tolist() == [1, 1]
    assert found["kl"].steps.tolist() == [0]


@pytest.mark.parametrize("part", ["text", object(), tf.Variable(1.0)])
def test_what_is_no_tensor_is_refused(part):
    with gs.GradientTape() as tape:
        pass
    kind = type(part).__name__
    with pytest.raises(TypeError, match=rf"^losses\(recon=...\): expected a tensor, found {kind}"):
        tape.losses(recon=part)


def test_no_part_at_all():
    with gs.GradientTape() as tape, pytest.raises(TypeError, match=r"^losses\(\): expected a part"):
        tape.losses()


def test_a_part_that_is_a_number_is_warned_of(recorder):
    with gs.GradientTape() as tape:
        tape.losses(off=0.0)
        with pytest.warns(gs.GradscopeWarning, match="is of type float, which has no gradient"):
            tape.losses(kl=3.0)


def test_a_dict_of_nothing_is_what_it_is_in_tensorflow(recorder):
    def outcome(tape):
        weight = tf.Variable(1.0)
        try:
            with tape() as t:
                weight * 2.0
            return t.gradient({}, [weight])
        except Exception as error:
            return type(error), str(error)

    assert outcome(gs.GradientTape) == outcome(tf.GradientTape)


def test_losses_too_late(recorder):
    w = tf.Variable(1.0)
    with gs.GradientTape() as tape:
        loss = w * 2
    tape.gradient(loss, w)
    with pytest.warns(gs.GradscopeWarning, match=r"losses\(\) came after gradient\(\)"):
        tape.losses(loss=loss)


def test_losses_without_gradient_is_nothing(recorder):
    w = tf.Variable(1.0)
    with warnings.catch_warnings(), gs.GradientTape() as tape:
        warnings.simplefilter("error")
        loss = w * 2
        tape.losses(loss=loss)


def test_a_backward_pass_that_does_more_than_compute_is_not_made_again(tmp_path):
    """TensorFlow hands over a py_function's gradient only once: a second pass would fail."""
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def step():
        with gs.GradientTape() as tape:
            one = tf.reduce_sum(tf.py_function(lambda x: x**2, [w], tf.float32))
            two = tf.reduce_sum(w)
        return tape.gradient({"one": one, "two": two}, w)

    with gs.record(tmp_path, every=1):
        with pytest.warns(gs.GradscopeWarning, match="the parts of 'total' are not recorded: its "
                          "backward pass runs EagerPyFunc"):  # fmt: skip
            gradient = step()
        step()
    np.testing.assert_array_equal(gradient, [3.0, 5.0])
    (run,) = gs.load(tmp_path).runs.values()
    assert list(rows(run)) == ["total"]


def test_a_failing_pass_leaves_training_alone(tmp_path):
    w = tf.Variable([1.0, 2.0])
    with gs.record(tmp_path, every=1):
        for _ in range(2):
            with gs.GradientTape() as tape:
                one = tf.reduce_sum(tf.py_function(lambda x: x**2, [w], tf.float32))
                two = tf.reduce_sum(w)
            with warnings.catch_warnings(record=True):
                gradient = tape.gradient({"one": one, "two": two}, w)
            np.testing.assert_array_equal(gradient, [3.0, 5.0])
    (run,) = gs.load(tmp_path).runs.values()
    assert rows(run)["total"].steps.tolist() == [0, 1]


def test_custom_gradients_run_once_in_steps_not_recorded(tmp_path):
    ran = []

    @tf.custom_gradient
    def counted(x):
        def backward(upstream):
            ran.append(1)
            return upstream

        return tf.identity(x), backward

    w = tf.Variable([1.0, 2.0])

    def step():
        with gs.GradientTape() as tape:
            hidden = counted(w)
            one, two = tf.reduce_sum(hidden), tf.reduce_sum(hidden**2)
        ran.clear()
        tape.gradient({"one": one, "two": two}, w)
        return len(ran)

    with gs.record(tmp_path, every=3, on_error="raise"):
        assert [step() for _ in range(6)] == [3, 1, 1, 3, 1, 1]


def test_a_gradient_asked_for_inside_the_context(recorded):
    w = tf.Variable([1.0, 2.0])
    with gs.GradientTape() as tape:
        one, two = tf.reduce_sum(w), tf.reduce_sum(w**2)
        tape.gradient({"one": one, "two": two}, w)
    found = rows(recorded())
    assert found["two"].values[0, 0, Statistic.NORM] == pytest.approx(np.sqrt(20))


def test_second_order(recorded):
    """What the outer tape replays has nothing of the inner tape's parts."""

    def penalty(tape):
        w = tf.Variable([1.0, 2.0])
        with tape() as outer:
            with tape() as inner:
                one, two = tf.reduce_sum(w**3), tf.reduce_sum(tf.sin(w))
            slope = inner.gradient({"one": one, "two": two}, w)
            size = tf.reduce_sum(slope**2)
        return outer.gradient({"size": size, "weights": tf.reduce_sum(w)}, w)

    np.testing.assert_array_equal(penalty(gs.GradientTape), penalty(tf.GradientTape))
    assert {"one", "two", "size", "weights"} < set(rows(recorded()))


def test_without_the_private_names_parts_are_left_out(monkeypatch, recorded):
    monkeypatch.setattr(internals, "hide_from_functions", lambda tape: False)
    ours = trained(with_dict, gs.GradientTape, "eager")
    assert_trained_alike(ours, trained(with_dict, tf.GradientTape, "eager"))
    assert list(rows(recorded())) == ["total"]


def test_a_part_goes_on_where_the_total_is_traced_again(recorded):
    w = tf.Variable([1.0, 2.0])

    @tf.function
    def step(x):
        with gs.GradientTape() as tape:
            one, two = tf.reduce_sum(w * x), tf.reduce_sum(w**2)
        tape.gradient({"one": one, "two": two}, w)

    for size in (1, 2, 1, 2):
        step(tf.ones([size]))
    found = rows(recorded())
    assert {name: loss.steps.tolist() for name, loss in found.items()} == {
        "total": [0, 1, 2, 3], "one": [0, 1, 2, 3], "two": [0, 1, 2, 3],
    }  # fmt: skip
    assert step.experimental_get_tracing_count() == 2


@pytest.fixture(autouse=True)
def _forget():
    yield
    failure.forget_said()


def test_xla_may_round_otherwise_where_there_are_parts(recorded):
    """It fuses what the forward pass computes in another way, once the parts read it as well."""

    def train(tape):
        layers = [tf.Variable(tf.random.stateless_normal([16, 16], [n, 1]) * 0.3) for n in range(4)]
        rows = tf.random.stateless_normal([8, 16], [9, 9])

        @tf.function(jit_compile=True)
        def step():
            with tape() as t:
                hidden = rows
                for weights in layers:
                    hidden = tf.nn.gelu(hidden @ weights) + tf.sin(hidden)
                one, two = tf.reduce_mean((hidden - rows) ** 2), tf.reduce_mean(tf.exp(hidden))
            gradients = t.gradient({"one": one, "two": two}, layers)
            for weights, gradient in zip(layers, gradients, strict=True):
                weights.assign_sub(0.01 * gradient)

        for _ in range(10):
            step()
        return [weights.numpy() for weights in layers]

    for ours, theirs in zip(train(gs.GradientTape), train(tf.GradientTape), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.abs(theirs).max())
