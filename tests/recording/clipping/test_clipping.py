"""Clip functions give TensorFlow's results, and a record of what they did."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format.record import is_none
from tests.recording.tape.test_tape import assert_identical

modes = pytest.mark.parametrize("mode", ["eager", "graph", "xla"])

BIG = tf.constant([30.0, 40.0])  # norm 50
SMALL = tf.constant([[0.6], [0.8]])  # norm 1


def run_in(mode, function, *arguments):
    if mode == "eager":
        return function(*arguments)
    return tf.function(function, jit_compile=mode == "xla")(*arguments)


def sparse():
    return tf.IndexedSlices(tf.constant([[3.0], [4.0]]), tf.constant([1, 1]), tf.constant([5, 1]))


CALLS = {
    "global_norm": lambda m: m.clip_by_global_norm([BIG, SMALL], 1.0),
    "global_norm_unclipped": lambda m: m.clip_by_global_norm([BIG, SMALL], 1e6),
    "global_norm_none": lambda m: m.clip_by_global_norm([BIG, None, SMALL], 1.0),
    "global_norm_use_norm": lambda m: m.clip_by_global_norm(
        [BIG], 1.0, use_norm=tf.constant(100.0)
    ),
    "global_norm_nan": lambda m: m.clip_by_global_norm([BIG, tf.constant([np.nan])], 1.0),
    "global_norm_inf": lambda m: m.clip_by_global_norm([BIG, tf.constant([np.inf])], 1.0),
    "global_norm_sparse": lambda m: m.clip_by_global_norm(
        [sparse(), BIG], tf.constant(1.0), name="s"
    ),
    "global_norm_zero": lambda m: m.clip_by_global_norm([tf.zeros([3])], 1.0),
    "norm": lambda m: m.clip_by_norm(BIG, 5.0),
    "norm_axes": lambda m: m.clip_by_norm(tf.ones([3, 4]), 1.0, axes=[1]),
    "norm_sparse": lambda m: m.clip_by_norm(sparse(), 1.0),
    "norm_list": lambda m: m.clip_by_norm([3.0, 4.0], 1.0),
    "value": lambda m: m.clip_by_value(BIG, -35.0, 35.0),
    "value_tensor": lambda m: m.clip_by_value(
        BIG, tf.constant([-1.0, -2.0]), tf.constant([1.0, 2.0])
    ),
    "value_sparse": lambda m: m.clip_by_value(sparse(), -3.5, 3.5),
    "float16": lambda m: m.clip_by_global_norm([tf.cast(BIG, tf.float16)], 1.0),
    "bfloat16": lambda m: m.clip_by_norm(tf.cast(BIG, tf.bfloat16), 1.0),
    "float64": lambda m: m.clip_by_global_norm([tf.cast(BIG, tf.float64)], 1.0),
}


@modes
@pytest.mark.parametrize("call", CALLS)
def test_results_are_tensorflows(call, mode, recorder):
    ours = run_in(mode, lambda: CALLS[call](gs))
    theirs = run_in(mode, lambda: CALLS[call](tf))
    assert_identical(ours, theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m.clip_by_global_norm(BIG, 1.0),
        lambda m: m.clip_by_norm("text", 1.0),
        lambda m: m.clip_by_value(BIG, "a", 1.0),
    ],
)
def test_errors_are_tensorflows(wrong, recorder):
    def outcome(module):
        try:
            return wrong(module)
        except Exception as error:
            return type(error), str(error)

    assert outcome(gs) == outcome(tf)


@pytest.mark.parametrize("name", ["clip_by_global_norm", "clip_by_norm", "clip_by_value"])
def test_signatures_are_tensorflows_and_keywords_more(name):
    ours = list(inspect.signature(getattr(gs, name)).parameters.values())
    theirs = list(inspect.signature(getattr(tf, name)).parameters.values())
    assert [(p.name, p.default) for p in ours[: len(theirs)]] == [
        (p.name, p.default) for p in theirs
    ]
    assert [p.name for p in ours[len(theirs) :]] == ["variables"]


def gradients():
    """Gradients of norm 50 and 1 as a tape returns them, and a None."""
    w, b, unused = (tf.Variable(x, name=n) for x, n in ((BIG, "w"), (SMALL, "b"), (SMALL, "u")))

    def take(scale):
        with gs.GradientTape() as tape:
            loss = scale * (tf.reduce_sum(w * BIG) + tf.reduce_sum(b * SMALL))
        return tape.gradient(loss, [w, unused, b])

    return take


@modes
def test_a_global_norm_clip_is_recorded(mode, recorded):
    take = gradients()

    def step(scale):
        gs.clip_by_global_norm(take(scale), 10.0)

    step = step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
    for scale in (1.0, 0.1, 1.0, np.nan, 1.0):
        step(tf.constant(scale))
    (clip,) = recorded().clips
    whole = np.sqrt(50**2 + 1)
    assert (clip.name, clip.method) == ("clip_by_global_norm", "global_norm")
    assert clip.counts_every_call
    assert clip.variables == ("w", "u", "b")
    assert clip.steps.tolist() == [0, 1, 2, 3, 4]
    assert clip.threshold.tolist() == [10] * 5
    np.testing.assert_allclose(
        clip.norm_before, [whole, whole / 10, whole, np.nan, whole], rtol=1e-5
    )
    np.testing.assert_allclose(clip.norm_after, [10, whole / 10, 10, np.nan, 10], rtol=1e-5)
    np.testing.assert_allclose(
        clip.scale, [10 / whole, 1, 10 / whole, np.nan, 10 / whole], rtol=1e-5
    )
    assert clip.calls.tolist() == [1, 2, 3, 4, 5]
    assert clip.clipped.tolist() == [1, 1, 2, 2, 3]
    assert clip.nonfinite.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(clip.norms[0, [0, 2], 0], [50, 1], rtol=1e-5)
    np.testing.assert_allclose(clip.norms[0, [0, 2], 1], [500 / whole, 10 / whole], rtol=1e-5)
    assert is_none(clip.norms[:, 1]).all()
    assert not is_none(clip.norms[3, 0]).any()  # NaN is not None


@modes
def test_calls_that_are_not_recorded_are_counted(mode, logdir):
    take = gradients()
    with gs.record(logdir, every=4, on_error="raise"):

        def step(scale):
            gs.clip_by_global_norm(take(scale), 10.0)

        step = step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
        for scale in (0.1, 1.0, 1.0, 1.0, 0.1):
            step(tf.constant(scale))
    (run,) = gs.load(logdir).runs.values()
    assert run.clips[0].steps.tolist() == [0, 4]
    assert run.clips[0].calls.tolist() == [1, 5]
    assert run.clips[0].clipped.tolist() == [0, 3]


@modes
def test_use_norm_is_the_norm_that_counts(mode, recorded):
    run_in(
        mode, lambda: gs.clip_by_global_norm([BIG], 10.0, use_norm=tf.constant(20.0), name="mine")
    )
    (clip,) = recorded().clips
    assert clip.name == "mine"
    assert clip.norm_before.tolist() == [20]
    assert clip.norm_after.tolist() == [25]
    assert clip.clipped.tolist() == [1]


@modes
def test_clipping_each_by_its_norm(mode, recorded):
    take = gradients()

    def step():
        [g if g is None else gs.clip_by_norm(g, 5.0) for g in take(1.0)]

    step = step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
    step()
    step()
    (clip,) = recorded().clips
    assert (clip.method, clip.variables) == ("norm", ("w", "b"))
    np.testing.assert_allclose(clip.norms[1], [[50, 5], [1, 1]], rtol=1e-5)
    assert clip.calls.tolist() == [2, 4]
    assert clip.clipped.tolist() == [1, 2]


@modes
def test_clipping_by_value(mode, recorded):
    variable = tf.Variable(BIG, name="v")
    run_in(mode, lambda: gs.clip_by_value(BIG, -35.0, 35.0, variables=[variable]))
    (clip,) = recorded().clips
    assert (clip.method, clip.variables) == ("value", ("v",))
    assert clip.threshold.tolist() == [35]
    np.testing.assert_allclose(clip.norms[0, 0], [50, np.hypot(30, 35)], rtol=1e-6)
    assert clip.clipped.tolist() == [1]


@modes
def test_clipping_twice_is_seen(mode, recorded):
    take = gradients()

    def step():
        once, _ = gs.clip_by_global_norm(take(1.0), 10.0, name="first")
        gs.clip_by_global_norm(once, 1.0, name="second")

    run_in(mode, step)
    first, second = recorded().clips
    assert (first.after, second.after) == ("", "first")
    assert second.variables == ("w", "u", "b")


@modes
def test_an_own_clipper(mode, recorded):
    w = tf.Variable(BIG, name="w")

    def step():
        gs.record_clipping([BIG, None], [BIG / 2, None], [w, w], name="half", threshold=25.0)
        gs.record_clipping(SMALL, SMALL, name="idle")

    run_in(mode, step)
    half, idle = recorded().clips
    assert (half.method, half.variables) == ("custom", ("w", "w_2"))
    assert half.scale.tolist() == [0.5]
    assert half.clipped.tolist() == [1]
    assert idle.clipped.tolist() == [0]
    assert np.isnan(idle.threshold).all()


def test_sparse_norms_are_those_that_tensorflow_compares(recorded):
    """`tf.clip_by_global_norm` does not sum duplicate rows first; neither do we here."""
    _, norm = gs.clip_by_global_norm([sparse(), BIG], 10.0)
    (clip,) = recorded().clips
    np.testing.assert_allclose(clip.norm_before, [norm.numpy()])
    np.testing.assert_allclose(clip.norms[0, :, 0], [5, 50])


def test_a_whole_norm_whose_square_overflows(recorded):
    each = BIG * 3e17  # norm 1.5e19, the square of which float32 just holds
    gs.record_clipping([each] * 4, [BIG] * 4, name="huge")
    assert recorded().clips[0].norm_before[0] == pytest.approx(3e19, rel=1e-5)


def test_as_many_variables_as_gradients(recorded):
    one, two = tf.constant([3.0]), tf.constant([4.0])
    with pytest.warns(gs.GradscopeWarning, match=r"got 2 gradients and variables=1 variables"):
        gs.clip_by_global_norm([one, two], 1.0, variables=[tf.Variable(1.0)])
    assert recorded().clips[0].variables == ("one", "two")


def test_wrong_calls_of_record_clipping():
    with pytest.raises(TypeError, match=r"record_clipping\(name=3\): expected a string"):
        gs.record_clipping([BIG], [BIG], name=3)


def test_a_threshold_that_is_no_number():
    with pytest.raises(TypeError, match=r"threshold='a'\): expected a number or None, found str"):
        gs.record_clipping([BIG], [BIG], name="mine", threshold="a")


def test_lists_that_do_not_match(recorder):
    with pytest.warns(gs.GradscopeWarning, match="got 2 gradients before and 1 after"):
        gs.record_clipping([BIG, BIG], [BIG], name="x")


def test_clipping_goes_where_the_tape_records(tmp_path):
    take = tf.Variable(BIG, name="w")
    mine = gs.record(tmp_path / "mine", every=1, on_error="raise")
    with mine, gs.record(tmp_path / "other", every=1):
        with gs.GradientTape(recorder=mine) as tape:
            loss = tf.reduce_sum(take**2)
        once, _ = gs.clip_by_global_norm([tape.gradient(loss, take)], 1.0)
        gs.clip_by_norm(once[0], 0.5)
    runs = gs.load(tmp_path).runs
    assert [clip.name for clip in runs["mine"].clips] == ["clip_by_global_norm", "clip_by_norm"]
    assert "other" not in runs or not runs["other"].clips


def test_nothing_to_clip(recorder, logdir):
    gs.record_clipping([], [], name="nothing")
    recorder.flush()
    assert not any(run.clips for run in gs.load(logdir).runs.values())


def test_summed_gradients_are_named_by_the_program(recorded):
    g1, g2 = BIG + 0, SMALL + 0
    gs.clip_by_global_norm([g1, g2], 1.0)
    assert recorded().clips[0].variables == ("g1", "g2")


def test_names_are_looked_for_once(recorder, monkeypatch):
    """Eager code comes by in every step; searching frames there would cost more than the step."""
    looked, original = [], recorder.names.of_variables

    def counted(*arguments):
        looked.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(recorder.names, "of_variables", counted)
    take, w = gradients(), tf.Variable(BIG)
    for _ in range(5):
        g = take(1.0)
        gs.clip_by_global_norm(g, 10.0)
        gs.clip_by_global_norm([g[0] + 1, g[2] + 1], 10.0)
        gs.clip_by_value(g[0] + 1, -1.0, 1.0, variables=[w])
    assert len(looked) == 4  # the tape's and one for each clip site
