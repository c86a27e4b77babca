"""The first error is said while the training runs."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf

import tb_gradscope as gs
from tb_gradscope.format import messages
from tb_gradscope.format.record import COUNTED, GradientRecord
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.recording.store import live


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.ERROR, "tb_gradscope")
    return lambda: [record.getMessage() for record in caplog.records]


def train(recorder, steps, broken_at=None, compiled=True):
    weight = tf.Variable([1.0, 2.0], name="weight")

    def step(x):
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum((weight * x) ** 2)
        weight.assign_sub(1e-3 * tape.gradient(loss, weight))

    step = tf.function(step) if compiled else step
    done = 0
    with recorder:
        for number in range(steps):
            x = float("nan") if number == broken_at else 1.0
            step(tf.constant([x, 1.0]))
            done += 1
            recorder.flush()
            if recorder.should_stop:
                break
    return done


@pytest.mark.parametrize("compiled", [True, False])
def test_nan_is_said_once(tmp_path, said, compiled):
    train(gs.record(tmp_path), 60, broken_at=20, compiled=compiled)
    (line,) = said()
    assert "The gradient of loss is not finite: first NaN at step 20, in weight" in line
    assert "test_live.py:" in line


def test_a_healthy_training_says_nothing(tmp_path, said):
    findings = []
    assert train(gs.record(tmp_path, on_finding=findings.append, stop_on="warning"), 200) == 200
    assert not said()
    assert not findings


def test_every_step_between_is_watched(tmp_path, said):
    train(gs.record(tmp_path, every=1000), 60, broken_at=20)
    assert "first NaN at step 20" in said()[0]


def test_the_training_may_stop(tmp_path):
    recorder = gs.record(tmp_path, every=1, stop_on="error")
    assert train(recorder, 60, broken_at=20) == 21
    assert recorder.should_stop


def test_who_wants_to_know_is_told(tmp_path):
    findings = []
    train(gs.record(tmp_path, on_finding=findings.append), 60, broken_at=20)
    assert [(one.kind, one.severity, one.span.first) for one in findings] == [("nan", "error", 20)]


def test_a_callback_that_fails_does_not_stop_the_training(tmp_path):
    def fail(finding):
        raise RuntimeError("no")

    with pytest.warns(gs.GradscopeWarning, match="on_finding raised RuntimeError: no. Training"):
        assert train(gs.record(tmp_path, on_finding=fail), 60, broken_at=20) == 60
    (run,) = gs.load(tmp_path).runs.values()
    assert run.losses[0].steps[-1] == 59


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"on_finding": 3}, TypeError, "on_finding=3: expected a function of one finding"),
        ({"stop_on": "info"}, ValueError, "stop_on='info': expected 'error', 'warning' or None"),
    ],
)
def test_wrong_arguments(tmp_path, options, error, sentence):
    with pytest.raises(error, match=sentence):
        gs.record(tmp_path, **options)


def test_what_a_program_fails_on_is_said_before_it_does(tmp_path, said):
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def step(x):
        square = (weight * x) ** 2
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum(square)
        return 2.0 * tape.gradient(loss, weight)

    with pytest.raises(TypeError, match="NoneType"), gs.record(tmp_path):
        step(tf.ones(3))
    (line,) = said()
    assert "loss has no gradient for weight at step 0: the computation ran before the tape" in line
    assert "test_live.py:" in line


@pytest.fixture
def judged(monkeypatch):
    """Gets a number for each time that a training is judged: how many records there were."""
    counts = []
    findings = live.judge.findings

    def counted(run):
        counts.append(sum(loss.records for loss in run.losses))
        return findings(run)

    monkeypatch.setattr(live.judge, "findings", counted)
    return counts


def test_a_gradient_that_comes_and_goes_is_judged_once(tmp_path, judged):
    always, at_times = tf.Variable(1.0, name="always"), tf.Variable(1.0, name="at_times")
    with gs.record(tmp_path, every=1) as recorder:
        for step in range(100):
            with gs.GradientTape() as tape:
                loss = always**2 if step % 2 else always**2 + at_times**2
            tape.gradient(loss, [always, at_times])
            recorder.flush()
    assert judged == [2, 10, 20, 40, 80, 100]  # the last is the end


def test_however_much_happens_it_is_seldom_judged(judged):
    seen, count = live.Live(None, None), 500
    variables = [messages.Variable(name=f"v{i}", dtype="float32") for i in range(count)]
    schema = messages.Schema(name="loss", variables=variables)
    values = np.ones((count, STATISTIC_COUNT), np.float32)
    for step in range(count):  # one more variable becomes NaN at each step
        values[: step + 1, Statistic.STATE] = State.NAN
        record = GradientRecord(values, step + 1, step + 1, np.zeros((count, len(COUNTED))))
        seen.see("series", schema, step, record)
        seen.judge_if_due()
    assert len(judged) < 100
