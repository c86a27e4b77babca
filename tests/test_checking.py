"""`gs.check`: one step, judged at once."""

from __future__ import annotations

import pytest
import tensorflow as tf

import tb_gradscope as gs


class Model(tf.Module):
    """Two layers and a head that may be left out."""

    def __init__(self):
        super().__init__()
        self.w = tf.Variable(tf.ones((3, 2)), name="w")
        self.head = tf.Variable(tf.ones((2, 1)), name="head")
        self.unused = tf.Variable(1.0, name="unused")
        self.x = tf.ones((4, 3))

    def step(self, *sources):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.x @ self.w @ self.head) ** 2)
        return tape.gradient(loss, list(sources) or [self.w, self.head])


def test_a_good_step():
    model = Model()
    report = gs.check(model.step)
    assert report.ok
    assert str(report) == "ok: losses loss; 2 variables"
    assert len(report.result) == 2


@pytest.mark.parametrize("wrap", [lambda step: step, tf.function])
def test_a_variable_that_the_loss_does_not_reach(wrap):
    model = Model()
    report = gs.check(wrap(model.step), model.w, model.unused)
    assert not report.ok
    (finding,) = report.findings
    assert (finding.kind, finding.variables) == ("none", ("unused",))
    assert "unused" in str(report)
    assert "warning" in report._repr_html_()


def test_a_step_that_raises_is_judged_all_the_same():
    model = Model()

    def step():
        gradients = model.step(model.w, model.unused)
        return gradients[0] + gradients[1]

    report = gs.check(step)
    assert isinstance(report.error, ValueError)
    assert not report.ok
    assert report.findings[0].variables == ("unused",)
    assert "the step raised ValueError" in str(report)


def test_a_head_that_starts_at_zero_is_only_said():
    model = Model()
    model.head.assign(tf.zeros((2, 1)))

    def step():
        with gs.GradientTape() as tape:
            loss = tf.reduce_sum((model.x @ model.w @ model.head - 1.0) ** 2)
        return tape.gradient(loss, [model.w, model.head])

    report = gs.check(step)
    assert [(one.kind, one.severity) for one in report.findings] == [("zero", "info")]
    assert report.ok


def test_zero_and_not_finite():
    model = Model()
    loss = tf.function(lambda: tf.reduce_sum(tf.nn.relu(-tf.abs(model.x @ model.w))))

    def step():
        with tf.GradientTape() as tape:
            dead = loss()
        return tape.gradient(dead, model.w)

    report = gs.check(step)
    assert [(one.kind, one.severity) for one in report.findings] == [("zero", "warning")]
    model.x = model.x * float("nan")
    report = gs.check(model.step)
    assert [one.kind for one in report.findings] == ["nan"]
    assert report.findings[0].severity == "error"


def test_only_some_variables_and_those_not_asked_for():
    model = Model()
    report = gs.check(model.step, model.w, model.unused, variables=[model.w])
    assert report.ok
    report = gs.check(model.step, model.w, variables=[model.w, model.head])
    (finding,) = report.findings
    assert (finding.kind, finding.variables) == ("unrequested", ("head",))


def test_a_step_without_a_gradient():
    report = gs.check(lambda: None)
    assert not report.ok
    assert "asked for no gradient" in str(report)


def test_a_function_that_ran_before():
    model = Model()
    step = tf.function(model.step)
    step()
    report = gs.check(step)
    assert not report.ok
    assert "must not have run before" in str(report)


def test_what_cannot_be_called():
    with pytest.raises(TypeError, match="expected a function that makes one training step"):
        gs.check(3)


def test_names_of_variables_are_text_not_html():
    model = Model()
    model.unused = tf.Variable(1.0, name="b<b>")
    assert "<b>b<b>" not in gs.check(model.step, model.unused)._repr_html_()
