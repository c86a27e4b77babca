"""Causes out of events: what was said last of a variable counts."""

from __future__ import annotations

from tb_gradscope.format import messages
from tb_gradscope.format.causes import causes
from tb_gradscope.format.events import Event

NAMES = ["a", "b", "c"]
POSITIONS = {"a": 4, "b": 5, "c": 6}


def told(step, **rows_of_kind):
    found = [
        messages.Cause(variables=rows, kind=messages.Cause.Kind.Value(kind))
        for kind, rows in rows_of_kind.items()
    ]
    return Event(step, messages.Event(kind=messages.Event.CAUSE, causes=found))


def read(*events):
    return {
        (cause.kind, cause.variables, cause.first_step)
        for cause in causes([(events, NAMES)], POSITIONS)
    }


def test_variables_of_one_cause_stay_together():
    assert read(told(3, BLOCKED=[0, 2], UNUSED=[1])) == {
        ("blocked", (4, 6), 3),
        ("unused", (5,), 3),
    }


def test_what_is_said_later_counts():
    events = told(1, BLOCKED=[0], UNUSED=[1]), told(0, UNKNOWN=[0, 1])
    assert read(*events) == {("blocked", (4,), 0), ("unused", (5,), 0)}


def test_rows_that_the_schema_lacks_are_passed_over():
    assert read(told(0, BLOCKED=[1, 7])) == {("blocked", (5,), 0)}


def test_a_kind_of_a_later_version_is_unknown():
    event = messages.Event(causes=[messages.Cause(variables=[0], kind=99)])
    assert read(Event(0, event)) == {("unknown", (4,), 0)}


def test_lines():
    place = messages.Place(file="train.py", line=7, function="step", code="y = tf.round(x)")
    event = messages.Event(causes=[messages.Cause(variables=[0], where=place)])
    (cause,) = causes([([Event(0, event)], NAMES)], POSITIONS)
    assert (cause.where.file, cause.where.line, cause.where.code) == (
        "train.py", 7, "y = tf.round(x)",
    )  # fmt: skip
    assert cause.other is None
