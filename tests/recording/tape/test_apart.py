"""Large gradients in a graph are measured each alone, and say the same as together.

Together they have more bytes than may wait for each other. What tells how much memory
that saves is `test_memory`.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import BESIDE_NORM, Reason, State, Statistic
from tb_gradscope.recording.measure import gradients as measured
from tb_gradscope.recording.measure.gradients import apart_of

NAN = np.nan
LARGE, SMALL = [1100, 2000], [300]  # 8.8 MB and 1.2 kB of float32
in_graphs = pytest.mark.parametrize("options", [{}, {"jit_compile": True}], ids=["graph", "xla"])


def test_small_gradients_wait_for_each_other_until_they_are_large_together():
    one = tf.zeros([1 << 20])  # 4 MiB
    rows = tf.IndexedSlices(tf.zeros([1 << 23, 1]), tf.range(1 << 23))
    assert apart_of([one] * 4) == ()
    assert apart_of([one] * 5 + [None, tf.zeros([3])]) == (1, 2, 3, 4)
    assert apart_of([tf.zeros([5 << 20]), one, None]) == (0,)
    assert apart_of([rows, one]) == ()


def test_what_has_no_known_size_waits_for_nobody():
    function = tf.function(
        lambda x: tf.constant(apart_of([x, tf.zeros([2])])),
        input_signature=[tf.TensorSpec([None])],
    )
    assert function(tf.zeros([1])).numpy().tolist() == [0]


class Training:
    """Three large gradients and a small one, each made of what is fed."""

    def __init__(self, options=None):
        random = np.random.default_rng(5)
        self.variables = [
            tf.Variable(random.normal(size=shape).astype(np.float32), name=name)
            for name, shape in zip("abcs", [LARGE, LARGE, LARGE, SMALL], strict=True)
        ]
        self.patterns = [
            tf.constant(random.normal(size=v.shape), tf.float32) for v in self.variables
        ]
        self.run = self.step if options is None else tf.function(self.step, **options)

    def loss(self, factors):
        terms = zip(self.variables, self.patterns, tf.unstack(factors), strict=True)
        return tf.add_n([tf.reduce_sum(v * p) * factor for v, p, factor in terms])

    def step(self, factors):
        with gs.GradientTape() as tape:
            loss = self.loss(factors)
        for gradient, variable in zip(
            tape.gradient(loss, self.variables), self.variables, strict=True
        ):
            variable.assign_sub(1e-3 * gradient)

    def norms(self):
        """Of the gradients where the factor is 1."""
        return [np.linalg.norm(pattern.numpy().astype(np.float64)) for pattern in self.patterns]


def loss_of(logdir):
    (run,) = gs.load(logdir).runs.values()
    (loss,) = run.losses
    return loss


@pytest.mark.parametrize("sentinel", [True, False])
@in_graphs
def test_on_steps_of_the_cadence_the_record_is_the_same(options, sentinel, tmp_path):
    factors = tf.constant([[1.0, 0.0, 2.0, 1.0], [1.0, 1.0, NAN, 1.0], [0.5, 1.0, 1.0, 3.0]])
    found = []
    for name, way in (("eager", None), ("graph", options)):
        with gs.record(tmp_path / name, every=1, sentinel=sentinel, on_error="raise"):
            training = Training(way)
            for each in factors:
                training.run(each)
        found.append(loss_of(tmp_path / name))
    eager, graph = found
    np.testing.assert_allclose(graph.values, eager.values, rtol=1e-4, atol=1e-7)
    assert graph.values[:, :, Statistic.STATE].astype(int).tolist() == [
        [State.OK, State.ZERO, State.OK, State.OK],
        [State.OK, State.OK, State.NAN, State.OK],
        [State.OK, State.OK, State.OK, State.OK],
    ]


@in_graphs
def test_on_steps_of_the_sentinel_what_is_odd_is_measured_and_of_the_rest_the_norm(options, logdir):
    factors = np.ones([60, 4], np.float32)
    factors[41, 1] = 1e4
    factors[50, 2] = NAN
    factors[51, 2] = NAN
    factors[51, 3] = NAN
    with gs.record(logdir, every=1000, on_error="raise"):
        training = Training(options)
        for each in factors:
            training.run(tf.constant(each))
    loss = loss_of(logdir)
    assert loss.steps.tolist() == [0, 41, 50, 51, 52]
    why = [Reason.CADENCE, Reason.SPIKE, *[Reason.NONFINITE] * 3]
    assert loss.reasons.tolist() == why
    states = loss.values[:, :, Statistic.STATE].astype(int).tolist()
    ok = State.OK
    assert states == [
        [ok, ok, ok, ok],
        [ok, ok, ok, ok],
        [ok, ok, State.NAN, ok],
        [ok, ok, State.NAN, State.NAN],
        [ok, ok, ok, ok],
    ]
    known = loss.values[:, :, Statistic.NORM]
    expected = factors[loss.steps] * training.norms()
    np.testing.assert_allclose(known, expected, rtol=1e-5)
    # `max_abs` stands for the four that are measured together with it.
    unmeasured = is_absent(loss.values[:, :, Statistic.MAX_ABS])
    assert unmeasured.tolist() == [
        [False] * 4,
        [True, False, True, False],
        [True, True, False, False],
        [True, True, True, False],  # it was NaN already
        [True, True, False, False],
    ]
    for statistic in BESIDE_NORM[:-1]:
        assert (is_absent(loss.values[:, :, statistic]) == unmeasured).all()
    # A variable that is read when its gradient is there would hold up its update.
    weights = is_absent(loss.values[:, :, Statistic.VARIABLE_NORM])
    assert weights.tolist() == [[False] * 4, *[[True, True, True, False]] * 4]
    assert loss.values[2, 2, Statistic.NAN_COUNT] == np.prod(LARGE)
    assert loss.spikes.tolist() == [[41, 1]]


@in_graphs
def test_from_zero_and_to_zero(options, logdir):
    """Squares that underflow look like zeros: they are not taken for such."""
    factors = np.ones([40, 4], np.float32)
    factors[:, 0] = 0
    factors[30:, 1] = 1e-30
    factors[33, 3] = NAN  # so that there is a record
    with gs.record(logdir, every=1000, on_error="raise"):
        training = Training(options)
        for each in factors:
            training.run(tf.constant(each))
    loss = loss_of(logdir)
    at = loss.steps.tolist().index(33)
    assert loss.values[at, :, Statistic.STATE].tolist() == [
        State.ZERO,
        State.OK,
        State.OK,
        State.NAN,
    ]
    assert loss.values[at, 1, Statistic.NORM] == pytest.approx(
        1e-30 * training.norms()[1], rel=1e-4
    )
    assert loss.values[at, 0, Statistic.ZERO_FRACTION] == 1


def test_norms_are_without_the_loss_scale(logdir):
    keras = pytest.importorskip("keras")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=64.0)
    training = Training()
    optimizer.build(training.variables)

    @tf.function
    def step(factors):
        with gs.GradientTape() as tape:
            loss = optimizer.scale_loss(training.loss(factors))
        tape.gradient(loss, training.variables)

    factors = np.ones([30, 4], np.float32)
    factors[27, 3] = NAN
    gs.watch_optimizer(optimizer)
    with gs.record(logdir, every=1000, on_error="raise"):
        for each in factors:
            step(tf.constant(each))
    loss = loss_of(logdir)
    assert loss.steps.tolist() == [0, 27, 28]
    assert is_absent(loss.values[1:, :3, Statistic.MAX_ABS]).all()
    np.testing.assert_allclose(
        loss.values[:, :3, Statistic.NORM], [training.norms()[:3]] * 3, rtol=1e-5
    )


@in_graphs
def test_cosines(options, logdir):
    """Of large gradients on steps of the cadence, of small ones on those of the sentinel too."""
    training = Training()

    @tf.function(**options)
    def step(factors):
        with gs.GradientTape(persistent=True) as tape:
            loss = training.loss(factors)
            other = training.loss(tf.constant([1.0, -1.0, 1.0, -1.0])) + tf.reduce_sum(
                training.variables[2] * tf.reverse(training.patterns[2], [0])
            )
        first = tape.gradient(loss, training.variables)
        second = tape.gradient(other, training.variables)
        return [a + b for a, b in zip(first, second, strict=True)]

    with gs.record(logdir, every=30, on_error="raise"):
        for number in range(45):
            step(tf.constant([1.0, 1.0, 1.0, NAN if number == 40 else 1.0]))
    (run,) = gs.load(logdir).runs.values()
    (pair,) = run.cosines
    pattern = training.patterns[2].numpy().astype(np.float64)
    with_mirror = pattern + pattern[::-1]
    cosine = np.vdot(pattern, with_mirror) / np.linalg.norm(pattern) / np.linalg.norm(with_mirror)
    found = {int(step): row for step, row in zip(pair.steps, pair.cosines, strict=True)}
    for due in (0, 30):
        np.testing.assert_allclose(found[due], [1, -1, cosine, -1], rtol=1e-4)
    loss = next(one for one in run.losses if one.name == "loss")
    assert loss.steps.tolist() == [0, 30, 40, 41]


BATCHES = np.random.default_rng(8).normal(size=[30, 4, 64]).astype(np.float32)
BATCHES[25] *= 300


def trained(tape, options, is_read=False, batches=BATCHES):
    """Weights after a step for each batch; `is_read`: all gradients are read by hand as well."""
    random = np.random.default_rng(9)
    first, second, bias = variables = [
        tf.Variable(0.02 * random.normal(size=shape).astype(np.float32))
        for shape in ([64, 40_000], [40_000, 64], [64])
    ]
    kept = tf.Variable(0.0)

    def step(batch):
        with tape() as taken:
            made = tf.tanh(batch @ first) @ second + bias
            loss = tf.reduce_mean((made - batch) ** 2)
        gradients = taken.gradient(loss, variables)
        if is_read:
            kept.assign(tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
        for gradient, variable in zip(gradients, variables, strict=True):
            variable.assign_sub(0.1 * gradient + 1e-3 * variable)

    run = step if options is None else tf.function(step, **options)
    for batch in batches:
        run(tf.constant(batch))
    return [variable.numpy() for variable in variables]


@pytest.mark.parametrize("options", [None, {}], ids=["eager", "graph"])
def test_weights_are_identical(options, logdir):
    with gs.record(logdir, every=10, on_error="raise"):
        recorded = trained(gs.GradientTape, options)
    for ours, plain in zip(recorded, trained(tf.GradientTape, options), strict=True):
        assert ours.tobytes() == plain.tobytes()
    loss = loss_of(logdir)
    assert loss.steps.tolist()[:4] == [0, 10, 20, 25]  # and what that step has ruined
    assert is_absent(loss.values[:, :, Statistic.VARIABLE_NORM]).any() == (options is not None)


def test_xla_joins_a_product_with_what_alone_reads_it(logdir):
    """Here it rounds otherwise as soon as anything else does: an l2_loss by hand is enough."""
    options = {"jit_compile": True}
    calm = BATCHES[:20]
    with gs.record(logdir, every=10, on_error="raise"):
        recorded = trained(gs.GradientTape, options, batches=calm)
    by_hand = trained(tf.GradientTape, options, is_read=True, batches=calm)
    plain = trained(tf.GradientTape, options, batches=calm)
    for ours, theirs, alone in zip(recorded, by_hand, plain, strict=True):
        assert ours.tobytes() == theirs.tobytes()
        np.testing.assert_allclose(ours, alone, rtol=0, atol=1e-6 * np.abs(alone).max())


def test_no_large_gradient_is_apart_where_all_are_small(monkeypatch):
    """Twin of the tests above: they would notice if nothing were measured apart."""
    monkeypatch.setattr(measured, "HELD_BYTES", 1 << 40)
    assert apart_of([tf.zeros(LARGE)] * 3) == ()
