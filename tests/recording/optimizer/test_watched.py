"""`gs.watch_optimizer`: what reaches a Keras optimizer, and the updates it makes."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.recording.optimizer import internals as optimizer_internals
from tests.recording.optimizer.trainings import (
    GRAPHS,
    INPUTS,
    LABELS,
    MODES,
    STEPS,
    assert_same,
    in_mode,
    loss_of,
    make_model,
    state,
    train,
    watch,
)
from tests.reference import gradient_statistics

SITUATIONS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=0.5),
    "adamw_ema": lambda: keras.optimizers.AdamW(
        0.01, weight_decay=0.1, clipnorm=0.2, use_ema=True, ema_overwrite_frequency=3
    ),
    "schedule": lambda: keras.optimizers.RMSprop(
        keras.optimizers.schedules.CosineDecay(0.1, 20), clipvalue=0.05
    ),
    "accumulation": lambda: keras.optimizers.Adam(
        0.01, gradient_accumulation_steps=3, global_clipnorm=0.1
    ),
    "loss_scale": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1, clipnorm=0.2), initial_scale=2.0**12, dynamic_growth_steps=3
    ),
    "loss_scale_factor": lambda: keras.optimizers.SGD(0.1, loss_scale_factor=64.0),
}


COMPILED = ["adamw_ema", "accumulation", "loss_scale"]  # each takes XLA seconds


@pytest.mark.parametrize(
    ("name", "mode", "every"),
    [
        *((name, "eager", 1) for name in SITUATIONS),
        *((name, "graph", 3) for name in SITUATIONS),
        *((name, "jit", 1) for name in COMPILED),
    ],
)
def test_training_is_the_same_to_the_last_bit(name, mode, every, logdir):
    make = SITUATIONS[name]
    plain = make()
    expected = state(train(plain, mode), plain)
    with gs.record(logdir, every=every, on_error="raise"):
        watched = watch(make)
        found = state(train(watched, mode), watched)
    assert_same(found, expected)


@pytest.mark.parametrize("mode", MODES)
def test_each_update_is_recorded(mode, recorded):
    optimizer = watch(lambda: keras.optimizers.SGD(0.5, name="sgd"))
    seen = []

    def look(gradients, variables):
        if mode == "eager":
            seen.append(([g.numpy() for g in gradients], [v.numpy() for v in variables]))

    train(optimizer, mode, before=look, steps=3)
    (found,) = recorded().optimizers
    assert (found.name, found.class_name) == ("sgd", "SGD")
    assert (found.accumulation, found.has_loss_scale) == (1, False)
    assert found.label.stage == "raw"
    assert found.steps.tolist() == [0, 1, 2]
    assert found.calls.tolist() == found.applied.tolist() == [1, 2, 3]
    assert not found.skipped.any()
    assert not found.skipped_steps.size
    assert found.learning_rates.tolist() == [0.5] * 3
    assert found.loss_scales.tolist() == [1] * 3
    run = recorded()
    names = [run.variables[position].name.split("/", 1)[1] for position in found.variables]
    assert names == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    # Plain SGD: the update is the gradient times the rate.
    np.testing.assert_allclose(
        found.update_norms, 0.5 * found.values[:, :, Statistic.NORM], rtol=1e-4
    )
    for record, (gradients, variables) in enumerate(seen):
        expected = [gradient_statistics(g, v) for g, v in zip(gradients, variables, strict=True)]
        np.testing.assert_allclose(found.values[record], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_the_update_is_that_of_all_that_changes_a_variable(mode, recorded):
    """Weight decay, the average written back, and a constraint are parts of it."""
    optimizer = watch(
        lambda: keras.optimizers.Adam(
            0.05, weight_decay=0.5, use_ema=True, ema_overwrite_frequency=2
        )
    )
    model = make_model()
    variables = model.trainable_variables
    variables[0].constraint = keras.constraints.NonNeg()
    optimizer.build(variables)
    seen = [[v.numpy() for v in variables]]

    def step(inputs, labels):
        with tf.GradientTape() as tape:
            loss = loss_of(model, inputs, labels)
        optimizer.apply(tape.gradient(loss, variables))

    run = in_mode(mode, step)
    for inputs, labels in zip(INPUTS[:4], LABELS[:4], strict=True):
        run(inputs, labels)
        seen.append([v.numpy() for v in variables])
    (found,) = recorded().optimizers
    for record in range(4):
        before, after = seen[record], seen[record + 1]
        expected = [np.linalg.norm((a - b).ravel()) for a, b in zip(after, before, strict=True)]
        np.testing.assert_allclose(found.update_norms[record], expected, rtol=1e-4)
        norms = [np.linalg.norm(b.ravel()) for b in before]
        np.testing.assert_allclose(
            found.values[record, :, Statistic.VARIABLE_NORM], norms, rtol=1e-5
        )


@pytest.mark.parametrize("mode", GRAPHS)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_types(mode, dtype, recorded):
    variable = keras.Variable(np.full(3, 100.0), dtype=dtype)
    optimizer = watch(lambda: keras.optimizers.SGD(1.0))
    optimizer.build([variable])
    update = 1e-8 if dtype == "float64" else 0.5

    run = in_mode(mode, lambda g: optimizer.apply([g], [variable]))
    run(tf.constant([update, 0, 0], dtype))
    (found,) = recorded().optimizers
    np.testing.assert_allclose(found.update_norms, [[update]], rtol=1e-3)


@pytest.mark.parametrize("mode", GRAPHS)
def test_embeddings_frozen_variables_and_missing_gradients(mode, recorded):
    table = keras.Variable(np.ones((5, 2), np.float32), name="table")
    dense, unused = keras.Variable(2.0, name="dense"), keras.Variable(1.0, name="unused")
    optimizer = watch(lambda: keras.optimizers.SGD(1.0))
    optimizer.build([table, dense, unused])

    def step(variables):
        rows = tf.IndexedSlices(tf.ones([2, 2]), tf.constant([3, 3]), tf.constant([5, 2]))
        given = {id(table): rows, id(dense): tf.constant(0.5), id(unused): None}
        optimizer.apply([given[id(v)] for v in variables], variables)

    def step_of_all():
        step([table, dense, unused])

    def step_of_one():
        step([dense])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of the missing one
        in_mode(mode, step_of_all)()
        in_mode(mode, step_of_one)()  # the others are frozen
    (found,) = recorded().optimizers
    assert found.steps.tolist() == [0, 1]
    states = [[State.OK, State.OK, State.NONE], [State.ABSENT, State.OK, State.ABSENT]]
    assert found.values[:, :, Statistic.STATE].tolist() == states
    # Rows of the same index are summed.
    np.testing.assert_allclose(found.values[0, :2, Statistic.NORM], [np.sqrt(8), 0.5])
    updates = [[np.sqrt(8), 0.5, 0], [np.nan, 0.5, np.nan]]
    np.testing.assert_allclose(found.update_norms, updates, rtol=1e-6)
    assert found.calls.tolist() == found.applied.tolist() == [1, 2]


def test_variables_set_to_their_gradient_are_not_among_the_rows(recorded):
    scale = keras.Variable(1.0, name="scale")
    scale.overwrite_with_gradient = True
    weight = keras.Variable(1.0, name="weight")
    optimizer = watch(lambda: keras.optimizers.SGD(1.0))
    optimizer.apply([tf.constant(7.0), tf.constant(0.25)], [scale, weight])
    assert float(scale.numpy()) == 7
    run = recorded()
    assert [variable.name for variable in run.variables] == ["weight"]
    assert run.optimizers[0].update_norms.tolist() == [[0.25]]


@pytest.mark.parametrize("mode", GRAPHS)
def test_learning_rates(mode, recorded):
    class Rate(keras.optimizers.schedules.LearningRateSchedule):
        asked = 0

        def __call__(self, step):
            self.asked += 1
            return 0.5

        def get_config(self):
            return {}

    def asked_by(watched):
        rate = Rate()
        optimizer = keras.optimizers.SGD(rate, name="own")
        train(gs.watch_optimizer(optimizer) if watched else optimizer, mode, steps=4)
        return rate.asked

    decay = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    train(watch(lambda: keras.optimizers.SGD(decay, name="decay")), mode, steps=4)
    # Code of the program's own is asked once a step, as ever.
    assert asked_by(True) == asked_by(False)
    decaying, own = recorded().optimizers
    assert decaying.learning_rates.tolist() == [1, 0.5, 0.25, 0.125]
    assert own.learning_rates.tolist() == [0.5] * 4


@pytest.mark.parametrize("mode", GRAPHS)
def test_several_optimizers(mode, recorded):
    """As in a GAN: each has its own series, whatever they are called."""
    variables = [keras.Variable(1.0, name=name) for name in ("one", "two", "three")]
    optimizers = [watch(lambda: keras.optimizers.SGD(1.0, name="sgd")) for _ in range(2)]
    optimizers.append(watch(lambda: keras.optimizers.SGD(1.0), name="third"))
    for optimizer, variable in zip(optimizers, variables, strict=True):
        optimizer.build([variable])

    def step():
        for optimizer, variable in zip(optimizers, variables, strict=True):
            optimizer.apply([tf.constant(0.5)], [variable])

    run = in_mode(mode, step)
    run()
    run()
    found = recorded().optimizers
    assert [each.name for each in found] == ["sgd", "sgd_2", "third"]
    assert [each.variables.tolist() for each in found] == [[0], [1], [2]]
    assert all(each.steps.tolist() == [0, 1] for each in found)


@pytest.mark.parametrize("mode", MODES)
def test_the_first_update_that_is_not_finite_is_recorded(mode, logdir):
    factors = np.ones(STEPS)
    factors[5] = np.nan
    with gs.record(logdir, every=1000, on_error="raise"):
        train(watch(lambda: keras.optimizers.SGD(0.1)), mode, scale=factors)
    (run,) = gs.load(logdir).runs.values()
    (found,) = run.optimizers
    assert found.steps.tolist() == [0, 5]
    assert (found.values[1, :, Statistic.STATE] == State.NAN).all()
    assert found.applied.tolist() == [1, 6]


@pytest.mark.parametrize("missing", ["is_compiled", "applications", "outer_of"])
def test_without_a_private_name_training_is_the_same(missing, monkeypatch, logdir):
    """What a TensorFlow or Keras that has moved one of them costs: a detail."""
    answers = {"is_compiled": True, "applications": None, "outer_of": None}
    make = SITUATIONS["adamw_ema"]
    plain = make()
    expected = state(train(plain, "graph"), plain)
    monkeypatch.setattr(optimizer_internals, missing, lambda *_: answers[missing])
    with gs.record(logdir, every=2, on_error="raise"):
        watched = watch(make)
        assert_same(state(train(watched, "graph"), watched), expected)
    (run,) = gs.load(logdir).runs.values()
    (found,) = run.optimizers
    assert found.steps.tolist() == [0, 2, 4, 6]
    assert (found.update_norms > 0).all()


def test_it_stays_the_object_it_was(tmp_path):
    plain, watched = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    assert gs.watch_optimizer(watched) is watched
    assert type(watched) is keras.optimizers.Adam
    config = {**plain.get_config(), "name": watched.name}
    assert watched.get_config() == config
    assert len(watched.variables) == len(plain.variables)
    signatures = [str(getattr(watched, name).__wrapped__) for name in ("apply", "scale_loss")]
    assert all("Optimizer" in signature for signature in signatures)


@pytest.mark.parametrize("name", ["adamw_ema", "accumulation", "loss_scale"])
def test_saving_and_loading(name, tmp_path, recorder):
    import copy
    import pickle

    def trained(optimizer, into=None):
        model = into or make_model()
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(INPUTS.reshape(-1, 5), LABELS.ravel(), batch_size=4, shuffle=False, verbose=0)
        return model

    make = SITUATIONS[name]
    plain, watched = trained(make()), trained(watch(make))
    weights = watched.get_weights()
    assert_same(weights, plain.get_weights())

    watched.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is type(plain.optimizer)
    assert_same(state(loaded, loaded.optimizer), state(watched, watched.optimizer))

    watched.save_weights(tmp_path / "model.weights.h5")
    fresh = trained(watch(make))
    fresh.load_weights(tmp_path / "model.weights.h5")
    assert_same(fresh.get_weights(), weights)

    path = tf.train.Checkpoint(optimizer=watched.optimizer).save(str(tmp_path / "checkpoint"))
    names = [key for key, _ in tf.train.list_variables(path)]
    path = tf.train.Checkpoint(optimizer=plain.optimizer).save(str(tmp_path / "plain"))
    assert names == [key for key, _ in tf.train.list_variables(path)]

    for copied in (
        copy.deepcopy(watched.optimizer),
        pickle.loads(pickle.dumps(watched.optimizer)),
    ):
        assert type(copied) is type(watched.optimizer)
        assert copied.get_config() == watched.optimizer.get_config()


def test_watched_twice(recorded):
    variable = keras.Variable(1.0, name="v")
    optimizer = gs.watch_optimizer(gs.watch_optimizer(keras.optimizers.SGD(1.0, name="sgd")))
    with pytest.warns(gs.GradscopeWarning, match="'sgd' is watched already, and keeps that name"):
        assert gs.watch_optimizer(optimizer, name="other") is optimizer
    optimizer.apply([tf.constant(0.5)], [variable])
    (found,) = recorded().optimizers
    assert found.calls.tolist() == [1]


@pytest.mark.parametrize("mode", GRAPHS)
def test_one_optimizer_in_two_recordings(mode, tmp_path):
    variable = keras.Variable(1.0, name="v")
    optimizer = watch(lambda: keras.optimizers.SGD(1.0))
    optimizer.build([variable])
    run = in_mode(mode, lambda: optimizer.apply([tf.constant(0.5)], [variable]))
    for name in ("first", "second"):
        with gs.record(tmp_path / name, every=1, on_error="raise"):
            run()
            run()
    for name in ("first", "second"):
        (recording,) = gs.load(tmp_path / name).runs.values()
        assert recording.optimizers[0].calls.tolist() == [1, 2]


def test_without_a_recording_it_trains_all_the_same():
    variable = keras.Variable(1.0)
    apply = watch(lambda: keras.optimizers.SGD(1.0)).apply  # all that is left of it
    with pytest.warns(gs.GradscopeWarning, match="records nowhere"):
        apply([tf.constant(0.5)], [variable])
    assert float(variable.numpy()) == 0.5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda optimizer: optimizer.apply([tf.constant(1.0)], [keras.Variable(1.0, name="w")]),
        lambda optimizer: optimizer.apply([None], optimizer._trainable_variables),
        lambda optimizer: optimizer.apply([tf.constant(1.0)] * 2),
        lambda optimizer: optimizer.apply(5),
        lambda optimizer: optimizer.apply([tf.constant("text")]),
        lambda optimizer: optimizer.apply_gradients([]),
    ],
)
def test_errors_are_keras_own(wrong, recorder):
    def error_of(optimizer):
        optimizer.build([keras.Variable(1.0, name="v")])
        with pytest.raises(Exception) as raised:
            wrong(optimizer)
        return type(raised.value), str(raised.value)

    recorder.on_error = "warn"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = error_of(keras.optimizers.SGD(1.0))
        found = error_of(watch(lambda: keras.optimizers.SGD(1.0)))
    assert found == expected


def test_an_optimizer_of_the_programs_own(recorded):
    """Its code may need autograph, as `tf.function` gives it to any code."""

    class Careful(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None):
            if tf.reduce_sum(grads[0]) > 0:
                super().apply(grads, trainable_variables)

        def _clip_gradients(self, grads):
            return [gradient / 2.0 for gradient in grads]

    variable = keras.Variable(1.0, name="v")
    optimizer = watch(lambda: Careful(1.0, clipnorm=1.0))
    optimizer.build([variable])
    run = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    with pytest.warns(gs.GradscopeWarning, match="Careful clips by code of its own"):
        run(tf.constant(0.5))
    run(tf.constant(-0.5))
    assert float(variable.numpy()) == 0.75
    (found,) = recorded().optimizers
    assert found.update_norms.tolist() == [[0.25], [0]]


@pytest.mark.parametrize("mistake", [None, "adam", 3, {}, [1], keras.optimizers.Adam])
def test_what_is_plainly_no_optimizer(mistake):
    with pytest.raises(TypeError, match=r"watch_optimizer\(.*\): expected a Keras optimizer"):
        gs.watch_optimizer(mistake)


def test_names_are_strings():
    with pytest.raises(TypeError, match=r"name=3\): expected a string, found int"):
        gs.watch_optimizer(keras.optimizers.SGD(), name=3)


def test_another_kind_of_optimizer_is_returned_as_it_is():
    optimizer = tf.compat.v1.train.GradientDescentOptimizer(0.1)
    with pytest.warns(gs.GradscopeWarning, match="expected an optimizer of Keras 3"):
        assert gs.watch_optimizer(optimizer) is optimizer
    assert "apply_gradients" not in vars(optimizer)


def test_nothing_is_kept_alive(logdir):
    import gc
    import weakref

    with gs.record(logdir, every=1, on_error="raise"):
        optimizer = watch(lambda: keras.optimizers.SGD(1.0))
        model = train(optimizer, "graph", steps=2)
        gone = weakref.ref(optimizer), weakref.ref(model.trainable_variables[0])
        del optimizer, model
        gc.collect()
        assert [reference() for reference in gone] == [None, None]


def test_as_many_traces_as_without(recorder):
    traces = []

    def traced(optimizer):
        model = make_model()

        @tf.function
        def step(inputs, labels):
            traces.append(optimizer)
            with tf.GradientTape() as tape:
                loss = loss_of(model, inputs, labels)
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        for inputs, labels in zip(INPUTS, LABELS, strict=True):
            step(tf.constant(inputs), tf.constant(labels))

    plain, watched = keras.optimizers.Adam(), watch(keras.optimizers.Adam)
    traced(plain)
    traced(watched)
    assert traces.count(watched) == traces.count(plain)
