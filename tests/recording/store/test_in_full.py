"""A step that only the sentinel picks holds what `every=1` would have recorded of it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import Reason, Statistic
from tb_gradscope.recording.measure import gradients as measured
from tests import versions
from tests.bench.kernels import count_kernels
from tests.recording.fed import FedTraining

ODD, STEPS = 37, 42
LARGE, SMALL = [33, 20], [3]  # see `large_from`
WAYS = {"eager": None, "graph": {}, "xla": {"jit_compile": True}}
everywhere = pytest.mark.parametrize("way", WAYS)
eager_and_graph = pytest.mark.parametrize("way", ["eager", "graph"])


def with_xla_for(cases, *some):
    """Returns all cases in eager code and in graphs, and some compiled, which takes seconds."""
    return [(case, way) for way in WAYS for case in cases if way != "xla" or case in some]


def recorded(logdir, every, make, way, value=np.nan, **record):
    """The run of a training whose second gradient is fed a value at the step `ODD`."""
    with gs.record(logdir, every=every, on_error="raise", **record):
        training, step = make()
        run = step if WAYS[way] is None else tf.function(step, **WAYS[way])
        factors = np.ones([STEPS, len(training.variables)], np.float32)
        factors[ODD, 1] = value
        for each in factors:
            run(tf.constant(each))
    (run,) = gs.load(logdir).runs.values()
    return run


NUMBERS = {
    "losses": ["values", "loss_values", "loss_scales"],
    "clips": ["norms", "threshold", "norm_before", "norm_after", "scale"],
    "optimizers": ["values", "update_norms", "loss_scales", "learning_rates"],
    "cosines": ["cosines"],
}


def row(series, kind, step):
    """All numbers of a series at a step."""
    (record,) = np.flatnonzero(series.steps == step)
    return {name: getattr(series, name)[record] for name in NUMBERS[kind]}


def assert_in_full(tmp_path, make, way, value=np.nan, **expected):
    """Compares with `every=1`; `expected` are the numbers of series of each kind."""
    whole = recorded(tmp_path / "whole", 1, make, way, value)
    picked = recorded(tmp_path / "picked", 1000, make, way, value)
    counts = {kind: len(getattr(picked, kind)) for kind in NUMBERS}
    assert counts == dict.fromkeys(NUMBERS, 0) | {"losses": 1} | expected
    for kind in NUMBERS:
        for one, all_of_it in zip(getattr(picked, kind), getattr(whole, kind), strict=True):
            assert ODD in one.steps, (kind, one)
            assert len(one.steps) < 6, (kind, one)
            numbers = row(one, kind, ODD)
            for name, value in row(all_of_it, kind, ODD).items():
                np.testing.assert_allclose(numbers[name], value, rtol=1e-5, err_msg=name)


CLIPPINGS = {
    "unclipped": {},
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.2},
}


@pytest.mark.parametrize(("clipping", "way"), with_xla_for(CLIPPINGS, "unclipped", "clipvalue"))
def test_an_optimizer_and_its_own_clipping(clipping, way, tmp_path):
    options = CLIPPINGS[clipping]

    def make():
        training = FedTraining(**options)
        return training, lambda factors: training.apply(training.gradients(factors))

    assert_in_full(tmp_path, make, way, optimizers=1, clips=len(options))


def record_halves(gradients):
    halves = [gradient / 2 for gradient in gradients]
    gs.record_clipping(gradients, halves, name="halves", threshold=1.0)
    return halves


CLIPPERS = {
    "global": lambda gradients: gs.clip_by_global_norm(gradients, 0.5)[0],
    "norm": lambda gradients: [gs.clip_by_norm(gradient, 0.5) for gradient in gradients],
    "value": lambda gradients: [gs.clip_by_value(g, -0.1, 0.1) for g in gradients],
    "custom": record_halves,
}


@pytest.mark.parametrize(("clipper", "way"), with_xla_for(CLIPPERS, "global", "value"))
def test_clip_functions_and_what_they_hand_on(clipper, way, tmp_path):
    clip = CLIPPERS[clipper]

    def make():
        training = FedTraining()
        return training, lambda factors: training.apply(clip(training.gradients(factors)))

    assert_in_full(tmp_path, make, way, optimizers=1, clips=1)


@eager_and_graph
def test_a_clipper_that_makes_a_nan_of_its_own(way, tmp_path):
    """Nothing is odd about what the tape takes: the optimizer's sentinel sees it."""

    def make():
        training = FedTraining()

        def step(factors):
            gradients = training.gradients(tf.ones_like(factors))
            ruined = [gradients[0], gradients[1] * factors[1]]
            gs.record_clipping(gradients, ruined, name="own", threshold=1.0)
            training.apply(ruined)

        return training, step

    run = recorded(tmp_path, 1000, make, way)
    assert run.optimizers[0].steps.tolist() == [0, ODD, ODD + 1]  # it is over


def test_an_optimizer_that_records_elsewhere_than_the_tape(tmp_path):
    training = FedTraining()
    elsewhere = gs.record(tmp_path / "optimizer", every=1000, on_error="raise")

    factors = np.ones([STEPS, 2], np.float32)
    factors[ODD, 1] = np.nan
    with gs.record(tmp_path / "tape", every=1000, on_error="raise"):
        for each in factors:
            gradients = training.gradients(tf.constant(each))
            with elsewhere:
                training.apply(gradients)
    for of in gs.load(tmp_path).runs.values():
        (series,) = [*of.losses, *of.optimizers]
        assert ODD in series.steps


@everywhere
def test_a_tape_in_a_function_inside_of_another(way, tmp_path):
    """Out there nothing is known of what the sentinel saw in here: it looks again."""

    def make():
        training = FedTraining(clipnorm=0.5)
        gradients = tf.function(training.gradients)
        return training, lambda factors: training.apply(gradients(factors))

    assert_in_full(tmp_path, make, way, optimizers=1, clips=1)


@pytest.mark.parametrize("way", ["graph", "xla"])
def test_an_update_on_a_condition(way, tmp_path):
    def make():
        training = FedTraining(clipnorm=0.5)

        def step(factors):
            gradients = training.gradients(factors)
            if tf.reduce_sum(factors) != 0:
                training.apply(gradients)

        return training, step

    assert_in_full(tmp_path, make, way, optimizers=1, clips=1)


@pytest.mark.parametrize(("value", "way"), with_xla_for([np.nan, 1e5], 1e5))
def test_parts_of_a_sum_and_their_cosines(way, value, tmp_path):
    def make():
        training = FedTraining()

        def step(factors):
            with gs.GradientTape() as tape:
                first, second = training.terms(factors)
                losses = {"first": first + 0.1 * second, "second": second * second}
            training.apply(tape.gradient(losses, training.variables))

        return training, step

    assert_in_full(tmp_path, make, way, value, losses=3, cosines=1, optimizers=1)


def odd_and_well():
    """Two losses on the same variables, of which only the first is fed the value."""
    training = FedTraining()

    def step(factors):
        with gs.GradientTape(persistent=True) as tape:
            odd = tf.add_n(training.terms(factors))
            well = tf.add_n(training.terms(tf.ones_like(factors)))
        of_odd = tape.gradient(odd, training.variables)
        of_well = tape.gradient(well, training.variables)
        del tape
        return of_odd, of_well

    return training, step


@everywhere
def test_a_loss_that_is_compared_with_one_that_is_odd(way, tmp_path):
    assert_in_full(tmp_path, odd_and_well, way, losses=2, cosines=1)


@pytest.mark.parametrize("options", [{}, {"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_fit(options, tmp_path):
    def fitted(name, every):
        keras.utils.set_random_seed(3)
        inputs = keras.Input([3])
        shared = keras.layers.Dense(4)(inputs)
        outputs = {each: keras.layers.Dense(1, name=each)(shared) for each in ("a", "b")}
        model = keras.Model(inputs, outputs)
        optimizer = keras.optimizers.SGD(0.01, global_clipnorm=0.5)
        model.compile(optimizer, loss={"a": "mse", "b": "mse"}, **options)
        x = np.random.default_rng(2).normal(size=[4 * STEPS, 3]).astype(np.float32)
        y = {"a": x[:, :1], "b": x[:, 1:2].copy()}
        y["b"][4 * ODD] = np.nan
        callback = gs.KerasCallback(tmp_path / name, every=every)
        model.fit(x, y, 4, shuffle=False, verbose=0, callbacks=[callback])
        (run,) = gs.load(tmp_path / name).runs.values()
        return run

    whole, picked = fitted("whole", 1), fitted("picked", 1000)
    assert [len(getattr(picked, kind)) for kind in NUMBERS] == [3, 1, 1, 1]
    for kind, numbers in NUMBERS.items():
        for one, all_of_it in zip(getattr(picked, kind), getattr(whole, kind), strict=True):
            assert one.steps.tolist()[:2] == [0, ODD]
            expected = row(all_of_it, kind, ODD)
            for name in numbers:
                np.testing.assert_allclose(row(one, kind, ODD)[name], expected[name], rtol=1e-5)


@versions.requires_keras((3, 5), "an older one clips each micro-batch instead")
def test_gradients_of_several_batches(tmp_path):
    """The second of four is odd: the update that is made of all of them."""

    def make():
        training = FedTraining(clipnorm=0.5, gradient_accumulation_steps=4)
        return training, lambda factors: training.apply(training.gradients(factors))

    whole = recorded(tmp_path / "whole", 1, make, "graph")
    picked = recorded(tmp_path / "picked", 1000, make, "graph")
    update = ODD - ODD % 4 + 3
    for kind in ("optimizers", "clips"):
        (one,), (all_of_it,) = getattr(picked, kind), getattr(whole, kind)
        assert one.steps.tolist() == [3, update]
        for name, value in row(all_of_it, kind, update).items():
            np.testing.assert_allclose(row(one, kind, update)[name], value, rtol=1e-5)


def clip_all(gradients):
    return gs.clip_by_global_norm(gradients, 8.0)[0]


@pytest.fixture
def large_from(monkeypatch):
    """Lets gradients of 2 kB be as large as those of 8 MB are."""
    monkeypatch.setattr(measured, "HELD_BYTES", 1 << 12)


LARGE_ONES = {
    "unclipped": ({}, list, 0),
    "clipnorm": ({"clipnorm": 8.0}, list, 1),
    "global_clipnorm": ({"global_clipnorm": 8.0}, list, 1),
    "clip_by_global_norm": ({}, clip_all, 1),
}


@pytest.mark.parametrize(
    ("case", "way"), [*((case, "graph") for case in LARGE_ONES), ("clip_by_global_norm", "xla")]
)
@pytest.mark.usefixtures("large_from")
def test_large_gradients(case, way, tmp_path):
    """Norms and clipping are known, and all of what is odd; not the updates of the large."""
    options, clip, sites = LARGE_ONES[case]

    def make():
        training = FedTraining(shapes=[LARGE, LARGE, LARGE, SMALL], **options)
        return training, lambda factors: training.apply(clip(training.gradients(factors)))

    whole = recorded(tmp_path / "whole", 1, make, way, 1e5)
    picked = recorded(tmp_path / "picked", 1000, make, way, 1e5)
    (optimizer,), (every_step,) = picked.optimizers, whole.optimizers
    assert optimizer.steps.tolist() == [0, ODD]
    values, norm = optimizer.values[1], Statistic.NORM
    np.testing.assert_allclose(values[:, norm], every_step.values[ODD, :, norm], rtol=1e-4)
    np.testing.assert_allclose(
        values[[1, 3], : Statistic.VARIABLE_NORM],
        every_step.values[ODD, [1, 3], : Statistic.VARIABLE_NORM],
        rtol=1e-4,
    )
    assert is_absent(values[:, Statistic.MAX_ABS]).tolist() == [True, False, True, False]
    assert np.isnan(optimizer.update_norms[1]).tolist() == [True, True, True, False]
    assert len(picked.clips) == sites
    for clip_site, all_of_it in zip(picked.clips, whole.clips, strict=True):
        assert clip_site.steps.tolist() == [0, ODD]
        numbers = row(clip_site, "clips", ODD)
        for name, value in row(all_of_it, "clips", ODD).items():
            np.testing.assert_allclose(numbers[name], value, rtol=1e-4, err_msg=name)


@pytest.mark.usefixtures("large_from")
def test_nothing_more_is_measured_once_the_recording_has_ended(tmp_path):
    training = FedTraining(shapes=[LARGE, LARGE, LARGE, SMALL])
    step = tf.function(lambda each: training.apply(clip_all(training.gradients(each))))
    kernels = []
    with gs.record(tmp_path, every=1000, on_error="raise"):
        for _ in range(2):
            step(tf.ones([4]))
        kernels.append(count_kernels(lambda: step(tf.ones([4]))))
    kernels.append(count_kernels(lambda: step(tf.ones([4]))))
    if None in kernels:
        pytest.skip("this TensorFlow does not tell what it executes")
    assert kernels[1] < 2 * kernels[0] / 3


LEFT_OUT = {  # what is left out, and the steps of the optimizer and of the clip site
    "clipvalue": ({"clipvalue": 2.0}, list, [0, ODD], [0]),
    "clip_by_value": (
        {},
        lambda all_: [gs.clip_by_value(g, -2.0, 2.0) for g in all_],
        [0],
        [0, ODD],
    ),
    "clip_by_norm": ({}, lambda all_: [gs.clip_by_norm(g, 8.0) for g in all_], [0], [0, ODD]),
}


@pytest.mark.parametrize("case", LEFT_OUT)
@pytest.mark.usefixtures("large_from")
def test_what_is_not_known_of_large_gradients(case, tmp_path):
    """What became of single elements, and of those that are clipped one by one."""
    options, clip, updates, clips = LEFT_OUT[case]

    def make():
        training = FedTraining(shapes=[LARGE, LARGE, LARGE, SMALL], **options)
        return training, lambda factors: training.apply(clip(training.gradients(factors)))

    picked = recorded(tmp_path, 1000, make, "graph", 1e5)
    assert picked.losses[0].steps.tolist() == [0, ODD]
    assert picked.optimizers[0].steps.tolist() == updates
    (site,) = picked.clips
    assert site.steps.tolist() == clips
    for of_large in site.norms[1:, :3]:
        assert np.isnan(of_large).all()


def test_a_function_in_another_is_called_from_elsewhere_too(logdir):
    """What it is compared with in the first is out of its reach in the second."""
    weights = tf.Variable([1.0, 2.0, 3.0])

    @tf.function
    def inner(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(weights * x) + tf.reduce_sum(weights**2)
        return tape.gradient(loss, weights)

    @tf.function
    def outer(x, factor):
        with gs.GradientTape() as tape:
            other = factor * tf.reduce_sum(weights * x)
        return tape.gradient(other, weights) + inner(x)

    with gs.record(logdir, every=2, on_error="raise"):
        found = [outer(tf.ones([3]), 1.0), outer(tf.ones([3]), 2.0), inner(tf.ones([3]))]
    assert [each.numpy().tolist() for each in found] == [[4, 6, 8], [5, 7, 9], [3, 5, 7]]


@everywhere
def test_what_is_recorded_beside_an_odd_loss_is_not_called_odd(way, tmp_path):
    run = recorded(tmp_path, 1000, odd_and_well, way, 1e5)
    reasons = {loss.name: loss.reasons.tolist() for loss in run.losses}
    cadence, spike = Reason.CADENCE, Reason.SPIKE
    assert reasons == {"odd": [cadence, spike], "well": [cadence, Reason.BESIDE]}
    assert not run.losses[1].spikes.any()


@eager_and_graph
def test_where_summaries_are_not_to_be_recorded(way, tmp_path):
    """What is odd outside of there does not overrule it."""
    training = FedTraining()

    def step(factors):
        gradients = training.gradients(factors)
        with tf.summary.record_if(False):
            clip_all(gradients)

    run = step if way == "eager" else tf.function(step)
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for number in range(140):
            run(tf.constant([1.0, 1e5 if number == 135 else 1.0]))
    (found,) = gs.load(tmp_path).runs.values()
    assert 135 in found.losses[0].steps
    assert not any(len(clip.steps) for clip in found.clips)


def test_a_tensor_that_comes_again_is_not_odd_for_ever(logdir):
    """TensorFlow keeps the zeros that it hands out."""
    training, constant = FedTraining(shapes=[(2,), (2,)]), tf.constant([1.0, 1.0])

    @tf.custom_gradient
    def same(x):
        return tf.reduce_sum(x), lambda upstream: constant

    with gs.record(logdir, every=1000, on_error="raise"):
        for number in range(STEPS):
            with gs.GradientTape() as tape:
                first, second = training.variables
                loss = same(first) + tf.reduce_sum(second) * (1e5 if number == 30 else 1.0)
            training.apply(tape.gradient(loss, training.variables))
    (run,) = gs.load(logdir).runs.values()
    assert run.losses[0].steps.tolist() == run.optimizers[0].steps.tolist() == [0, 30]


@eager_and_graph
@pytest.mark.parametrize("shapes", [[(3,), (3,)], [LARGE, LARGE, LARGE]], ids=["small", "large"])
@pytest.mark.usefixtures("large_from")
def test_gradients_of_two_tapes(shapes, way, tmp_path):
    """Neither holds too much alone, both together do."""

    def make():
        training = FedTraining(shapes=shapes)

        def step(factors):
            gradients = []
            for half in (slice(0, 1), slice(1, None)):
                with gs.GradientTape() as tape:
                    loss = tf.add_n(training.terms(factors)[half])
                gradients += tape.gradient(loss, training.variables[half])
            training.apply(clip_all(gradients))

        return training, step

    run = recorded(tmp_path, 1000, make, way, 1e5)
    assert [loss.steps.tolist() for loss in run.losses] == [[0], [0, ODD]]
    assert run.optimizers[0].steps.tolist() == run.clips[0].steps.tolist() == [0, ODD]
    np.testing.assert_allclose(run.clips[0].norms[1, 1, 1], 8.0, rtol=1e-3)
