"""Finding causes changes nothing: not the graph, not the numbers, not TensorFlow."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context, execute
from tensorflow.python.framework import ops

import tb_gradscope as gs
from tb_gradscope.recording.why import deduction, internals, observer, observing

X = np.linspace(-1.0, 1.0, 8, dtype=np.float32).reshape(2, 4)


def train(Tape, steps, wrap=lambda step: step):
    """Trains with random numbers in it, an intermittent None, and a lasting one."""
    tf.random.set_seed(7)
    w, gate, unused = (
        tf.Variable(tf.random.normal([4, 3])),
        tf.Variable([0.3]),
        tf.Variable([1.0]),
    )
    count = tf.Variable(0)

    @wrap
    def step(use_gate):
        count.assign_add(1)
        with Tape() as tape:
            y = tf.nn.dropout(tf.matmul(X, w), 0.5)
            if use_gate:
                y = y * gate
            kept = tf.cast(y > 0.0, tf.float32)
            loss = tf.reduce_mean(y**2) + tf.reduce_mean(kept)
        gradients = tape.gradient(loss, [w, gate, unused])
        for variable, gradient in zip([w, gate], gradients, strict=False):
            if gradient is not None:
                variable.assign_sub(0.1 * gradient + 0.01 * tf.random.normal(variable.shape))

    for number in range(steps):
        step(number % 3 != 1)
    return w.numpy(), gate.numpy(), count.numpy(), tf.random.uniform([3]).numpy()


@pytest.mark.parametrize("wrap", [lambda step: step, tf.function], ids=["eager", "tf.function"])
def test_training_is_the_same_to_the_last_bit(wrap, logdir):
    plain = train(tf.GradientTape, 7, wrap)
    with gs.record(logdir, every=1, on_error="raise"):
        recorded = train(gs.GradientTape, 7, wrap)
    for one, other in zip(plain, recorded, strict=True):
        assert one.tobytes() == other.tobytes()
    (run,) = gs.load(logdir).runs.values()
    causes = {run.variables[p].name: c.kind for c in run.losses[0].causes for p in c.variables}
    assert causes["unused"] == "unused"


def test_no_operation_is_added_to_the_graph(recorder, monkeypatch):
    w, b = tf.Variable([1.5]), tf.Variable([1.0])
    sizes = []
    judge = deduction.judge

    def measured(*arguments):
        graph = tf.compat.v1.get_default_graph()
        before = graph.version
        causes = judge(*arguments)
        sizes.append((before, graph.version))
        return causes

    monkeypatch.setattr("tb_gradscope.recording.why.explain.judge", measured)

    @tf.function
    def step():
        with gs.GradientTape() as tape:
            y = tf.linalg.matmul(tf.sort(w[None]), tf.math.round(w)[:, None])
            loss = tf.reduce_sum(tf.cast(tf.math.top_k(y).indices, tf.float32))
        return tape.gradient(loss, [w, b])

    step()
    ((before, after),) = sizes
    assert before == after


def test_gradient_functions_of_the_program_are_called_no_more_often(recorder):
    calls = []

    @tf.custom_gradient
    def forgetful(x, y):
        def grad(upstream):
            calls.append(1)
            return upstream, None

        return x + y, grad

    def step(Tape):
        v, w = tf.Variable(1.0), tf.Variable(2.0)
        with Tape() as tape:
            loss = forgetful(v * 1.0, w * 1.0)
        assert tape.gradient(loss, w) is None
        return len(calls)

    once = step(tf.GradientTape)
    assert step(gs.GradientTape) == 2 * once


class TestObserving:
    """Only the first step of a tape is observed."""

    def callbacks(self):
        return list(context.context().op_callbacks)

    def is_hooked(self):
        owner = next(c for c in ops.EagerTensor.__mro__ if "_numpy" in c.__dict__)
        return owner.__dict__["_numpy"].__module__ == internals.__name__

    def step(self, w, others=()):
        with gs.GradientTape() as tape:
            assert tf.executing_eagerly()
            loss = tf.reduce_sum(w * 2.0)
            during = bool(self.callbacks())
        tape.gradient(loss, [w, *others])
        return during

    def test_ends_with_the_first_step(self, recorder):
        w = tf.Variable([1.0])
        assert [self.step(w) for _ in range(4)] == [True, False, False, False]
        assert not self.callbacks()
        assert not self.is_hooked()

    def test_goes_on_until_a_tape_of_the_step_is_entered_again(self, recorder):
        a, b = tf.Variable([1.0]), tf.Variable([2.0])
        during = []
        for _ in range(2):
            with gs.GradientTape() as first, gs.GradientTape() as second:
                loss_a, loss_b = tf.reduce_sum(a**2), tf.reduce_sum(b**2)
            first.gradient(loss_a, a)
            during.append(bool(self.callbacks()))
            second.gradient(loss_b, b)
            during.append(bool(self.callbacks()))
        assert during == [True, True, False, False]

    @pytest.mark.filterwarnings("ignore:.*recorded nothing")
    def test_ends_with_the_recording(self, logdir):
        with gs.record(logdir):
            assert self.callbacks()
            assert self.is_hooked()
        assert not self.callbacks()
        assert not self.is_hooked()

    def test_ends_where_the_steps_are_in_a_graph(self, recorder):
        w = tf.Variable([1.0])

        @tf.function
        def step():
            with gs.GradientTape() as tape:
                loss = tf.reduce_sum(w * 2.0)
            return tape.gradient(loss, [w])

        assert self.callbacks()
        step()
        assert not self.callbacks()
        assert not self.is_hooked()
        assert execute.execute is execute.quick_execute

    def test_ends_with_the_recording_in_threads_that_have_ended(self, logdir):
        w = tf.Variable([1.0])
        with gs.record(logdir, on_error="raise"):
            thread = threading.Thread(target=self.step, args=(w,))
            thread.start()
            thread.join()
            assert self.is_hooked()
        assert not self.is_hooked()
        assert execute.execute is execute.quick_execute

    def test_ends_by_itself_where_no_tape_follows(self, recorder, monkeypatch):
        monkeypatch.setattr(observing, "MOST_BETWEEN", 3)
        w = tf.Variable([1.0])
        self.step(w)
        for _ in range(6):
            assert self.callbacks()
            w * 2.0
            if not self.callbacks():
                break
        assert not self.callbacks()
        assert not self.is_hooked()

    @pytest.mark.filterwarnings("ignore:.*records nowhere")
    def test_nothing_is_observed_without_a_recording(self):
        w = tf.Variable([1.0])
        with gs.GradientTape():
            tf.reduce_sum(w * 2.0)
            assert not self.callbacks()

    @pytest.mark.filterwarnings("ignore:.*recorded nothing")
    def test_a_tape_never_asked_is_observed_once(self, recorder):
        w = tf.Variable([1.0])
        seen = []
        for _ in range(4):
            with gs.GradientTape():
                tf.reduce_sum(w * 2.0)
                seen.append(bool(self.callbacks()))
        assert seen[0]
        assert seen[2:] == [False, False]

    def test_a_none_that_comes_later_is_looked_into_again(self, recorder, recorded):
        w = tf.Variable([1.0])

        def step(is_cut):
            with gs.GradientTape() as tape:
                y = tf.round(w) if is_cut else w * 2.0
                loss = tf.reduce_sum(y)
            return tape.gradient(loss, [w])

        for is_cut in (False, False, False, True, True, True):
            step(is_cut)
        (cause,) = recorded().losses[0].causes
        assert (cause.kind, cause.op) == ("blocked", "Round")
        assert not self.callbacks()

    def test_keeps_no_tensor_alive(self, recorder):
        w = tf.Variable([1.0])
        with gs.GradientTape() as tape:
            y = w * 2.0
            loss = tf.reduce_sum(tf.round(y))
        tape.gradient(loss, [w])
        kept = [weakref.ref(y), weakref.ref(loss)]
        del y, loss, tape
        gc.collect()
        assert [reference() for reference in kept] == [None, None]

    def test_what_fails_inside_reaches_no_operation_of_the_program(self, logdir, monkeypatch):
        def broken(*_):
            raise RuntimeError("broken")

        monkeypatch.setattr("tb_gradscope.recording.why.lines.of_frame", broken)
        monkeypatch.setattr("tb_gradscope.recording.why.lines.stack_of", broken)
        w = tf.Variable([1.0])
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape() as tape:
                y = w * 2.0
                assert y.numpy().tolist() == [2.0]
                loss = tf.reduce_sum(tf.round(y))
            assert tape.gradient(loss, [w]) == [None]

    @pytest.mark.parametrize("callback", ["_left", "_read", "_made"])
    def test_what_fails_inside_reaches_no_value_of_the_program(self, logdir, monkeypatch, callback):
        """Its variable reads, constants and arrays; nothing is then claimed from the rest."""
        called = []

        def fail(self, value):
            called.append(value)
            raise RuntimeError("a fault of the observer")

        monkeypatch.setattr(observer.Observer, callback, fail)
        w, other = tf.Variable([2.0]), tf.Variable([3.0])
        read = []
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape() as tape:
                thread = threading.Thread(target=lambda: read.append((w + 0.0).numpy()))
                thread.start()
                thread.join()
                loss = tf.reduce_sum(other * tf.constant(read[0]))
            gradients = tape.gradient(loss, [w, other])
        assert called
        assert gradients[0] is None
        assert gradients[1].numpy() == [2.0]
        (run,) = gs.load(logdir).runs.values()
        (cause,) = run.losses[0].causes
        assert (cause.kind, cause.detail) == ("unknown", "not_read")


class TestWithoutPrivateNames:
    """A TensorFlow that moves a private name costs the cause or its line, nothing else."""

    def causes(self, logdir, wrap):
        w = tf.Variable([1.0])

        @tf.function
        def inner(y):
            return tf.round(y)

        @wrap
        def step():
            with gs.GradientTape() as tape:
                loss = tf.reduce_sum(inner(w * 2.0))
            return tape.gradient(loss, [w])

        with gs.record(logdir, on_error="raise"):
            assert step() == [None]
        (run,) = gs.load(logdir).runs.values()
        (cause,) = run.losses[0].causes
        return cause

    def test_of_functions(self, logdir, monkeypatch):
        monkeypatch.setattr(internals, "function_graph", lambda graph, name: None)
        cause = self.causes(logdir, tf.function)
        assert cause.kind == "unknown"

    def test_of_op_callbacks(self, logdir, monkeypatch):
        monkeypatch.setattr(internals, "add_op_callback", lambda callback: False)
        cause = self.causes(logdir, lambda step: step)
        assert (cause.kind, cause.detail) == ("unknown", "not_observed")

    def test_of_the_gradient_registry(self, logdir, monkeypatch):
        from tb_gradscope.recording.why import flow

        monkeypatch.setattr(internals, "gradient_function", lambda op_type: (False, None))
        monkeypatch.setattr(flow, "_flows", {})
        cause = self.causes(logdir, tf.function)
        assert cause.kind == "unknown"

    def test_of_the_numpy_hook(self, logdir, monkeypatch):
        monkeypatch.setattr(internals, "_eager_classes", lambda: ())
        w = tf.Variable([1.0])
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape() as tape:
                y = (w * 2.0).numpy()
                loss = tf.reduce_sum(tf.constant(y))
            assert tape.gradient(loss, [w]) == [None]
        (run,) = gs.load(logdir).runs.values()
        assert run.losses[0].causes[0].kind in ("blocked", "unused")

    def test_of_the_constant_hook(self, logdir, monkeypatch):
        """Constants are not told from tensors of other threads: then none is said to be one."""
        monkeypatch.setattr(internals, "_constant_owner", lambda: None)
        w = tf.Variable([1.0])
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape() as tape:
                loss = tf.reduce_sum(tf.constant([1.0]))
            assert tape.gradient(loss, [w]) == [None]
        (run,) = gs.load(logdir).runs.values()
        assert run.losses[0].causes[0].kind == "unused"

    def test_all_of_them_are_there(self):
        """In the TensorFlow that is installed. Fails where one has moved."""
        graph = tf.__internal__.FuncGraph("f")
        assert internals.function_graph(graph, "nothing") is None
        assert internals.gradient_function("StopGradient") == (True, None)
        assert internals.gradient_function("MatMul")[1] is not None
        assert internals.gradient_function("NoSuchOperation") == (False, None)
        for hook in (
            internals.on_numpy,
            internals.on_dlpack,
            internals.on_read,
            internals.on_constant,
        ):
            with hook(lambda tensor: None) as is_there:
                assert is_there
        one, other = tf.constant(1.0), tf.constant(1.0)
        assert internals.eager_key(one) < internals.eager_key(other)
        assert observing._here.observer is None
