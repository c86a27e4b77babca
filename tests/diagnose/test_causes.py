"""What is said about a cause: one sentence why, one what to do."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest

from tb_gradscope.diagnose import causes
from tb_gradscope.diagnose.causes import Reason
from tb_gradscope.diagnose.finding import Where
from tb_gradscope.format.history import Cause, Place
from tests.diagnose import histories

PLACE = Where("/home/ada/train.py", 36, "index = tf.argmin(distances, 1)", "ArgMin")


def say(reason, reached=None):
    return causes.message("recon", "enc/kernel", "at step 0", reason, reached)


def test_an_operation_without_gradient():
    reason = Reason("blocked", PLACE, "no_gradient")
    assert say(reason, "kl does reach it") == (
        "recon has no gradient for enc/kernel at step 0: every path to it runs through ArgMin, "
        "which has no gradient (train.py:36); kl does reach it."
    )
    assert "straight-through" in causes.advice(reason)


@pytest.mark.parametrize(
    ("op", "words"),
    [
        ("Round", "straight-through"),
        ("Greater", "tf.sigmoid"),
        ("Multinomial", "Gumbel"),
        ("RandomPoissonV2", "Sampling"),
        ("NonMaxSuppressionV3", "counts or selects"),
        ("SomethingElse", "straight-through"),
    ],
)
def test_advice_fits_the_operation(op, words):
    place = dataclasses.replace(PLACE, op=op)
    assert words in causes.advice(Reason("blocked", place, "no_gradient"))


@pytest.mark.parametrize(
    ("cause", "detail", "words"),
    [
        ("overwritten", "asked", "assign_sub"),
        ("not_watched", "tensor", "tape.watch(x)"),
        ("not_watched", "not_trainable", "trainable=True"),
        ("outside_tape", "after", "Move the computation into the `with` block"),
        ("blocked", "left_tensorflow", "tf.reduce_mean for np.mean"),
        ("integer", "source", "tf.Variable(3.0)"),
        ("state", "assigned", "Use the tensor itself"),
        ("stopped", "reset", "Do not reset"),
        ("unused", "never_read", "not a copy"),
        ("unknown", "", "Follow the path"),
    ],
)
def test_advice_fits_the_cause(cause, detail, words):
    assert words in causes.advice(Reason(cause, PLACE, detail))


@pytest.mark.parametrize(
    ("cause", "code", "words"),
    [
        ("blocked", "predictions = model.predict(x)", "Call the model itself"),
        ("state", "self.tracker.update_state(loss)", "keras.losses"),
        ("state", "scores = tf.Variable(model(x))", "Leave tf.Variable(...) out"),
        ("state", "copy.assign(weight)", "Use the tensor itself"),
    ],
)
def test_advice_fits_the_line(cause, code, words):
    place = Where("train.py", 3, code)
    assert words in causes.advice(Reason(cause, place, "left_tensorflow"))


def test_a_second_line_is_named():
    stopped = Reason("stopped", PLACE, "stopped", Where("model.py", 12, "h = encoder(x)"))
    assert "; the computation is at model.py:12" in say(stopped)


def test_a_second_line_that_is_the_first_is_not_named_again():
    """Keras' own step has one line: that of `fit`."""
    assert say(Reason("unused", PLACE, "read", PLACE)).count("train.py:36") == 1


def test_without_a_line():
    assert say(Reason("unknown")) == (
        "recon has no gradient for enc/kernel at step 0: why could not be found out."
    )


def test_every_detail_that_is_recorded_has_words_of_its_own():
    """Read from the source of the recording side, which cannot be imported here lightly."""
    from tb_gradscope.recording.why import deduction, missing, unseen

    said = set()
    for module in (missing, unseen, deduction):
        found = re.findall(
            r'Cause\(\s*"(\w+)",[^)]*?detail="(\w+)"', inspect.getsource(module), re.DOTALL
        )
        said.update(found)
    assert len(said) >= 15
    assert said - {("state", "assigned")} <= causes._DETAILS.keys()


def test_of_takes_the_cause_of_the_variable():
    place = Place("train.py", 3, "step", "y = tf.round(x)")
    cause = Cause("blocked", (1,), place, "Round", "no_gradient", None, 0)
    loss = histories.loss([[1.0, None]], causes=(cause,))
    assert causes.of(loss, 0) == Reason("unknown")
    assert causes.of(loss, 1) == Reason(
        "blocked", Where("train.py", 3, "y = tf.round(x)", "Round"), "no_gradient"
    )


def test_a_kind_of_a_later_version_is_unknown():
    cause = Cause("entangled", (0,), None, "", "", None, 0)
    assert causes.of(histories.loss([[None]], causes=(cause,)), 0) == Reason("unknown")
