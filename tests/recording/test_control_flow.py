"""Tapes in branches, loops and functions: the same weights as with TensorFlow, and true records."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs

X = tf.random.stateless_normal([5, 3], [4, 2])


class Program:
    """A small model and the step that trains it, written with one kind of tape or the other."""

    def __init__(self, tape):
        self.tape = tape
        self.w = tf.Variable(tf.random.stateless_normal([3, 2], [1, 2]), name="w")
        self.b = tf.Variable([0.1, 0.2], name="b")

    def update(self, gradient_of_w, gradient_of_b):
        self.w.assign_sub(0.1 * gradient_of_w)
        self.b.assign_sub(0.1 * gradient_of_b)

    def plain(self, x):
        with self.tape() as tape:
            loss = tf.reduce_mean(tf.tanh(x @ self.w + self.b) ** 2)
        self.update(*tape.gradient(loss, [self.w, self.b]))


class InABranch(Program):
    """As with a generator that is trained every second step only."""

    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step(number, x):
            self.plain(x)
            if number % 2 == 0:
                with self.tape() as tape:
                    rare = tf.reduce_sum(self.w**2)
                self.w.assign_sub(0.1 * tape.gradient(rare, self.w))
            else:
                with self.tape() as tape:
                    other = tf.reduce_sum(tf.sin(self.b))
                self.b.assign_sub(0.1 * tape.gradient(other, self.b))

        for number in range(5):
            step(tf.constant(number), X)

    steps: ClassVar = {"loss": [0, 1, 2, 3, 4], "rare": [0, 1, 2], "other": [0, 1]}


class AroundABranch(Program):
    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step(number, x):
            with self.tape() as tape:
                if number % 2 == 0:
                    hidden = tf.tanh(x @ self.w)
                else:
                    hidden = tf.sin(x @ self.w + self.b)
                loss = tf.reduce_sum(hidden)
            self.update(*tape.gradient(loss, [self.w, self.b], unconnected_gradients="zero"))

        for number in range(4):
            step(tf.constant(number), X)

    steps: ClassVar = {"loss": [0, 1, 2, 3]}


class AskedInABranch(Program):
    """The tape is entered outside of the branch that asks it."""

    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step(number, x):
            with self.tape() as tape:
                loss = tf.reduce_mean(tf.tanh(x @ self.w + self.b))
            if number % 2 == 0:
                self.update(*tape.gradient(loss, [self.w, self.b]))

        for number in range(5):
            step(tf.constant(number), X)

    steps: ClassVar = {"loss": [0, 1, 2]}


class InALoop(Program):
    """A whole training inside one function."""

    def train(self, jit):
        @tf.function(jit_compile=jit)
        def loop(steps):
            for _ in tf.range(steps):
                self.plain(X)

        loop(tf.constant(3))
        loop(tf.constant(2))

    steps: ClassVar = {"loss": [0, 1, 2, 3, 4]}


class InAWhileLoop(Program):
    def train(self, jit):
        @tf.function(jit_compile=jit)
        def loop():
            def body(number):
                self.plain(X * tf.cast(number, tf.float32))
                return number + 1

            tf.while_loop(lambda number: number < 4, body, [tf.constant(0)])

        loop()

    steps: ClassVar = {"loss": [0, 1, 2, 3]}


class UntilABreak(Program):
    def train(self, jit):
        @tf.function(jit_compile=jit)
        def loop():
            number = tf.constant(0)
            while number < 100:
                if number == 3:
                    break
                self.plain(X)
                number += 1

        loop()

    steps: ClassVar = {"loss": [0, 1, 2]}


class OverADataset(Program):
    """`for batch in dataset` inside a function, with a last batch that is smaller."""

    def train(self, jit):
        data = tf.data.Dataset.from_tensor_slices(X).batch(2)

        @tf.function
        def epoch():
            for batch in data:
                self.plain(batch)

        for _ in range(2):
            epoch()

    steps: ClassVar = {"loss": [0, 1, 2, 3, 4, 5]}


class InMapFn(Program):
    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step():
            def one(x):
                with self.tape() as tape:
                    loss = tf.reduce_sum(tf.tanh(x[None] @ self.w))
                return tape.gradient(loss, self.w)

            gradients = tf.map_fn(one, X, parallel_iterations=1)
            self.w.assign_sub(0.1 * tf.reduce_mean(gradients, 0))

        for _ in range(2):
            step()

    steps: ClassVar = {"loss": list(range(10))}


class ThroughLoops(Program):
    """The loss is computed by loops."""

    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step():
            with self.tape() as tape:
                rows = tf.map_fn(lambda x: tf.sin(x[None] @ self.w), X)
                running = tf.scan(lambda a, x: a + x, rows)
                _, loss = tf.while_loop(
                    lambda i, _: i < 3,
                    lambda i, total: (i + 1, total * tf.reduce_mean(self.w) + total),
                    [0, tf.reduce_sum(running)],
                    maximum_iterations=3,
                )
            self.w.assign_sub(0.001 * tape.gradient(loss, self.w))

        for _ in range(3):
            step()

    steps: ClassVar = {"loss": [0, 1, 2]}


class NestedFunctions(Program):
    """The tape in an inner function, and another around a call of an inner function."""

    def train(self, jit):
        @tf.function
        def forward(x):
            return tf.tanh(x @ self.w + self.b)

        @tf.function
        def inner(x):
            with self.tape() as tape:
                inner_loss = tf.reduce_sum(forward(x))
            self.update(*tape.gradient(inner_loss, [self.w, self.b]))

        @tf.function(jit_compile=jit)
        def outer(x):
            inner(x)
            with self.tape() as tape:
                loss = tf.reduce_sum(forward(x) ** 2)
            self.update(*tape.gradient(loss, [self.w, self.b]))
            inner(2 * x)

        for _ in range(2):
            outer(X)

    # One function, called twice in a step: one loss.
    steps: ClassVar = {"inner_loss": [0, 1, 2, 3], "loss": [0, 1]}


class Retraced(Program):
    def train(self, jit):
        step = tf.function(self.plain, jit_compile=jit)
        for size in (5, 3, 5, 1, 3):
            step(X[:size])
        assert step.experimental_get_tracing_count() == 3

    steps: ClassVar = {"loss": [0, 1, 2, 3, 4]}


class OfAnyShape(Program):
    def train(self, jit):
        step = tf.function(self.plain, input_signature=[tf.TensorSpec([None, 3])], jit_compile=jit)
        for size in (5, 3, 5):
            step(X[:size])
        assert step.experimental_get_tracing_count() == 1

    steps: ClassVar = {"loss": [0, 1, 2]}


class Switched(Program):
    def train(self, jit):
        @tf.function(jit_compile=jit)
        def step(number):
            def of(factor):
                def branch():
                    self.plain(X * factor)
                    return 0

                return branch

            tf.switch_case(number, [of(1.0), of(2.0), of(3.0)])

        for number in (0, 1, 2, 1):
            step(tf.constant(number))

    # One line of one helper: one loss.
    steps: ClassVar = {"loss": [0, 1, 2, 3]}


class InEagerCode(Program):
    """`tf.py_function` leads from a graph back into eager code."""

    def train(self, jit):
        @tf.function
        def step(x):
            tf.py_function(lambda x: self.plain(x), [x], [])

        for _ in range(3):
            step(X)

    steps: ClassVar = {"loss": [0, 1, 2]}


class Sums(Program):
    """Parts of a sum, in a loop and in a branch."""

    def train(self, jit):
        @tf.function(jit_compile=jit)
        def loop():
            for number in tf.range(4):
                if number % 2 == 0:
                    with self.tape() as tape:
                        fit = tf.reduce_mean(tf.tanh(X @ self.w + self.b) ** 2)
                        size = tf.reduce_sum(self.w**2)
                    terms = {"fit": fit, "size": size}
                    self.update(*tape.gradient(terms, [self.w, self.b]))

        loop()

    steps: ClassVar = {"terms": [0, 1], "fit": [0, 1], "size": [0, 1]}


PROGRAMS = [
    InABranch, AroundABranch, AskedInABranch, InALoop, InAWhileLoop, UntilABreak, OverADataset,
    InMapFn, ThroughLoops, NestedFunctions, Retraced, OfAnyShape, Switched, InEagerCode, Sums,
]  # fmt: skip
COMPILED = [InABranch, InALoop, Sums]


def assert_recorded_and_identical(program, jit, recorded):
    ours, theirs = program(gs.GradientTape), program(tf.GradientTape)
    ours.train(jit)
    theirs.train(jit)
    np.testing.assert_array_equal(ours.w.numpy(), theirs.w.numpy())
    np.testing.assert_array_equal(ours.b.numpy(), theirs.b.numpy())
    assert {loss.name: loss.steps.tolist() for loss in recorded().losses} == program.steps


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_in_a_function(program, recorded):
    assert_recorded_and_identical(program, False, recorded)


@pytest.mark.parametrize("program", COMPILED, ids=lambda program: program.__name__)
def test_compiled(program, recorded):
    assert_recorded_and_identical(program, True, recorded)


def test_cosines_within_a_loop(recorded):
    program = Program(gs.GradientTape)

    @tf.function
    def loop():
        for _ in tf.range(3):
            with gs.GradientTape(persistent=True) as tape:
                one, two = tf.reduce_sum(program.w), -tf.reduce_sum(program.w)
            a, b = tape.gradient(one, program.w), tape.gradient(two, program.w)
            program.w.assign_sub(a + b)

    loop()
    (cosine,) = recorded().cosines
    np.testing.assert_allclose(cosine.cosines, [[-1]] * 3, rtol=1e-6)


def test_the_loop_is_not_waited_for(recorder, recorded):
    """What a training inside one function records is on disk while it still runs."""
    program, found = Program(gs.GradientTape), []

    @tf.function
    def loop():
        for number in tf.range(4):
            program.plain(X)
            if number == 3:
                tf.py_function(look, [], [])

    def look():
        found.extend(loss.steps.tolist()[:3] for loss in recorded().losses)

    loop()
    # The last is recorded at the same time as it is looked for.
    assert found == [[0, 1, 2]]
