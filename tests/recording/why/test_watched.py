"""What a tape watched and nobody asks for is told; what another call asks for is not."""

from __future__ import annotations

import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.diagnose.judge import findings


def unrequested(logdir):
    (run,) = gs.load(logdir).runs.values()
    return {variable.name for loss in run.losses for variable in loss.unrequested}


def train(logdir, step, wrap=lambda step: step, steps=2):
    with gs.record(logdir, every=1, on_error="raise"):
        step = wrap(step)
        for _ in range(steps):
            step()
    return unrequested(logdir)


def test_a_variable_left_out(logdir):
    w, forgotten = tf.Variable([1.0]), tf.Variable([2.0])

    def step():
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(w * forgotten)
        tape.gradient(loss, [w])

    assert train(logdir / "eager", step) == {"forgotten"}
    assert train(logdir / "graph", step, tf.function) == {"forgotten"}


def test_two_tapes_that_ask_for_one_another(logdir):
    generator, critic = tf.Variable([[1.0]]), tf.Variable([[2.0]])

    def step():
        with gs.GradientTape() as g_tape, gs.GradientTape() as c_tape:
            fake = tf.matmul([[1.0]], generator)
            g_loss = -tf.reduce_sum(tf.matmul(fake, critic))
            c_loss = tf.reduce_sum(tf.matmul(fake, critic) ** 2)
        g_tape.gradient(g_loss, [generator])
        c_tape.gradient(c_loss, [critic])

    assert train(logdir / "eager", step) == set()
    assert train(logdir / "graph", step, tf.function) == set()


def test_a_layer_made_inside_of_call(logdir):
    import keras

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(1)
            self.kept = {"hidden": None}

        def call(self, x):
            if self.kept["hidden"] is None:
                object.__setattr__(self, "secret", keras.layers.Dense(2, name="secret"))
                self.kept["hidden"] = True
            return self.out(self.secret(x))

    model = Model()
    model(tf.ones([1, 2]))

    def step():
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(model(tf.ones([1, 2])))
        tape.gradient(loss, model.out.trainable_variables)

    found = train(logdir, step)
    assert {name.partition("/")[2] for name in found} == {"secret/kernel", "secret/bias"}


def test_frozen_layers_are_left_out_on_purpose(logdir):
    import keras

    frozen, head = keras.layers.Dense(2), keras.layers.Dense(1)
    model = keras.Sequential([frozen, head])
    model(tf.ones([1, 2]))
    frozen.trainable = False

    def step():
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(model(tf.ones([1, 2])))
        tape.gradient(loss, model.trainable_variables)

    assert train(logdir / "eager", step) == set()
    assert train(logdir / "graph", step, tf.function) == set()


def test_a_step_cut_short_tells_nothing(logdir):
    a, b = tf.Variable([1.0]), tf.Variable([2.0])

    try:
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape(persistent=True) as tape:
                loss = tf.reduce_sum(a * b)
            tape.gradient(loss, [a])
            raise RuntimeError("before b is asked for")
    except RuntimeError:
        pass
    assert unrequested(logdir) == set()


def test_an_empty_list_is_told_even_if_the_program_dies_of_it(logdir):
    w, forgotten = tf.Variable([1.0]), []

    try:
        with gs.record(logdir, on_error="raise"):
            with gs.GradientTape() as tape:
                loss = tf.reduce_sum(w * w)
            assert tape.gradient(loss, forgotten) == []
            raise ValueError("not enough values to unpack")
    except ValueError:
        pass
    (run,) = gs.load(logdir).runs.values()
    (finding,) = findings(run)
    assert (finding.kind, finding.severity, finding.variables) == ("unrequested", "error", ("w",))
    assert finding.where.code == "assert tape.gradient(loss, forgotten) == []"
    assert finding.message == (
        "loss asks for no gradient at all: the list of variables that gradient() is given is "
        "empty, and w does not learn."
    )


def test_an_empty_list_is_no_fault_where_another_call_asks(logdir):
    a, b = tf.Variable([1.0]), tf.Variable([2.0])

    def step():
        with gs.GradientTape(persistent=True) as tape:
            loss = tf.reduce_sum(a * b)
        tape.gradient(loss, [])
        tape.gradient(loss, [a, b])

    assert train(logdir / "eager", step) == set()
    assert train(logdir / "graph", step, tf.function) == set()
