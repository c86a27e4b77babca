"""Answers about histories made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tb_gradscope.format.history import ClipHistory, Label, LossHistory, RunHistory, Variable
from tb_gradscope.format.record import COUNTED, absent_norm, none_norm
from tb_gradscope.format.statistics import STATISTIC_COUNT, State, Statistic
from tb_gradscope.view import answers, numbers

LABEL = Label("raw", "whole", 1, 0, False, "user")
STATES = {
    "-": State.ABSENT,
    "o": State.OK,
    "n": State.NONE,
    "z": State.ZERO,
    "!": State.NAN,
    "i": State.INF,
}


def loss(*states, name="loss", **changes):
    """A loss from one text a variable, a letter for each record."""
    count = len(states[0])
    values = np.full((count, len(states), STATISTIC_COUNT), np.nan, np.float32)
    for column, text in enumerate(states):
        values[:, column, Statistic.STATE] = [STATES[letter] for letter in text]
        values[:, column, Statistic.NORM] = [3 if letter == "o" else np.nan for letter in text]
        values[[letter == "z" for letter in text], column, Statistic.NORM] = 0

    def seen(choose):
        return [[choose(at(text, state), default=-1) for state in COUNTED] for text in states]

    def at(text, state):
        return [10 * i for i, letter in enumerate(text) if STATES[letter] == state]

    counts = np.array([[len(at(text, state)) for state in COUNTED] for text in states])
    made = LossHistory(
        name=name,
        where=None,
        label=LABEL,
        variables=np.arange(len(states)),
        steps=np.arange(count) * 10,
        wall_times=np.arange(count) * 1.0,
        values=values,
        calls=np.arange(count) + 1,
        records=count,
        state_counts=counts,
        asked=np.array([len(text.replace("-", "")) for text in states]),
        first_seen=np.array(seen(min), np.int64),
        last_seen=np.array(seen(max), np.int64),
        skipped_steps=np.zeros(0, np.int64),
        overflowed=np.zeros(len(states), np.int64),
        traced_only=False,
        part_of="",
        watched=False,
        nonfinite=np.zeros(count, np.int64),
        reasons=np.zeros(count, np.int64),
        loss_scales=np.ones(count, np.float32),
        loss_values=np.ones(count, np.float32),
        spikes=np.zeros((0, 2), np.int64),
    )
    return dataclasses.replace(made, **changes)


def run_of(*losses):
    count = max(len(loss.variables) for loss in losses)
    variables = [Variable(f"v{i}", "", "float32", (2,), "variable", True) for i in range(count)]
    return RunHistory("run", tuple(variables), losses, (), (), (), ())


def missing_of(run):
    return answers.run(run, "").missing


@pytest.mark.parametrize(
    ("states", "pattern"),
    [
        ("nnnn", "always"),
        ("n", "always"),
        ("--nn", "always"),
        ("oonn", "from"),
        ("on-n", "from"),
        ("-onn", "from"),
        ("nnoo", "on_and_off"),
        ("onon", "on_and_off"),
        ("ooon", "from"),
        ("nono", "on_and_off"),
    ],
)
def test_pattern(states, pattern):
    (missing,) = missing_of(run_of(loss(states)))
    assert missing.pattern == pattern
    assert missing.count == states.count("n")
    assert missing.asked == len(states.replace("-", ""))


def test_pattern_of_records_that_sampling_dropped():
    """All records at hand are None; the counts tell that it was not always so."""
    one = loss("nn", asked=np.array([50]), state_counts=np.array([[40, 0, 0, 0]]))
    (missing,) = missing_of(run_of(one))
    assert missing.pattern == "on_and_off"
    later = dataclasses.replace(
        loss("on", asked=np.array([9])), first_seen=np.array([[5, -1, -1, -1]])
    )
    (missing,) = missing_of(run_of(later))
    assert (missing.pattern, missing.first_step, missing.last_step) == ("from", 5, 10)


def test_missing_of_one_fate_are_one_entry():
    run = run_of(loss("nn", "on", "nn", "oo", name="a"), loss("nn", "nn", name="b"))
    found = [(one.loss, one.variables, one.pattern) for one in missing_of(run)]
    assert found == [
        ("a", ("v0", "v2"), "always"),
        ("a", ("v1",), "from"),
        ("b", ("v0", "v1"), "always"),
    ]


@pytest.mark.parametrize(
    ("states", "pattern", "steps"),
    [
        ("!!!!", "always", (0, 30)),
        ("!", "always", (0, 0)),
        ("oo!!", "from", (20, 30)),
        ("o!-!", "from", (10, 30)),
        ("ooo!", "from", (30, 30)),
        ("o!oo", "once", (10, 10)),
        ("!ooo", "once", (0, 0)),
        ("!o!o", "on_and_off", (0, 20)),
        ("o!!n", "on_and_off", (10, 20)),
    ],
)
def test_nonfinite(states, pattern, steps):
    (found,) = answers.nonfinite(run_of(loss(states)))
    assert (found.state, found.pattern, (found.first_step, found.last_step)) == (
        "nan",
        pattern,
        steps,
    )
    assert (found.count, found.asked) == (states.count("!"), len(states.replace("-", "")))


def test_nonfinite_by_first_step_then_by_the_run():
    run = run_of(
        loss("ooo!", "oo!!", "o!!!", "oo!!", name="a"),
        loss("oi!!", "oo!!", variables=np.array([3, 0]), name="b"),
    )
    found = [(one.loss, one.state, one.variables, one.pattern) for one in answers.nonfinite(run)]
    assert found == [
        ("a", "nan", ("v2",), "from"),
        ("b", "inf", ("v3",), "once"),
        ("b", "nan", ("v0", "v3"), "from"),
        ("a", "nan", ("v1", "v3"), "from"),
        ("a", "nan", ("v0",), "from"),
    ]


def test_latest():
    one = loss("o-o-", "-o--", "----", "oooo")
    assert numbers.latest(one, -1).tolist() == [-1] * 4
    assert numbers.latest(one, 0).tolist() == [0, -1, -1, 0]
    assert numbers.latest(one, 15).tolist() == [0, 1, -1, 1]
    assert numbers.latest(one, 2**62).tolist() == [2, 1, -1, 3]


def test_matrix_places_variables_by_the_run():
    swapped = loss("o", "n", variables=np.array([2, 0]))
    matrix = numbers.matrix(run_of(swapped, loss("z", "z", "z")), 0)
    assert matrix.shape == (2, 3, STATISTIC_COUNT + 1)
    assert matrix[0, :, Statistic.STATE].tolist() == [State.NONE, State.ABSENT, State.OK]
    assert matrix[0, :, -1].tolist() == [0, -1, 0]
    assert np.isnan(matrix[0, 1, 1:-1]).all()


def test_series():
    run = run_of(loss("oz", "nn"), loss("o", variables=np.array([1])), loss("z"))
    series = numbers.series(run, 1).reshape(-1, STATISTIC_COUNT)
    assert series[:, Statistic.STATE].tolist() == [State.NONE, State.NONE, State.OK]


def test_loss_norms():
    norms = numbers.whole_norms(loss("oooz!n", "o-nz-n"))
    np.testing.assert_array_equal(norms, np.array([18**0.5, 3, 3, 0, np.nan, -1], np.float32))
    assert numbers.whole_norms(loss("nnz", "-nn")).tolist() == [-1, -1, 0]
    assert numbers.whole_norms(loss("n", "-", traced_only=True)).tolist() == [-2]
    infinite = loss("oo")
    infinite.values[0, 0, [Statistic.STATE, Statistic.NORM]] = State.INF, np.inf
    infinite.values[1, 0, Statistic.NORM] = 3e38
    assert numbers.whole_norms(infinite).tolist() == [np.inf, np.float32(3e38)]


def clip(norms):
    zeros = np.zeros(1, np.int64)
    one = np.ones(1, np.float32)
    before = np.array(norms, np.float32)
    norms = np.stack([before, before], axis=1)[None]
    names = tuple(f"v{i}" for i in range(len(before)))
    return ClipHistory(
        "clip", "norm", "", None, LABEL, names, zeros, np.zeros(1), norms, zeros, zeros, zeros,
        False, one, one, one, one,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("norms", "shares"),
    [
        ([3, 4], [0.36, 0.64]),
        ([3, none_norm(), 4], [0.36, 0, 0.64]),
        ([0, 0], [0, 0]),
        ([], []),
        ([3, absent_norm(), 4], [0.36, 0, 0.64]),
        ([1, absent_norm(), np.nan], [0, 0, 1]),
        ([1, np.nan], [0, 1]),
        ([1, np.inf, np.nan], [0, 0.5, 0.5]),
    ],
)
def test_shares(norms, shares):
    np.testing.assert_allclose(numbers.shares(clip(norms), 0), shares, rtol=1e-6)


def test_size():
    shapes = [(), (0, 3), (2, 3), (-1, 3)]
    variables = tuple(
        Variable(str(shape), "", "float32", shape, "variable", True) for shape in shapes
    )
    sizes = [
        one.size for one in answers.run(RunHistory("", variables, (), (), (), (), ()), "").variables
    ]
    assert sizes == [1, 0, 6, -1]


def test_run_of_nothing():
    run = RunHistory("run", (), (), (), (), (), ("problem",))
    assert answers.run(run, "token").steps == ()
    assert answers.run(run, "token").problems == ("problem",)
    assert numbers.matrix(run, 0).size == 0
