"""The cause is on disk before the program can fail on the None."""

from __future__ import annotations

import pytest
import tensorflow as tf

import tb_gradscope as gs


@pytest.fixture
def on_disk(logdir, recorder):
    """Reads what there is, and flushes nothing."""

    def read():
        (run,) = gs.load(logdir).runs.values()
        return run

    return read


def causes_of(run, loss=0):
    return {
        run.variables[position].name: (cause.kind, cause.op, cause.where.code)
        for cause in run.losses[loss].causes
        for position in cause.variables
    }


def test_eager(on_disk):
    w, b = tf.Variable([1.0]), tf.Variable([2.0])
    with gs.GradientTape() as tape:
        y = tf.round(w * 3.0)
        loss = tf.reduce_sum(y)
    gradients = tape.gradient(loss, [w, b])
    at_once = causes_of(on_disk())
    with pytest.raises((TypeError, ValueError)):
        sum(gradients, tf.zeros(1))
    assert at_once == {
        "w": ("blocked", "Round", "y = tf.round(w * 3.0)"),
        "b": ("unused", "", "loss = tf.reduce_sum(y)"),
    }


def test_while_a_function_is_traced(on_disk):
    w = tf.Variable([1.0])

    @tf.function
    def step():
        with gs.GradientTape() as tape:
            y = tf.round(w * 3.0)
            loss = tf.reduce_sum(y)
        (gradient,) = tape.gradient(loss, [w])
        return gradient + 1.0

    with pytest.raises((TypeError, ValueError)):
        step()
    assert causes_of(on_disk()) == {"w": ("blocked", "Round", "y = tf.round(w * 3.0)")}


def test_keras_optimizer_that_raises(on_disk):
    import keras

    dense = keras.layers.Dense(2)
    dense.build((None, 1))
    with gs.GradientTape() as tape:
        labels = tf.argmax(dense(tf.ones([3, 1])), axis=-1)
        loss = tf.reduce_mean(tf.cast(labels, tf.float32))
    gradients = tape.gradient(loss, dense.trainable_variables)
    with pytest.raises(ValueError, match="No gradients provided"):
        keras.optimizers.SGD().apply(gradients, dense.trainable_variables)
    assert {cause[:2] for cause in causes_of(on_disk()).values()} == {("blocked", "ArgMax")}


def test_all_losses_of_a_persistent_tape(on_disk):
    trunk, a, b = (tf.Variable([[1.0]]) for _ in range(3))
    with gs.GradientTape(persistent=True) as tape:
        hidden = tf.matmul([[2.0]], trunk)
        loss_a = tf.reduce_sum(tf.matmul(hidden, a))
        loss_b = tf.reduce_sum(tf.matmul(tf.floor(hidden), b))
    tape.gradient(loss_a, [trunk, a, b])
    tape.gradient(loss_b, [trunk, a, b])
    run = on_disk()
    assert {name: cause[0] for name, cause in causes_of(run, 0).items()} == {"b": "unused"}
    assert {name: cause[0] for name, cause in causes_of(run, 1).items()} == {
        "trunk": "blocked",
        "a": "unused",
    }


def test_what_an_earlier_tape_of_the_step_has_recorded(on_disk):
    w, b = tf.Variable([1.0]), tf.Variable([2.0])
    with gs.GradientTape() as first:
        shared = w * 3.0
        one = tf.reduce_sum(shared**2)
    first.gradient(one, w)
    with gs.GradientTape() as second:
        two = tf.reduce_sum(shared * b)
    assert second.gradient(two, [w, b])[0] is None
    causes = causes_of(on_disk(), 1)
    assert {name: cause[::2] for name, cause in causes.items()} == {
        "w": ("outside_tape", "shared = w * 3.0")
    }


def test_a_persistent_tape_that_is_asked_meanwhile(on_disk):
    w, rate = tf.Variable([1.0]), tf.Variable([0.1])
    with gs.GradientTape(persistent=True) as tape:
        before = tf.reduce_sum(w**2)
        slope = tape.gradient(before, w)
        w.assign_sub(rate * slope)
        after = tf.reduce_sum(w**2)
    assert tape.gradient(after, rate) is None
    (cause,) = causes_of(on_disk(), 1).values()
    assert cause[::2] == ("state", "w.assign_sub(rate * slope)")


def test_zeros_asked_for_in_place_of_none(on_disk):
    w, b = tf.Variable([1.0]), tf.Variable([2.0])
    with gs.GradientTape() as tape:
        loss = tf.reduce_sum(w * 3.0)
    tape.gradient(loss, [w, b], unconnected_gradients="zero")
    assert causes_of(on_disk()) == {"b": ("unused", "", "loss = tf.reduce_sum(w * 3.0)")}


def test_now_and_then(recorder, recorded):
    """A cut that comes back every few steps is found when it comes the second time."""
    w, dropped = tf.Variable([1.0]), tf.Variable([2.0])
    for number in range(12):
        with gs.GradientTape() as tape:
            y = w * 3.0
            if number % 5 == 4:
                y = tf.round(y)
            else:
                y = y + dropped
            loss = tf.reduce_sum(y)
        tape.gradient(loss, [w, dropped])
    assert causes_of(recorded()) == {
        "w": ("blocked", "Round", "y = tf.round(y)"),
        "dropped": ("unused", "", "loss = tf.reduce_sum(y)"),
    }


def test_once(recorder, recorded):
    """What had a gradient in other steps, and is not read in this one, is not used in it."""
    w, dropped = tf.Variable([1.0]), tf.Variable([2.0])
    for number in range(6):
        with gs.GradientTape() as tape:
            y = w * 3.0
            if number != 4:
                y = y + dropped
            loss = tf.reduce_sum(y)
        tape.gradient(loss, [w, dropped])
    (cause,) = recorded().losses[0].causes
    assert (cause.kind, cause.detail, cause.first_step) == ("unused", "not_now", 4)
