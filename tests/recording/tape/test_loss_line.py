"""Where a loss is computed: what a NaN in it leads to."""

from __future__ import annotations

import inspect

import pytest
import tensorflow as tf

import tb_gradscope as gs


def entropy(p):
    return -tf.reduce_mean(p * tf.math.log(p))  # in a helper


def plain(tape, x, v):
    with tape:
        loss = entropy(x * v)
    tape.gradient(loss, v)


def in_parts(tape, x, v):
    with tape:
        first = entropy(x * v)
        second = tf.reduce_mean((x * v) ** 2)  # second
    tape.gradient({"first": first, "second": second}, v)


@pytest.fixture
def losses(tmp_path):
    """A function that runs a step and returns its losses by name."""

    def run(step, compiled=True):
        v = tf.Variable(1.0)

        def train_step(x):
            step(gs.GradientTape(), x, v)

        function = tf.function(train_step) if compiled else train_step
        with gs.record(tmp_path, on_error="raise"):
            function(tf.constant([1.0, 2.0]))
        (found,) = gs.load(tmp_path).runs.values()
        return {loss.name: loss for loss in found.losses}

    return run


def line_of(function, comment):
    lines, start = inspect.getsourcelines(function)
    (line,) = [start + i for i, text in enumerate(lines) if text.rstrip().endswith(comment)]
    return line


def test_the_users_last_line_that_computes_it(losses):
    found = losses(plain)["loss"].computed
    assert (found.file, found.line) == (__file__, line_of(entropy, "# in a helper"))
    assert found.code == "return -tf.reduce_mean(p * tf.math.log(p))  # in a helper"


def test_parts_of_a_sum_have_lines_of_their_own(losses):
    found = losses(in_parts)
    assert found["first"].computed.line == line_of(entropy, "# in a helper")
    assert found["second"].computed.line == line_of(in_parts, "# second")
    (total,) = [loss for name, loss in found.items() if name not in ("first", "second")]
    assert total.computed is None


def test_it_is_not_known_in_eager_code(losses):
    assert losses(plain, compiled=False)["loss"].computed is None
