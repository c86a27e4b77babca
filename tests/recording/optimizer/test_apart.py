"""What is taken of large gradients says the same of an update as of small ones together."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic
from tests.recording.fed import FedTraining

LARGE, SMALL = [1100, 2000], [300]  # 8.8 MB and 1.2 kB of float32
in_graphs = pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["graph", "xla"])
CLIPPINGS = [{}, {"clipnorm": 500.0}, {"global_clipnorm": 500.0}, {"clipvalue": 2.0}]


class Training(FedTraining):
    """Three large gradients and a small one."""

    def __init__(self, options, tape=gs.GradientTape, shapes=(LARGE, LARGE, LARGE, SMALL), **sgd):
        super().__init__(shapes, **sgd)

        def step(factors):
            self.apply(self.gradients(factors, tape))

        self.run = step if options is None else tf.function(step, **options)


def run_of(logdir):
    (run,) = gs.load(logdir).runs.values()
    return run


@pytest.mark.parametrize(
    ("options", "clipping"),
    [*(({}, each) for each in CLIPPINGS), ({"jit_compile": True}, CLIPPINGS[-1])],
    ids=["unclipped", "clipnorm", "global_clipnorm", "clipvalue", "clipvalue, xla"],
)
def test_updates_and_clipping_on_steps_of_the_cadence(options, clipping, tmp_path):
    factors = tf.constant([[1.0, 0.0, 2.0, 1.0], [0.1, 0.2, 0.1, 0.3]])
    found = []
    for name, way in (("eager", None), ("graph", options)):
        with gs.record(tmp_path / name, every=1, on_error="raise"):
            training = Training(way, **clipping)
            for each in factors:
                training.run(each)
        found.append(run_of(tmp_path / name))
    eager, graph = (run.optimizers[0] for run in found)
    np.testing.assert_allclose(graph.values, eager.values, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(graph.update_norms, eager.update_norms, rtol=1e-4, atol=1e-7)
    assert (graph.update_norms[1] > 0).all()
    assert graph.learning_rates.tolist() == eager.learning_rates.tolist()
    for ours, theirs in zip(found[1].clips, found[0].clips, strict=True):
        np.testing.assert_allclose(ours.norms, theirs.norms, rtol=1e-4)
        assert ours.clipped.tolist() == theirs.clipped.tolist()
    assert len(found[1].clips) == len(clipping)


@in_graphs
def test_all_are_large(options, logdir):
    with gs.record(logdir, every=1, on_error="raise"):
        training = Training(options, shapes=[[2200, 2000]] * 2)
        training.run(tf.constant([1.0, 3.0]))
    (optimizer,) = run_of(logdir).optimizers
    norms = [np.linalg.norm(pattern.numpy()) for pattern in training.patterns]
    np.testing.assert_allclose(
        optimizer.values[0, :, Statistic.NORM], [norms[0], 3 * norms[1]], 1e-4
    )
    np.testing.assert_allclose(optimizer.update_norms[0], [0.1 * norms[0], 0.3 * norms[1]], 1e-3)


@pytest.mark.parametrize("clipping", CLIPPINGS, ids=lambda each: next(iter(each), "unclipped"))
def test_on_steps_of_the_sentinel(clipping, logdir):
    """It looks at gradients that no tape of ours has taken."""
    factors = np.ones([30, 4], np.float32)
    factors[27, 1] = np.nan
    with gs.record(logdir, every=1000, on_error="raise"):
        training = Training({}, tf.GradientTape, **clipping)
        for each in factors:
            training.run(tf.constant(each))
    run = run_of(logdir)
    (optimizer,) = run.optimizers
    assert optimizer.steps.tolist()[:2] == [0, 27]
    ok, nan = State.OK, State.NAN
    assert optimizer.values[1, :, Statistic.STATE].tolist() == [ok, nan, ok, ok]
    norms = [np.linalg.norm(pattern.numpy()) for pattern in training.patterns]
    known = optimizer.values[1, [0, 2, 3], Statistic.NORM]
    np.testing.assert_allclose(known, [norms[0], norms[2], norms[3]], rtol=1e-5)
    assert is_absent(optimizer.values[1, :, Statistic.MAX_ABS]).tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert np.isnan(optimizer.update_norms[1]).tolist()[:3] == [True] * 3
    for clip in run.clips:  # what became of single elements is not known then
        assert clip.steps.tolist()[:2] == ([0] if "clipvalue" in clipping else [0, 27])


def test_norms_are_without_a_scale_that_the_optimizer_takes_out(logdir):
    factors = np.full([30, 4], 1024, np.float32)
    factors[27, 3] = np.nan
    with gs.record(logdir, every=1000, on_error="raise"):
        training = Training({}, tf.GradientTape, loss_scale_factor=1024.0, clipnorm=500.0)
        for each in factors:
            training.run(tf.constant(each))
    run = run_of(logdir)
    norms = [np.linalg.norm(pattern.numpy()) for pattern in training.patterns[:3]]
    assert run.optimizers[0].steps.tolist()[:2] == [0, 27]
    for record in (0, 1):
        known = run.optimizers[0].values[record, :3, Statistic.NORM]
        np.testing.assert_allclose(known, norms, rtol=1e-5)
        np.testing.assert_allclose(run.clips[0].norms[record, :3, 0], norms, rtol=1e-5)


def test_a_gradient_that_is_odd_is_measured_in_full(logdir):
    factors = np.ones([30, 4], np.float32)
    factors[25, 2] = 1e4
    with gs.record(logdir, every=20, on_error="raise"):
        training = Training({}, tf.GradientTape)
        for each in factors:
            training.run(tf.constant(each))
    (optimizer,) = run_of(logdir).optimizers
    assert optimizer.steps.tolist() == [0, 20, 25]
    assert not is_absent(optimizer.values[2, 2, Statistic.MAX_ABS])
    assert not np.isnan(optimizer.update_norms[:2]).any()


@pytest.mark.parametrize("clipping", CLIPPINGS[::3], ids=["unclipped", "clipvalue"])
def test_weights_are_identical(clipping, logdir):
    batches = np.random.default_rng(8).normal(size=[12, 4, 64]).astype(np.float32)
    batches[9] *= 300

    def trained(is_recorded):
        random = np.random.default_rng(9)
        first, second = variables = [
            tf.Variable(0.02 * random.normal(size=shape).astype(np.float32))
            for shape in ([64, 40_000], [40_000, 64])
        ]
        optimizer = keras.optimizers.Adam(0.01, **clipping)
        optimizer.build(variables)
        if is_recorded:
            gs.watch_optimizer(optimizer)

        @tf.function
        def step(batch):
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((tf.tanh(batch @ first) @ second - batch) ** 2)
            optimizer.apply(tape.gradient(loss, variables), variables)

        for batch in batches:
            step(tf.constant(batch))
        return [variable.numpy().tobytes() for variable in variables]

    with gs.record(logdir, every=5, on_error="raise"):
        recorded = trained(True)
    assert recorded == trained(False)
    assert run_of(logdir).optimizers[0].steps.tolist()[:3] == [0, 5, 10]
