"""The sentinel: what happens between the records is not missed, and does not flood the log."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.statistics import Reason, State
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.sentinel import Sentinel

WAYS = {"eager": None, "graph": {}, "xla": {"jit_compile": True}}
in_both = pytest.mark.parametrize("way", ["eager", "graph"])
NAN, INF = np.nan, np.inf


class Training:
    """Gradients that are whatever is fed: the loss is linear in the weights."""

    def __init__(self, way="graph", dtype=tf.float32):
        self.wide = tf.Variable(tf.ones([3], dtype), name="wide")
        self.other = tf.Variable(tf.ones([2], dtype), name="other")
        options = WAYS[way]
        self.step = self._step if options is None else tf.function(self._step, **options)

    def _step(self, wide, other):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(self.wide * wide) + tf.reduce_sum(self.other * other)
        tape.gradient(loss, [self.wide, self.other])

    def feed(self, numbers, others=None):
        """One step for each number; it is an element of the first gradient."""
        dtype = self.wide.dtype
        for number, other in zip(numbers, others or [1.0] * len(numbers), strict=True):
            self.step(
                tf.cast(tf.constant([number, 1.0, 2.0]), dtype),
                tf.cast(tf.constant([other, 1.0]), dtype),
            )


def changed(count, changes):
    """So many ones, with some of them replaced."""
    return [changes.get(position, 1.0) for position in range(count)]


def loss_of(logdir):
    (run,) = gs.load(logdir).runs.values()
    (loss,) = run.losses
    return loss


def reasons(logdir):
    """Why each recorded step was recorded."""
    loss = loss_of(logdir)
    pairs = zip(loss.steps, loss.reasons, strict=True)
    return {int(step): Reason(int(reason)).name for step, reason in pairs}


@in_both
@pytest.mark.parametrize("value", [NAN, INF])
def test_the_first_step_that_is_not_finite_is_exact(way, value, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed(changed(60, {37: value, 38: value, 39: value}))
    assert reasons(logdir) == {0: "CADENCE", 37: "NONFINITE", 40: "NONFINITE"}
    loss = loss_of(logdir)
    bad = State.NAN if np.isnan(value) else State.INF
    assert loss.values[:, 0, 0].tolist() == [State.OK, bad, State.OK]
    assert loss.values[:, 1, 0].tolist() == [State.OK] * 3
    assert loss.nonfinite.tolist() == [0, 1, 3]
    assert loss.watched


@in_both
def test_a_spike_is_recorded_with_the_variables_that_made_it(way, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed([1.0] * 100, changed(100, {61: 1e4, 83: 1e4}))
    assert reasons(logdir) == {0: "CADENCE", 61: "SPIKE", 83: "SPIKE"}
    assert loss_of(logdir).spikes.tolist() == [[61, 1], [83, 1]]


@in_both
def test_a_norm_that_collapses_leaves_its_range_too(way, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        training = Training(way)
        for other in changed(70, {66: 1e-5}):
            training.step(tf.ones([3]), tf.fill([2], other))
    assert reasons(logdir) == {0: "CADENCE", 66: "SPIKE"}


@in_both
def test_what_a_variable_never_was_is_recorded_however_often_others_were(way, logdir):
    """One gradient is NaN in every other step from the start; another turns much later."""
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed([NAN, 1.0] * 60, changed(120, {111: NAN, 112: NAN}))
    loss = loss_of(logdir)
    assert reasons(logdir)[111] == "NONFINITE"
    assert len(loss.steps) < 25
    last = loss.steps.tolist().index(111)
    assert loss.nonfinite[last] == 57
    assert loss.values[last, :, 0].tolist() == [State.OK, State.NAN]


@in_both
def test_a_spike_hides_no_other_variables_nor_one_that_is_far_larger(way, logdir):
    wide = changed(80, {50: 1e3, 52: 1e3, 54: 1e7})
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed(wide, changed(80, {40: 1e-5, 41: 1e4, 48: 1e4}))
    assert reasons(logdir) == {0: "CADENCE"} | dict.fromkeys([41, 50, 54], "SPIKE")


@in_both
def test_the_first_calls_have_no_range_but_a_leap_is_seen(way, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way).feed(changed(20, {8: 1e4}), changed(20, {6: 20.0, 12: 1e-4}))
    assert reasons(logdir) == {0: "CADENCE", 8: "SPIKE"}


def test_nan_that_comes_and_goes_for_ever_takes_a_bounded_share_of_the_log(logdir):
    """As many records for each doubling of the training's length; all calls are counted."""
    step = tf.function(Training().step, reduce_retracing=True)

    @tf.function
    def train(first, count):
        for call in tf.range(first, first + count):
            odd = tf.cond(call % 2 == 0, lambda: NAN, lambda: 1.0)
            step(tf.stack([odd, 1.0, 1.0]), tf.ones([2]))

    with gs.record(logdir, every=10**9, on_error="raise"):
        train(0, 500)
        HOST.drain()
        early = len(loss_of(logdir).steps)
        train(500, 3500)
    loss = loss_of(logdir)
    assert early <= 16 * 3 + 2
    assert len(loss.steps) <= 16 * 6 + 2
    assert loss.nonfinite[-1] == (loss.calls[-1] + 1) // 2


def test_a_loop_inside_one_function(logdir):
    variable = tf.Variable([1.0, 1.0])

    @tf.function
    def train(steps):
        for number in tf.range(steps):
            with gs.GradientTape() as tape:
                factor = tf.where(number == 41, NAN, 1.0)
                loss = tf.reduce_sum(variable * factor)
            variable.assign_sub(0.0 * tf.ones_like(tape.gradient(loss, variable)))

    with gs.record(logdir, every=1000, on_error="raise"):
        train(50)
    assert reasons(logdir) == {0: "CADENCE", 41: "NONFINITE", 42: "NONFINITE"}


@in_both
def test_sparse_gradients(way, logdir):
    table = tf.Variable(tf.ones([5, 2]))

    def step(rows, factor):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, rows) * factor)
        tape.gradient(loss, table)

    options = WAYS[way]
    run = step if options is None else tf.function(step, **options)
    with gs.record(logdir, every=1000, on_error="raise"):
        for number in range(40):
            run(tf.constant([1, 3, 3]), tf.constant(NAN if number == 33 else 1.0))
    assert reasons(logdir) == {0: "CADENCE", 33: "NONFINITE", 34: "NONFINITE"}


def test_compiled(logdir):
    """All of it, in one function that XLA compiles; a table's gradient is sparse."""
    table = tf.Variable(tf.ones([5, 2], tf.bfloat16), name="table")
    weight = tf.Variable([1.0, 2.0], name="weight")

    @tf.function(jit_compile=True)
    def step(rows, number, other):
        with gs.GradientTape() as tape:
            found = tf.cast(tf.gather(table, rows) * tf.cast(number, tf.bfloat16), tf.float32)
            loss = tf.reduce_sum(found) + tf.reduce_sum(weight * other)
        tape.gradient(loss, [table, weight])

    numbers = changed(70, {30: 1e4, 50: NAN, 51: NAN, 60: 1e30})
    others = changed(70, {64: INF})
    with gs.record(logdir, every=1000, on_error="raise"):
        for number, other in zip(numbers, others, strict=True):
            step(tf.constant([1, 3, 3]), tf.constant(number), tf.constant(other))
    assert reasons(logdir) == {
        0: "CADENCE",
        **dict.fromkeys((30, 60), "SPIKE"),
        **dict.fromkeys((50, 52, 64, 65), "NONFINITE"),
    }
    loss = loss_of(logdir)
    assert loss.spikes.tolist() == [[30, 0], [60, 0]]
    assert loss.nonfinite.tolist() == [0, 0, 1, 2, 2, 3, 3]


@in_both
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float32], ids=lambda d: d.name)
def test_squares_that_overflow_are_not_infinite_gradients(way, dtype, logdir):
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way, dtype).feed(changed(60, {25: 1e30, 45: NAN}))
    assert reasons(logdir) == {0: "CADENCE", 25: "SPIKE", 45: "NONFINITE", 46: "NONFINITE"}
    assert loss_of(logdir).nonfinite.tolist() == [0, 0, 1, 1]


@in_both
def test_float16_overflow(way, logdir):
    """Elements of a float16 are squared in float32, where none of them overflows."""
    with gs.record(logdir, every=1000, on_error="raise"):
        Training(way, tf.float16).feed(changed(60, {25: 6e4, 45: 1e5}))
    assert reasons(logdir) == {0: "CADENCE", 25: "SPIKE", 45: "NONFINITE", 46: "NONFINITE"}


@in_both
def test_zero_and_missing_gradients_are_no_news(way, logdir):
    weight, unused = tf.Variable([1.0, 2.0]), tf.Variable(1.0)

    def step(number):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(weight * number)
        tape.gradient(loss, [unused, weight])

    options = WAYS[way]
    run = step if options is None else tf.function(step, **options)
    with gs.record(logdir, every=1000, on_error="raise"):
        for number in [0.0, 1.0] * 40:
            run(tf.constant(number))
    assert reasons(logdir) == {0: "CADENCE"}


@in_both
def test_a_loss_that_misses_a_gradient_is_watched_all_the_same(way, logdir):
    """What is missing is said before the sentinel has looked at anything."""
    weights, unused = tf.Variable([1.0, 2.0]), tf.Variable(1.0)

    def step(factor):
        with gs.GradientTape() as tape:
            loss = factor * tf.reduce_sum(weights)
        tape.gradient(loss, [weights, unused])

    run = step if way == "eager" else tf.function(step)
    with gs.record(logdir, every=1000, on_error="raise"):
        for number in range(60):
            run(tf.constant(NAN if 37 <= number < 40 else 1.0))
    loss = loss_of(logdir)
    assert loss.watched
    assert loss.nonfinite.tolist() == [0, 1, 3]


def test_eager_gradients_of_many_shapes_share_a_look(logdir, monkeypatch):
    compiled = []
    original = Sentinel._compile
    monkeypatch.setattr(
        Sentinel, "_compile", lambda self, layout: compiled.append(layout) or original(self, layout)
    )
    with gs.record(logdir, every=1000, on_error="raise"):
        for size in range(1, 30):
            inputs = tf.ones([size])
            with gs.GradientTape() as tape:
                tape.watch(inputs)
                loss = tf.reduce_sum(inputs * (NAN if size == 20 else 1.0))
            tape.gradient(loss, inputs)
    assert reasons(logdir) == {0: "CADENCE", 19: "NONFINITE", 20: "NONFINITE"}
    assert len(compiled) == 1


def test_a_pattern_of_none_never_seen_is_recorded(logdir):
    weight, other = tf.Variable(1.0), tf.Variable(1.0)
    with gs.record(logdir, every=1000, on_error="raise"):
        for number in range(9):
            with gs.GradientTape() as tape:
                loss = weight * (other if number == 6 else 1.0)
            tape.gradient(loss, [weight, other])
    assert reasons(logdir) == {0: "CADENCE", 6: "PATTERN"}


@pytest.mark.parametrize("options", [{"every": 1}, {"every": 1000, "sentinel": False}])
def test_where_no_sentinel_looks(options, logdir):
    with gs.record(logdir, on_error="raise", **options):
        Training().feed(changed(20, {7: NAN}))
    loss = loss_of(logdir)
    assert not set(loss.reasons.tolist()) - {Reason.CADENCE}
    # Where all is recorded, nothing can have been missed.
    assert loss.watched == (options["every"] == 1)


def test_a_sentinel_that_is_neither_on_nor_off(logdir):
    with pytest.raises(TypeError, match=r"sentinel='no'\): expected True or False, found str\."):
        gs.record(logdir, sentinel="no")


def test_it_does_not_look_where_summaries_are_not_to_be_recorded(logdir):
    writer, training = tf.summary.create_file_writer(str(logdir)), Training()
    numbers = changed(40, {30: NAN})
    with writer.as_default():
        for number in numbers:
            with tf.summary.record_if(False):
                training.feed([number])
    writer.close()
    assert loss_of(logdir).traced_only


def test_the_default_writer_has_a_sentinel(logdir):
    writer = tf.summary.create_file_writer(str(logdir))
    with writer.as_default():
        # Dense to 128, then every 2nd.
        Training().feed(changed(160, {131: NAN}))
    writer.close()
    assert reasons(logdir)[131] == "NONFINITE"


@in_both
def test_the_next_recording_begins_anew(way, tmp_path):
    training = Training(way)
    for name, other in (("a", 1.0), ("b", 1e6)):
        with gs.record(tmp_path / name, every=1000, on_error="raise"):
            training.feed(changed(30, {22: NAN}), [other] * 30)
        assert reasons(tmp_path / name) == {0: "CADENCE", 22: "NONFINITE", 23: "NONFINITE"}


def test_a_function_goes_on_into_a_recording_without_sentinel(tmp_path):
    training = Training()
    with gs.record(tmp_path / "a", every=1000, on_error="raise"):
        training.feed([1.0])
    with gs.record(tmp_path / "b", every=1000, sentinel=False, on_error="raise"):
        training.feed(changed(30, {22: NAN}))
    assert reasons(tmp_path / "b") == {0: "CADENCE"}
    assert not loss_of(tmp_path / "b").watched


def test_nothing_looks_when_the_recording_has_ended(logdir, monkeypatch):
    looks = tf.Variable(0)
    original = Sentinel._glance

    def counted(self, *arguments):
        looks.assign_add(1)
        return original(self, *arguments)

    monkeypatch.setattr(Sentinel, "_glance", counted)
    training = Training()
    with gs.record(logdir, every=1000, on_error="raise"):
        training.feed([1.0] * 5)
    assert looks.numpy() == 5
    training.feed([1.0] * 5)
    assert looks.numpy() == 5


def judged(norms):
    """What a sentinel has recorded of norms `[call, variable]`."""
    sentinel, calls, count = Sentinel(norms.shape[1]), *norms.shape

    @tf.function(autograph=False)
    def look_at_all(values):
        def look(call, odd):
            watched = Watched(lambda: [values[call, row][None] for row in range(count)])
            seen = sentinel.glance_if(tf.constant(True), watched, call).judge_if_odd()
            return call + 1, odd.write(tf.cast(call, tf.int32), seen.reason)

        start = tf.constant(0, tf.int64), tf.TensorArray(tf.int64, calls)
        return tf.while_loop(lambda call, _: call < calls, look, start)[1].stack()

    found = look_at_all(tf.constant(norms, tf.float32)).numpy()
    return int(np.count_nonzero(found == Reason.SPIKE))


NORMAL = np.random.default_rng(7).standard_normal([2000, 6])
TOGETHER = np.random.default_rng(8).standard_normal([2000, 1])
BASE = np.exp(0.3 * TOGETHER + 0.2 * NORMAL)
HEALTHY = {
    "quiet": np.exp(0.05 * NORMAL),
    "lively": np.exp(0.7 * TOGETHER + 0.5 * NORMAL),
    "falling": BASE * np.exp(-np.arange(2000) / 150)[:, None].clip(1e-4),
    "falling at first": BASE * np.exp(-np.arange(2000) / 2.0)[:, None].clip(1e-4),
    "sometimes zero": BASE * (NORMAL > 0.5),
    "bfloat16": tf.cast(BASE, tf.bfloat16).numpy().astype(np.float32),
}


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_training_makes_no_spike(case):
    assert judged(HEALTHY[case]) == 0


def test_wild_training_makes_few():
    """Reinforcement learning with rare rewards: heavy tails."""
    tails = np.random.default_rng(9).standard_t(3, [2000, 1])
    assert judged(np.exp(0.5 * tails + 0.3 * NORMAL)) < 30


def test_a_range_moves_to_where_the_norms_are():
    """Two regimes in turns: each change is news, what follows is not."""
    regimes = np.where((np.arange(2000) // 400) % 2, 30.0, 1.0)[:, None]
    assert 1 <= judged(BASE * regimes) <= 6
