"""`gs.patch()`: plain TensorFlow and Keras record, and are as before afterwards."""

from __future__ import annotations

import contextlib
import sys
import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

# Bound before anything is patched, as a program's own imports may be.
from tensorflow import GradientTape, clip_by_global_norm, clip_by_norm

import tb_gradscope as gs
from tb_gradscope.recording.patch.everything import patched_here
from tests.recording.keras import models

NAMES = ("clip_by_norm", "clip_by_value", "clip_by_global_norm")


@pytest.fixture
def patched(recorder):
    with gs.patch():
        yield


def of_tensorflow():
    return [vars(tf.GradientTape)["__init__"], *(getattr(tf, name) for name in NAMES)]


def train(tape=GradientTape):
    w = tf.Variable([3.0, 4.0], name="w")
    with tape() as t:
        loss = tf.reduce_sum(w**2)
    return t.gradient(loss, [w]), w


def losses(run):
    return [loss.name for loss in run.losses]


def where(anything):
    return anything.where.file, anything.where.code


# ---- Tapes


def test_a_plain_tape_records(patched, recorded):
    w, unused = tf.Variable([3.0, 4.0]), tf.Variable(1.0)
    with GradientTape() as tape:
        loss = tf.reduce_sum(w**2)
    tape.gradient(loss, [w, unused])  # this line
    run = recorded()
    assert losses(run) == ["loss"]
    assert [variable.name for variable in run.variables] == ["w", "unused"]
    code = "tape.gradient(loss, [w, unused])  # this line"
    assert where(run.losses[0]) == (__file__, code)


def test_in_a_function(patched, recorded):
    w = tf.Variable([3.0, 4.0])

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            energy = tf.reduce_sum(w**2)
        return tape.gradient(energy, w)  # that line

    for _ in range(3):
        step()
    (loss,) = recorded().losses
    assert (loss.name, len(loss.steps)) == ("energy", 3)
    assert where(loss) == (__file__, "return tape.gradient(energy, w)  # that line")
    assert step.experimental_get_tracing_count() == 1


def test_a_tape_of_the_programs_own_class(patched, recorded):
    class Tape(tf.GradientTape):
        """Doubles gradients."""

        def gradient(self, target, sources, **more):
            return [2 * gradient for gradient in super().gradient(target, sources, **more)]

    gradients, _ = train(Tape)
    np.testing.assert_array_equal(gradients[0], [12.0, 16.0])
    with Tape() as tape:
        assert (type(tape).__name__, isinstance(tape, Tape)) == ("Tape", True)
    assert len(recorded().losses) == 1


def test_our_own_tape_records_once(patched, recorded):
    train(gs.GradientTape)
    (loss,) = recorded().losses
    assert loss.calls[-1] == 1


def test_tapes_of_tensorflow_itself_are_nobodys_losses(patched, recorded):
    w = tf.Variable([3.0, 4.0], name="w")
    with tf.GradientTape(persistent=True) as tape:
        square = tf.py_function(lambda x: x**2, [w], tf.float32)
        loss = tf.reduce_sum(tf.recompute_grad(tf.sin)(square))
    tape.jacobian(w**2, w)
    np.testing.assert_allclose(tape.gradient(loss, w), 2 * w * tf.cos(w**2), rtol=1e-6)
    assert losses(recorded()) == ["loss"]


def test_errors_are_those_of_tensorflow(patched):
    with pytest.raises(TypeError, match=r"__init__\(\) got an unexpected keyword argument 'pers'"):
        tf.GradientTape(pers=True)


def test_traced_functions_go_on(tmp_path):
    made = []

    @tf.function
    def step():
        if not made:
            made.append(tf.Variable([3.0, 4.0], name="w"))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(made[0] ** 2)
        return tape.gradient(loss, made)

    with gs.record(tmp_path, every=1, on_error="raise"):
        with gs.patch():
            step()
        step()
        train()  # this tape is a plain one again
    (run,) = gs.load(tmp_path).runs.values()
    assert [(loss.name, len(loss.steps)) for loss in run.losses] == [("loss", 2)]


# ---- Clipping


def test_clip_functions_that_a_module_has_imported_before(patched, recorded):
    gradients, _ = train()
    clip_by_global_norm(gradients, 5.0)
    tf.clip_by_value(gradients[0], -1.0, 1.0)
    clip_by_norm(gradients[0], 5.0)  # this line
    clips = recorded().clips
    assert [clip.method for clip in clips] == ["global_norm", "value", "norm"]
    assert [clip.variables for clip in clips] == [("w",)] * 3
    assert where(clips[2]) == (__file__, "clip_by_norm(gradients[0], 5.0)  # this line")


def test_what_is_no_gradient_may_be_clipped_too(patched, recorded):
    gradients, w = train()
    tf.clip_by_value(w, -1.0, 1.0)
    tf.clip_by_norm(tf.constant([3.0, 4.0]), 1.0)
    tf.clip_by_norm(t=gradients[0], clip_norm=1.0)
    assert [clip.method for clip in recorded().clips] == ["norm"]


def test_our_own_clip_function_records_once(patched, recorded):
    gradients, _ = train()
    gs.clip_by_norm(gradients[0], 1.0)
    (clip,) = recorded().clips
    assert clip.calls[-1] == 1


def test_errors_of_clipping_are_those_of_tensorflow(patched):
    with pytest.raises(TypeError, match="`t_list` should be a sequence of tensors"):
        tf.clip_by_global_norm(tf.constant(1.0), 1.0)
    with pytest.raises(TypeError, match="Missing required positional argument"):
        tf.clip_by_norm(tf.constant(1.0))


# ---- Keras


def model(**compiled):
    keras.utils.set_random_seed(1)
    layers = [keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(1)]
    made = keras.Sequential(layers, name="net")
    made.compile(keras.optimizers.SGD(clipnorm=0.01), "mse", **compiled)
    return made


DATA = {"x": np.ones((8, 3)), "y": np.ones((8, 1)), "batch_size": 4, "verbose": 0}


@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}], ids=str)
def test_fit(patched, recorded, how):
    net = model(**how)
    net.fit(**DATA)
    net.fit(**DATA)  # the step is the same one
    run = recorded()
    assert [(loss.name, len(loss.steps)) for loss in run.losses] == [("loss", 4)]
    assert [variable.name for variable in run.variables] == [
        variable.path for variable in net.trainable_variables
    ]
    assert where(run.losses[0]) == (__file__, "net.fit(**DATA)")


@pytest.mark.parametrize("how", [{}, {"run_eagerly": True}], ids=str)
def test_fit_with_several_losses(recorder, recorded, how):
    x, y = models.data(2)

    def fit():
        net = models.two_outputs(**how)
        net.fit(x, y, batch_size=models.BATCH, verbose=0)
        return models.bits(net)

    plain = fit()
    with gs.patch():
        assert fit() == plain
    assert fit() == plain
    run = recorded()
    parts = {(loss.name, loss.part_of, len(loss.steps)) for loss in run.losses}
    names = "a_loss", "b_loss", "regularization"
    assert parts == {("loss", "", 3), *((name, "loss", 3) for name in names)}
    assert len(run.optimizers) == 1


def test_a_train_step_of_the_programs_own(patched, recorded):
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = model()

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                distance = tf.reduce_mean((self.net(x) - y) ** 2)
            gradients = tape.gradient(distance, self.trainable_variables)  # mine
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"distance": distance}

    mine = Mine()
    mine.compile("sgd")
    mine.fit(**DATA)
    (loss,) = recorded().losses
    line = "gradients = tape.gradient(distance, self.trainable_variables)  # mine"
    assert (loss.name, *where(loss)) == ("distance", __file__, line)


# ---- Keras' optimizers


def applied(optimizer, apply):
    """Three steps of an optimizer, eagerly."""
    v = keras.Variable([3.0, 4.0], name="v")
    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(v**2)
        apply(optimizer, tape.gradient(loss, [v]), [v])
    return v.numpy().tolist()


APPLY = {
    "apply_gradients": lambda optimizer, g, v: optimizer.apply_gradients(zip(g, v, strict=True)),
    "apply": lambda optimizer, g, v: optimizer.apply(g, v),
}


@pytest.mark.parametrize("apply", APPLY.values(), ids=APPLY)
def test_an_optimizer_is_watched_from_its_first_step_on(patched, recorded, apply):
    applied(keras.optimizers.SGD(0.1, clipnorm=1.0), apply)
    run = recorded()
    (optimizer,) = run.optimizers
    assert optimizer.steps.tolist() == [0, 1, 2]
    np.testing.assert_allclose(optimizer.update_norms[:, 0], 0.1, rtol=1e-5)
    assert [clip.method for clip in run.clips] == ["norm"]


def test_the_optimizer_of_fit(patched, recorded):
    net = model()
    net.fit(**DATA)
    run = recorded()
    (optimizer,) = run.optimizers
    assert (optimizer.class_name, len(optimizer.steps)) == ("SGD", 2)
    assert where(optimizer) == (__file__, "net.fit(**DATA)")
    assert [clip.method for clip in run.clips] == ["norm"]


def test_an_optimizer_and_the_one_inside_are_one(patched, recorded):
    inner = keras.optimizers.SGD(0.1)
    applied(keras.optimizers.LossScaleOptimizer(inner), APPLY["apply_gradients"])
    assert len(recorded().optimizers) == 1


def test_an_optimizer_of_the_programs_own_class_runs_once(patched, recorded):
    class Halving(keras.optimizers.SGD):
        calls = 0

        def apply(self, grads, trainable_variables=None):
            self.calls += 1
            return super().apply([grad / 2 for grad in grads], trainable_variables)

    optimizer = Halving(0.1)
    plain = applied(keras.optimizers.SGD(0.05), APPLY["apply"])
    assert applied(optimizer, APPLY["apply"]) == plain
    assert optimizer.calls == 3


def test_keras_is_put_back(recorder):
    with gs.patch():
        applied(keras.optimizers.SGD(0.1), APPLY["apply"])
    for cls in keras.optimizers.SGD.__mro__:
        for name in ("scale_loss", "apply_gradients", "apply"):
            assert not hasattr(vars(cls).get(name), "__wrapped__")
    assert not hasattr(keras.Model.train_step, "__wrapped__")


# ---- Coming and going


def test_everything_is_put_back(monkeypatch):
    before = of_tensorflow()
    tape = tf.GradientTape
    late = types.ModuleType("imported_meanwhile")
    monkeypatch.setitem(sys.modules, late.__name__, late)
    with contextlib.suppress(ZeroDivisionError), gs.patch():
        assert tf.GradientTape is tape
        assert not any(a is b for a, b in zip(of_tensorflow(), before, strict=True))
        exec("from tensorflow import clip_by_norm", vars(late))
        raise ZeroDivisionError
    assert all(a is b for a, b in zip(of_tensorflow(), before, strict=True))
    assert late.clip_by_norm is clip_by_norm is before[1]
    with tf.GradientTape() as plain:
        assert type(plain) is tf.GradientTape


def test_it_may_be_entered_again():
    before = of_tensorflow()
    once = gs.patch()
    with once, once:
        with gs.patch():
            pass
        assert tf.clip_by_norm is not before[1]
        with tf.GradientTape() as tape:
            assert isinstance(tape, gs.GradientTape)
    assert all(a is b for a, b in zip(of_tensorflow(), before, strict=True))


def test_what_others_have_put_over_it_stays(recorder, recorded, monkeypatch):
    monkeypatch.setattr(tf.GradientTape, "__init__", tf.GradientTape.__init__)
    with gs.patch():
        below = tf.GradientTape.__init__

        def theirs(self, *args, **kwargs):
            below(self, *args, **kwargs)

        tf.GradientTape.__init__ = theirs
    assert tf.GradientTape.__init__ is theirs
    train()
    assert not recorder.has_recorded
    with gs.patch():
        train()
    assert losses(recorded()) == ["loss"]


def in_a_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def test_in_all_threads(patched, recorded):
    in_a_thread(train)
    assert losses(recorded()) == ["loss"]


def test_threads_come_and_go():
    before = of_tensorflow()
    errors = []

    def enter_and_leave():
        try:
            for _ in range(5):
                with gs.patch(), tf.GradientTape() as tape:
                    assert isinstance(tape, gs.GradientTape)
        except AssertionError as error:
            errors.append(error)

    threads = [threading.Thread(target=enter_and_leave) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(a is b for a, b in zip(of_tensorflow(), before, strict=True))


def train_and_clip():
    gradients, _ = train()
    clip_by_norm(gradients[0], 1.0)


def test_one_place_only(recorder, recorded):
    before = of_tensorflow()
    for _ in range(2):
        with patched_here():
            in_a_thread(train_and_clip)
            train_and_clip()
        train_and_clip()
    run = recorded()
    assert [(loss.name, len(loss.steps)) for loss in run.losses] == [("loss", 2)]
    assert [(clip.method, len(clip.steps)) for clip in run.clips] == [("norm", 2)]
    assert all(a is b for a, b in zip(of_tensorflow(), before, strict=True))
