"""Several series in one call: due together, recorded together, each in its own form."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format import messages
from tb_gradscope.format.statistics import STATISTIC_COUNT, Reason, State, Statistic
from tb_gradscope.recording.measure.gradients import Gradients
from tb_gradscope.recording.store.counted import count
from tb_gradscope.recording.store.description import ABSENT_MARK, Description
from tb_gradscope.recording.store.observe import observe, record, schema

in_both = pytest.mark.parametrize("in_function", [False, True], ids=["eager", "graph"])
KINDS = messages.Schema
NAMES = ("a", "b")


def description(kind, name, stage=messages.Label.RAW, **more):
    variables = [messages.Variable(name=each, dtype="float32", shape=[2]) for each in NAMES]
    label = messages.Label(replicas=1, stage=stage)
    return Description(
        schema(kind, name, variables, messages.Place(), label=label, **more),
        (False, False),
        counted_as="of these tests",
    )


def statistics(norm):
    """Payload of two gradients, the second of norm 0."""
    rows = np.zeros((2, STATISTIC_COUNT), np.float32)
    rows[:, Statistic.STATE] = [State.OK, State.ZERO]
    rows[0, Statistic.NORM] = 1
    is_norm = np.tile(np.arange(STATISTIC_COUNT) == Statistic.NORM, 2)
    return tf.constant(rows.ravel()) * tf.where(is_norm, norm, 1.0)


def gradient_payload(norm, *loss_scale):
    """The value of the loss, its scale if it was divided out, and the statistics."""
    return tf.concat([[0.5, *loss_scale], statistics(norm)], 0)


def run_of(logdir):
    (run,) = gs.load(logdir).runs.values()
    return run


@in_both
def test_every_kind_in_one_call(in_function, logdir):
    optimizer = messages.Optimizer(class_name="Adam", has_loss_scale=True)
    described = [
        description(KINDS.GRADIENT, "total", messages.Label.UNSCALED),
        description(KINDS.GRADIENT, "part", part_of="total"),
        description(KINDS.COSINE, "part", losses=["total"]),
        description(KINDS.OPTIMIZER, "adam", optimizer=optimizer),
        description(
            KINDS.CLIP,
            "clip",
            clip=messages.Clip(method=messages.Clip.NORM, counts_every_call=True),
        ),
    ]
    built = []

    def step(norm):
        def payloads():
            built.append(True)
            rows = tf.reshape(statistics(norm), [2, STATISTIC_COUNT])
            updates = tf.concat([rows, [[0.5], [0.25]]], 1)
            return [
                gradient_payload(norm, 1024.0),
                gradient_payload(2 * norm),
                tf.constant([0.5, ABSENT_MARK]),
                tf.concat([[8.0, 0.01, 0.0], tf.reshape(updates, [-1])], 0),
                tf.constant([1.0, 2.0, 1.0, 0.5, 1.0, 0.0, 2.0, 1.0, 0.0, 0.0]),
            ]

        observe(recorder, described, payloads, (False, False))

    run = tf.function(step, autograph=False) if in_function else step
    with gs.record(logdir, every=3, sentinel=False, on_error="raise") as recorder:
        for number in range(5):
            run(tf.constant(float(number + 1)))
    found = run_of(logdir)
    total, part = found.losses
    assert len(built) == (1 if in_function else 2)
    for series in (total, part, found.optimizers[0], found.cosines[0], found.clips[0]):
        assert series.steps.tolist() == [0, 3]
    assert total.values[:, 0, Statistic.NORM].tolist() == [1, 4]
    assert total.loss_scales.tolist() == [1024, 1024]
    assert part.part_of == "total"
    assert part.values[:, 0, Statistic.NORM].tolist() == [2, 8]
    assert part.calls.tolist() == total.calls.tolist() == [1, 4]
    assert found.cosines[0].cosines.tolist() == [[0.5]] * 2  # of the one that both have
    assert found.optimizers[0].update_norms.tolist() == [[0.5, 0.25]] * 2
    assert found.optimizers[0].loss_scales.tolist() == [8, 8]
    assert found.clips[0].clipped.tolist() == [0, 0]


@in_both
def test_what_the_sentinel_has_recorded_is_recorded_of_all(in_function, logdir):
    described = [description(KINDS.GRADIENT, "total"), description(KINDS.GRADIENT, "part")]

    def step(gradient):
        observe(
            recorder,
            described,
            lambda: [gradient_payload(1.0), gradient_payload(2.0)],
            (False, False),
            gradients=Gradients([gradient, None], [None, None]),
        )

    run = tf.function(step, autograph=False) if in_function else step
    with gs.record(logdir, every=1000, on_error="raise") as recorder:
        for number in range(12):
            run(tf.constant([np.inf if number == 7 else 1.0]))
    for loss in run_of(logdir).losses:
        assert loss.steps.tolist() == [0, 7, 8]
        assert loss.reasons.tolist() == [Reason.CADENCE, Reason.NONFINITE, Reason.NONFINITE]


@in_both
def test_a_call_is_counted_first_and_recorded_later(in_function, logdir):
    """Only every second call meets the condition: the cadence is of those."""
    described = description(KINDS.GRADIENT, "loss")

    def step(is_met):
        counted = count(recorder, described, (False, False), condition=is_met, calls_to_one=2)
        record(counted, [described], lambda: [gradient_payload(1.0)])

    run = tf.function(step, autograph=False) if in_function else step
    with gs.record(logdir, every=2, on_error="raise") as recorder:
        for number in range(9):
            run(tf.constant(number % 2 == 1))
    assert run_of(logdir).losses[0].steps.tolist() == [1, 5]
