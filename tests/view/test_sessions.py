"""A training run again into the same directory leaves nothing of what it replaces."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import answers
from tb_gradscope.view.load import load
from tb_gradscope.view.sessions import FOREVER, Opening, Trail, parts
from tests.view.logs import Log, Loss

NORM = Statistic.NORM


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def test_rerun_with_less(history):
    run = history.runs["rerun_less"]
    (loss,) = run.losses
    assert [variable.name for variable in run.variables] == ["w"]
    assert loss.steps.tolist() == list(range(8))
    assert loss.calls.tolist() == list(range(1, 9))
    assert loss.records == loss.asked[0] == 8
    assert (loss.values[:, 0, NORM] == 100).all()
    assert run.clips == ()
    found = answers.run(run, "")
    assert found.missing == found.nonfinite == found.problems == ()


def test_shorter_rerun(history):
    run = history.runs["rerun_shorter"]
    (loss,), (clip,) = run.losses, run.clips
    assert loss.steps.tolist() == clip.steps.tolist() == [0, 1, 2, 3, 4]
    assert loss.calls.tolist() == clip.calls.tolist() == [1, 2, 3, 4, 5]
    assert (loss.values[:, :, NORM] == 2).all()
    assert not loss.state_counts.any()
    assert (loss.first_seen == -1).all()
    assert answers.nonfinite(run) == ()


def test_resumed_with_other_variables(history):
    run = history.runs["resumed_otherwise"]
    loss, kl = run.losses
    assert (loss.name, kl.name) == ("loss", "kl")
    assert loss.steps.tolist() == list(range(16))
    assert loss.values[:, 0, NORM].tolist() == [1] * 10 + [2] * 6
    assert (loss.values[10:, 1, Statistic.STATE] == State.ABSENT).all()
    assert loss.calls.tolist() == list(range(1, 17))
    assert loss.asked.tolist() == [16, 10]
    assert kl.steps.tolist() == list(range(10))
    (missing,) = answers.run(run, "").missing
    assert (missing.first_step, missing.last_step, missing.count) == (3, 3, 1)


def test_writers_side_by_side(history):
    run = history.runs["side_by_side"]
    loss, check = run.losses
    assert loss.steps.tolist() == list(range(8))
    assert loss.values[:, 0, NORM].tolist() == [1] * 5 + [2] * 3
    assert loss.calls.tolist() == list(range(1, 9))
    assert check.steps.tolist() == list(range(9))
    assert check.calls.tolist() == list(range(1, 10))


def test_rerun_that_crashed(history):
    run = history.runs["rerun_crashed"]
    (loss,) = run.losses
    assert loss.traced_only
    assert loss.steps.tolist() == [0]
    assert loss.values[0, :, Statistic.STATE].tolist() == [State.NONE, State.ABSENT]
    assert answers.nonfinite(run) == ()


def test_without_sessions_each_series_is_on_its_own(history):
    run = history.runs["of_no_session"]
    assert run.losses[0].steps.tolist() == list(range(6))
    assert [variable.name for variable in run.variables] == ["w", "u"]


def test_counters_go_on_where_the_new_ones_begin_higher(tmp_path):
    """As TensorBoard samples, the first records of a session may be gone."""
    loss = Loss("loss", ["a"])
    loss.restart("first")
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0)
    loss.restart("second")
    with Log(tmp_path, 1) as log:
        loss.open(log, 1)
        loss.calls = loss.records = 6
        loss.record(log, 7)
    (found,) = load(tmp_path).runs["."].losses
    assert found.calls.tolist() == [1, 8]
    assert found.records == 8


def trail(openings, *written):
    return Trail(tuple(Opening(*one) for one in openings), written)


def ends(**trails):
    return {name: found.ends for name, found in parts(trails).items()}


def test_whoever_begins_later_replaces():
    one, other = trail([(0, 1, "a")], 5), trail([(3, 6, "b")], 9)
    assert ends(one=one, other=other) == {"one": (0, 3), "other": (3, FOREVER)}
    overlapping = trail([(3, 4.9, "b")], 9)
    assert ends(one=one, other=overlapping)["one"] == (0, FOREVER)


def test_the_earliest_of_several_replaces():
    trails = {
        "one": trail([(0, 1, "a"), (7, 3, "b")], 2, 4),
        "other": trail([(5, 5, "c")], 6),
    }
    assert ends(**trails)["one"] == (0, 5, 5)
    trails["other"] = trail([(9, 5, "c")], 6)
    assert ends(**trails)["one"] == (0, 7, 9)


def test_the_first_step_is_the_least_of_any_series():
    late, early = trail([(4, 6, "b")]), trail([(2, 7, "b")])
    assert ends(one=trail([(0, 1, "a")], 5), late=late, early=early)["one"] == (0, 2)


def test_unnamed_sessions_are_left_alone():
    found = ends(one=trail([(0, 1, "")], 2), other=trail([(0, 6, "b")], 9))
    assert found["one"] == (FOREVER, FOREVER)


def test_parts():
    (found,) = parts({"one": trail([(0, 1, "a"), (7, 3, "b")], 2, 4)}).values()
    steps, times = np.array([0, 6, 7, 7, 8]), np.array([1.0, 2.0, 2.5, 3.0, 3.5])
    assert found.valid(steps, times).tolist() == [True, True, False, True, True]
    assert found.sessions_of(times).tolist() == [1, 1, 1, 2, 2]
