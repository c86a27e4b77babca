"""What an eager loss is computed from elsewhere: in another thread, or by another library."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.diagnose.judge import findings

X = np.ones((4, 3), np.float32)


@pytest.fixture
def elsewhere():
    """Calls a function in another thread, and returns what it returns."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda function, *given: pool.submit(function, *given).result()


@pytest.fixture
def cause_of(logdir):
    """Asks for the gradient of a loss, computed under a tape, and returns why `w` has none."""

    def ask(forward):
        w, scale = tf.Variable(tf.ones([3, 1])), tf.Variable(2.0)
        with gs.record(logdir, every=1, on_error="raise"):
            with gs.GradientTape() as tape:
                loss = forward(w, scale)
            assert tape.gradient(loss, [w, scale])[0] is None
        (run,) = gs.load(logdir).runs.values()
        found = {run.variables[p].name: c for c in run.losses[0].causes for p in c.variables}
        return found["w"]

    return ask


def by_queue():
    q = queue.Queue()

    def hand_on(w):
        q.put(tf.matmul(X, w).numpy())  # <--

    return hand_on, q.get


def by_queue_under_a_name():
    q = queue.Queue()

    def hand_on(w):
        value = tf.matmul(X, w).numpy()  # <--
        halved = value / 2
        q.put(item=halved)

    return hand_on, q.get


def by_list():
    out = []

    def hand_on(w):
        out.append(tf.matmul(X, w).numpy())  # <--

    return hand_on, out.pop


def by_subscript():
    box = {}

    def hand_on(w):
        box["x"] = tf.matmul(X, w).numpy()  # <--

    return hand_on, lambda: box["x"]


def by_adding_to_a_subscript():
    totals = [0.0]

    def hand_on(w):
        totals[0] += float(tf.norm(w + 0.0))  # <--

    return hand_on, lambda: totals[0]


def by_adding_to_an_attribute():
    total = types.SimpleNamespace(value=0.0)

    def hand_on(w):
        total.value += float(tf.norm(w + 0.0))  # <--

    return hand_on, lambda: total.value


def by_annotated_attribute():
    box = types.SimpleNamespace()

    def hand_on(w):
        box.value: float = float(tf.norm(w + 0.0))  # <--

    return hand_on, lambda: box.value


def by_outer_name():
    latest = None

    def hand_on(w):
        nonlocal latest
        latest = tf.matmul(X, w).numpy()  # <--

    return hand_on, lambda: latest


def by_generator():
    taken = []

    def numbers(w):
        yield tf.matmul(X, w).numpy()  # <--

    return lambda w: taken.extend(numbers(w)), taken.pop


def by_lambda():
    out = []

    def hand_on(w):
        thread = threading.Thread(target=lambda: out.append(tf.norm(w + 0.0).numpy()))  # <--
        thread.start()
        thread.join()

    return hand_on, out.pop


WAYS = {
    way.__name__: way
    for way in (
        by_queue,
        by_queue_under_a_name,
        by_list,
        by_subscript,
        by_adding_to_a_subscript,
        by_adding_to_an_attribute,
        by_annotated_attribute,
        by_outer_name,
        by_generator,
        by_lambda,
    )
}


class TestOfAnotherThread:
    """Whether such a tensor depends on the variable is not known, so nothing is claimed."""

    def test_a_tensor(self, cause_of, elsewhere):
        cause = cause_of(
            lambda w, scale: tf.reduce_mean(elsewhere(tf.matmul, X, w)) * scale  # <--
        )
        assert (cause.kind, cause.detail) == ("unknown", "foreign")
        assert "# <--" in cause.where.code

    def test_the_loss_itself(self, cause_of, elsewhere):
        cause = cause_of(lambda w, scale: elsewhere(tf.reduce_mean, w))
        assert (cause.kind, cause.detail) == ("unknown", "foreign")

    def test_a_tensor_of_a_function(self, cause_of, elsewhere):
        def forward(w, scale):
            return scale * tf.add_n(elsewhere(tf.function(lambda: [tf.reduce_sum(w)])))

        assert cause_of(forward).detail == "foreign"

    def test_part_of_the_way(self, cause_of, elsewhere):
        cause = cause_of(lambda w, scale: scale * tf.norm(elsewhere(tf.nn.relu, tf.matmul(X, w))))
        assert cause.detail == "foreign"

    def test_an_array(self, cause_of, elsewhere):
        def predicted(w):
            return tf.matmul(X, w).numpy()

        cause = cause_of(lambda w, scale: tf.reduce_mean(elsewhere(predicted, w)) * scale)
        assert (cause.kind, cause.detail) == ("unknown", "left_elsewhere")
        assert cause.where.code == "return tf.matmul(X, w).numpy()"

    def test_an_array_of_what_this_one_computed(self, cause_of):
        class Halved(threading.Thread):
            def __init__(self, tensor):
                super().__init__()
                self.tensor = tensor

            def run(self):
                values = self.tensor.numpy()
                self.result = values / 2

        def forward(w, scale):
            thread = Halved(tf.matmul(X, w))
            thread.start()
            thread.join()
            return tf.reduce_mean(thread.result) * scale

        cause = cause_of(forward)
        assert (cause.kind, cause.detail) == ("unknown", "left_elsewhere")
        assert cause.where.code == "values = self.tensor.numpy()"

    @pytest.mark.parametrize("way", WAYS)
    def test_a_number_that_is_handed_on(self, cause_of, elsewhere, way):
        hand_on, taken = WAYS[way]()

        def forward(w, scale):
            elsewhere(hand_on, w)
            return tf.reduce_mean(taken()) * scale

        cause = cause_of(forward)
        assert (cause.kind, cause.detail) == ("unknown", "left_elsewhere")
        assert "# <--" in cause.where.code

    def test_it_is_said_in_a_sentence(self, cause_of, elsewhere, logdir):
        cause_of(lambda w, scale: tf.reduce_mean(elsewhere(tf.matmul, X, w)) * scale)
        (run,) = gs.load(logdir).runs.values()
        (finding,) = findings(run)
        assert finding.cause == "unknown"
        assert "that no operation seen in the tape's thread made" in finding.message
        assert "in the thread of the tape" in finding.advice


def test_there_and_back_by_dlpack(cause_of):
    def forward(w, scale):
        there = tf.experimental.dlpack.to_dlpack(tf.matmul(X, w))
        back = tf.experimental.dlpack.from_dlpack(there)
        return tf.reduce_mean(back) * scale

    cause = cause_of(forward)
    assert (cause.kind, cause.detail) == ("blocked", "left_tensorflow")
    assert "to_dlpack" in cause.where.code


class TestNothingForeign:
    """What takes no part is still said to take none."""

    def test_constants(self, cause_of):
        def forward(w, scale):
            data = tf.constant(X) + tf.convert_to_tensor(X) + X + tf.cast(1, tf.float32)
            return tf.reduce_mean(data**2 / 3.0 - tf.zeros_like(data)) * scale

        assert cause_of(forward).kind == "unused"

    def test_a_constant_of_another_thread(self, cause_of, elsewhere):
        cause = cause_of(lambda w, scale: tf.reduce_mean(elsewhere(tf.constant, X)) * scale)
        assert cause.kind == "unused"

    def test_an_array_that_another_thread_loads(self, cause_of, elsewhere):
        def load():
            return (tf.constant(X) / 255.0).numpy()

        cause = cause_of(lambda w, scale: tf.reduce_mean(elsewhere(load)) * scale)
        assert cause.kind == "unused"

    def test_a_number_that_another_thread_logs(self, cause_of, elsewhere, caplog, capsys):
        def log(w):
            norm = tf.norm(w + 0.0).numpy()
            logging.getLogger("program").error("norm: %s", norm)
            sys.stdout.write(f"{norm}")
            print(tf.norm(w + 0.0).numpy())

        def forward(w, scale):
            elsewhere(log, w)
            elsewhere(lambda: print(tf.norm(w + 0.0).numpy()))
            return tf.reduce_mean(X) * scale

        assert cause_of(forward).kind == "unused"
        assert "norm: 1.7" in caplog.text
        assert capsys.readouterr().out.count("1.7") == 3

    def test_a_number_that_another_thread_drops(self, cause_of, elsewhere):
        def drop(w):
            value = tf.norm(w + 0.0)
            value.numpy()
            others = [1]
            others.append(2)

        def forward(w, scale):
            elsewhere(drop, w)
            return tf.reduce_mean(X) * scale

        assert cause_of(forward).kind == "unused"

    def test_gradients_jacobians_and_tangents(self, cause_of):
        def forward(w, scale):
            x = tf.constant(X)
            with (
                tf.GradientTape(persistent=True) as inner,
                tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)) as forwards,
            ):
                inner.watch(x)
                y = tf.nn.relu(x) * tf.gather(x, [1, 2, 0, 0]) + x
            penalty = tf.norm(inner.gradient(y, x)) + tf.norm(inner.jacobian(y, x))
            return (penalty + tf.norm(forwards.jvp(y))) * scale

        assert cause_of(forward).kind == "unused"

    def test_data_and_functions(self, cause_of):
        def forward(w, scale):
            (data,) = tf.data.Dataset.from_tensors(X).map(lambda x: x * 2.0).prefetch(1)
            mapped = tf.map_fn(lambda x: x + 1.0, data)
            of_python = tf.numpy_function(lambda x: x, [data], tf.float32)
            random = tf.random.Generator.from_seed(1).normal([3])
            called = tf.function(lambda x: [x, x + 1.0])(random)
            return tf.norm(mapped + of_python + called[1]) * scale

        assert cause_of(forward).kind == "unused"
