"""`gs.KerasCallback`: what `model.fit` records, and that it leaves nothing behind."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tests import versions
from tests.recording.keras import models

BATCHES = models.ROWS // models.BATCH


@pytest.fixture
def callback(tmp_path):
    return gs.KerasCallback(tmp_path, every=1, on_error="raise")


@pytest.fixture
def recorded(tmp_path):
    """A function that reads the one run there is."""

    def read():
        (name, run), *others = gs.load(tmp_path).runs.items()
        assert (name, others) == ("train", [])
        return run

    return read


def fit(model, *callbacks, **options):
    x, y = models.data(len(getattr(model, "outputs", None) or [0]))
    data = (x,) if isinstance(model, models.Gan) else (x, y)
    return model.fit(  # here fit is called
        *data,
        **{"batch_size": models.BATCH, "verbose": 0, **options},
        callbacks=list(callbacks),
    )


def steps(run):
    return {loss.name: loss.steps.tolist() for loss in run.losses}


def said(caught):
    return [str(one.message) for one in caught if one.category is gs.GradscopeWarning]


# ---- What is recorded


def test_keras_own_step_is_recorded_where_fit_is_called(callback, recorded):
    fit(models.dense(), callback)
    run = recorded()
    (loss,) = run.losses
    assert loss.name == "loss"
    assert (loss.where.file, loss.where.function) == (__file__, "fit")
    assert loss.where.code == "return model.fit(  # here fit is called"
    names = [variable.name for variable in run.variables]
    assert [name.split("/", 1)[1] for name in names] == [
        *("hidden/kernel", "hidden/bias", "out/kernel", "out/bias")
    ]
    assert np.isfinite(loss.values).all()


@pytest.mark.parametrize("tape", [tf.GradientTape, gs.GradientTape])
def test_a_step_of_the_programs_own_is_recorded_where_it_takes_gradients(tape, callback, recorded):
    fit(models.own_step(tape), callback)
    run = recorded()
    (loss,) = run.losses
    assert loss.name == "error"
    assert loss.where.file == models.__file__
    assert loss.where.code == "gradients = tape.gradient(error, self.trainable_variables)"
    (clip,) = run.clips
    assert clip.where.code == "clipped, _ = tf.clip_by_global_norm(gradients, 0.5)"
    assert loss.steps.tolist() == clip.steps.tolist() == [0, 1, 2]


def test_every_tape_of_a_step_is_recorded(callback, recorded):
    fit(models.gan(), callback)
    run = recorded()
    names = [variable.name for variable in run.variables]
    seen = {loss.name: {names[v] for v in loss.variables} for loss in run.losses}
    assert seen == {
        "d_loss": {"discriminator/logit/kernel", "discriminator/logit/bias"},
        "g_loss": {"generator/fake/kernel", "generator/fake/bias"},
    }
    assert steps(run) == {"d_loss": [0, 1, 2], "g_loss": [0, 1, 2]}


# The last step has one batch, after which an older Keras runs into the end of the data, and
# into a race: the step may be left undone.
RAGGED = versions.requires_keras((3, 10), "an older one may leave the last step undone")


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({"run_eagerly": True}, BATCHES),
        ({"steps_per_execution": 2}, 4),
        pytest.param({"steps_per_execution": 2}, BATCHES, marks=RAGGED),
        ({"jit_compile": True}, BATCHES),
    ],
    ids=["eager", "several steps", "several steps, ragged", "jit"],
)
def test_steps_are_batches_over_all_epochs(options, batches, callback, recorded):
    model = models.own_step(**{"run_eagerly": False, **options})
    fit(model, callback, epochs=2, batch_size=models.ROWS // batches)
    assert steps(recorded()) == {"error": list(range(2 * batches))}


def test_every_nth_batch(tmp_path, recorded):
    callback = gs.KerasCallback(tmp_path, every=4, on_error="raise")
    fit(models.own_step(), callback, epochs=4)
    (loss,) = recorded().losses
    assert loss.steps.tolist()[:3] == [0, 4, 8]
    assert loss.calls[-1] == loss.steps[-1] + 1


# ---- Steps go on


def test_a_second_fit_goes_on(callback, recorded):
    model = models.own_step(run_eagerly=False)
    fit(model, callback)
    fit(model)
    fit(model, callback)
    assert steps(recorded()) == {"error": [0, 1, 2, 6, 7, 8]}


def test_a_new_callback_goes_on(tmp_path, recorded):
    model = models.own_step()
    for _ in range(2):
        fit(model, gs.KerasCallback(tmp_path, every=1, on_error="raise"))
    assert steps(recorded()) == {"error": [0, 1, 2, 3, 4, 5]}


def test_a_resumed_training_goes_on_at_its_epoch(callback, recorded):
    fit(models.own_step(), callback, initial_epoch=4, epochs=5)
    assert steps(recorded()) == {"error": [12, 13, 14]}


def test_a_model_loaded_with_its_optimizer_goes_on(tmp_path, callback, recorded):
    model = models.dense()
    fit(model)
    model.save(tmp_path / "model.keras")
    fit(keras.models.load_model(tmp_path / "model.keras"), callback)
    assert steps(recorded()) == {"loss": [3, 4, 5]}


def test_another_model_begins_anew(callback, recorded):
    fit(models.own_step(), callback, epochs=2)
    fit(models.own_step(), callback)
    assert steps(recorded()) == {"error": [0, 1, 2]}


# ---- Where records go


def test_the_default_directory_is_that_of_the_tensorboard_callback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(models.own_step(), gs.KerasCallback(on_error="raise"))
    assert list(gs.load("logs").runs) == ["train"]


@pytest.mark.parametrize(
    ("update_freq", "is_first"), [("epoch", True), ("batch", False)], ids=["before", "after"]
)
def test_records_go_through_the_writer_of_a_tensorboard_callback(
    update_freq, is_first, tmp_path, recorded
):
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=update_freq)
    ours = gs.KerasCallback(every=1, on_error="raise")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = models.own_step(run_eagerly=False)
        fit(model, *([ours, board] if is_first else [board, ours]))
    assert said(caught) == []
    assert steps(recorded()) == {"error": [0, 1, 2]}
    (file,) = (tmp_path / "train").glob("events*")
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert "epoch_error" in tags


def test_a_tensorboard_callback_elsewhere_is_left_alone(tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path / "board")
    fit(models.own_step(), board, gs.KerasCallback(tmp_path / "ours", every=1, on_error="raise"))
    assert list(gs.load(tmp_path).runs) == ["ours/train"]


# ---- Nothing is left behind


class Looks(keras.callbacks.Callback):
    """Looks at the model whenever Keras asks it to."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _look(self, *args, **kwargs):
        model = self.model
        self.seen.append(
            (
                vars(model).get("train_function"),
                sorted(vars(model)),
                sorted(vars(model.optimizer)),
                tf.GradientTape.__init__,
                tf.clip_by_norm,
                keras.losses.Loss.__call__,
            )
        )

    on_train_begin = on_train_end = on_epoch_begin = on_epoch_end = _look
    on_train_batch_end = on_test_begin = _look


def test_the_model_is_its_own_outside_of_the_step(callback):
    model, first, last = models.two_outputs(), Looks(), Looks()

    def seen(*callbacks):
        fit(model, first, *callbacks, last, epochs=2, validation_data=validation)
        found = first.seen, last.seen
        first.seen, last.seen = [], []
        return found

    validation = models.data(2)
    seen()
    plain = seen()
    assert seen(callback) == plain
    assert seen() == plain


def test_a_model_is_saved_and_copied_as_ever(callback, tmp_path):
    def forms(model):
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        copies = [loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        return model.to_json(), model.get_config(), [models.bits(one) for one in copies]

    def train(*callbacks):
        found = []
        keep = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: found.append(forms(model)),
        )
        keras.backend.clear_session()
        model = models.dense()
        fit(model, keep, *callbacks, keep)
        return [*found, forms(model)]

    assert train(callback) == train()


def test_a_model_is_traced_once_more_if_it_was_trained_before(callback):
    traced = []

    class Counts(models.OwnStep):
        def train_step(self, data):
            traced.append(1)
            return super().train_step(data)

    def count(*callbacks):
        traced.clear()
        fit(model, *callbacks, epochs=2)
        return len(traced)

    model = Counts()
    model.compile("sgd")
    plain = count()
    assert [count(callback), count(), count(callback)] == [1, 0, 0]
    model = Counts()
    model.compile("sgd")
    assert [count(callback), count(callback)] == [plain, 0]


def test_a_model_compiled_anew_while_it_is_trained(callback, recorded):
    class Recompiles(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.compile(keras.optimizers.SGD(0.01))
                self.model.make_train_function()

    fit(models.own_step(run_eagerly=False), callback, Recompiles(), epochs=2)
    assert steps(recorded()) == {"error": [0, 1, 2, 3, 4, 5]}


def test_a_training_loop_with_callbacks_of_its_own(callback, recorded):
    model = models.dense()
    x, y = models.data()
    callbacks = keras.callbacks.CallbackList([callback], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(3):
        callbacks.on_train_batch_begin(batch)
        model.train_on_batch(x, y)
        callbacks.on_train_batch_end(batch)
    callbacks.on_epoch_end(0)
    callbacks.on_train_end()
    model.train_on_batch(x, y)
    assert steps(recorded()) == {"loss": [0, 1, 2]}


# ---- The end of a training


class Raises(keras.callbacks.Callback):
    """Ends the training after its second batch."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise self.error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_another_callback(error, tmp_path, recorded):
    model = models.own_step(run_eagerly=False)
    model.make_train_function()
    plain = model.train_function
    callback = gs.KerasCallback(tmp_path, every=1, on_error="raise")
    with pytest.raises(error):
        fit(model, Raises(error), callback)
    assert model.train_function is plain
    del callback  # its last records may still be on the way
    assert steps(recorded()) == {"error": [0, 1]}
    fit(model)
    assert steps(recorded()) == {"error": [0, 1]}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_step(error, callback, recorded):
    class Fails(models.OwnStep):
        def train_step(self, data):
            logs = super().train_step(data)
            if self.optimizer.iterations == 2:
                raise error
            return logs

    model = Fails()
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(error):
        fit(model, callback)
    assert "train_step" not in vars(model)
    assert tf.GradientTape.__init__.__module__.startswith("tensorflow.")
    assert steps(recorded()) == {"error": [0, 1]}


def test_training_is_stopped(callback, recorded):
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    fit(models.own_step(), Stops(), callback, epochs=3)
    assert steps(recorded()) == {"error": [0, 1]}


# ---- Bad input


@pytest.mark.parametrize("every", [0, -1, 1.5, "often"])
def test_a_cadence_that_is_none(every):
    with pytest.raises(ValueError, match="expected 'auto' or a whole number of 1 or more"):
        gs.KerasCallback(every=every)


def test_a_directory_that_is_none():
    with pytest.raises(TypeError, match=r"log_dir=3\): expected the path .* found int"):
        gs.KerasCallback(3)
    with pytest.raises(ValueError, match=r"log_dir=''\): expected the path of a log directory"):
        gs.KerasCallback("")
    with pytest.raises(ValueError, match="on_error='stop': expected 'warn' or 'raise'"):
        gs.KerasCallback(on_error="stop")


def test_a_directory_that_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.warns(gs.GradscopeWarning, match="is a file, expected a log directory. Training"):
        fit(models.own_step(), gs.KerasCallback(file))
    assert file.read_text() == "kept"


def test_two_callbacks_at_once(callback, tmp_path, recorded):
    second = gs.KerasCallback(tmp_path / "second")
    with pytest.warns(gs.GradscopeWarning, match="another gs.KerasCallback of the same fit does"):
        fit(models.own_step(), callback, second)
    assert steps(recorded()) == {"error": [0, 1, 2]}


def test_a_callback_for_anything_but_training(callback, tmp_path):
    model = models.dense()
    x, y = models.data()
    model.evaluate(x, y, verbose=0, callbacks=[callback])
    model.predict(x, verbose=0, callbacks=[callback])
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_something_else(callback, tmp_path):
    callback.set_model(object())
    with pytest.warns(gs.GradscopeWarning, match="is a builtins.object, expected one of Keras 3"):
        callback.on_train_begin()
    callback.on_epoch_begin(0)
    callback.on_train_batch_begin(0)
    callback.on_train_end()
    assert list(tmp_path.iterdir()) == []


def test_another_backend(callback, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.warns(gs.GradscopeWarning, match="Keras runs on jax, expected its TensorFlow"):
        fit(models.own_step(), callback)


def test_without_keras():
    program = "import sys; sys.modules['keras'] = None; import tb_gradscope as gs; gs.KerasCallback"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "ImportError: tb_gradscope.KerasCallback records model.fit and needs" in done.stderr


def test_a_step_that_takes_no_gradient_here(callback, tmp_path):
    class Traced(models.OwnStep):
        @tf.function
        def train_step(self, data):
            return super().train_step(data)

    model = Traced()
    model.compile("sgd")
    fit(model)
    with pytest.warns(gs.GradscopeWarning, match="recorded nothing: .* was traced before"):
        fit(model, callback)
    assert model.optimizer.iterations == 6


def test_a_callback_is_copied_while_it_records(callback):
    copies = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: copies.append(copy.deepcopy(callback))
    )
    fit(models.dense(), callback, keep)
    assert copies[0].every == 1


def test_a_failure_of_ours_costs_the_record_only(tmp_path, monkeypatch):
    def fails(self):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("tb_gradscope.recording.keras.fit.Fit.begin_batch", fails)
    model = models.own_step()
    with pytest.warns(gs.GradscopeWarning, match="RuntimeError: on purpose. Training goes on"):
        fit(model, gs.KerasCallback(tmp_path))
    assert model.optimizer.iterations == 3
