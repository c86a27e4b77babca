"""What histories say of each run of `tests.view.runs`."""

from __future__ import annotations

import numpy as np
import pytest

from tb_gradscope.format import messages
from tb_gradscope.format.record import COUNTED, is_absent, is_none
from tb_gradscope.format.statistics import Reason, State, Statistic
from tb_gradscope.view import answers
from tb_gradscope.view.load import load
from tests.view.logs import Log, Loss
from tests.view.runs import ODD, ODD_RUN

NORM = Statistic.NORM
NONE = COUNTED.index(State.NONE)


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def only_loss(history, run):
    (loss,) = history.runs[run].losses
    return loss


def test_plain(history):
    run = history.runs["plain"]
    assert [variable.name for variable in run.variables] == ["layer/a", "layer/b", "c"]
    assert [variable.layer for variable in run.variables] == ["layer", "layer", ""]
    assert [variable.shape for variable in run.variables] == [(2, 1), (3, 1), (4, 1)]
    assert [loss.name for loss in run.losses] == ["one", "two"]
    assert run.problems == ()
    one, two = run.losses
    assert one.steps.tolist() == two.steps.tolist() == [0, 1, 2, 3, 4]
    assert one.calls.tolist() == [1, 2, 3, 4, 5]
    assert one.values[:, 0, NORM].tolist() == [1, 2, 3, 4, 5]
    states = one.values[:, 2, Statistic.STATE].tolist()
    assert states == [State.OK, State.ZERO, State.NAN, State.INF, State.OK]
    assert one.values[2, 2, Statistic.NAN_COUNT] == one.values[3, 2, Statistic.INF_COUNT] == 3
    assert one.state_counts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1]]
    assert (two.values[:, 1, Statistic.STATE] == State.NONE).all()
    assert two.state_counts[1, NONE] == two.asked[1] == two.records == 5
    assert two.first_seen[:, NONE].tolist() == [-1, 0, -1]
    assert two.last_seen[:, NONE].tolist() == [-1, 4, -1]
    assert (np.diff(one.wall_times) > 0).all()
    assert one.where.file == "train.py"
    assert one.label.step_source == "user"
    assert not one.traced_only


def test_clip(history):
    (clip,) = history.runs["plain"].clips
    assert (clip.name, clip.method, clip.after) == ("clip", "global_norm", "")
    assert clip.variables == ("layer/a", "layer/b", "c")
    assert clip.calls.tolist() == [1, 2, 3, 4, 5]
    assert clip.clipped.tolist() == [0, 1, 2, 3, 4]
    assert is_none(clip.norms[:, 1]).all()
    assert not is_none(clip.norms[:, [0, 2]]).any()
    assert clip.norms[:, 0, 0].tolist() == [0.25, 3.25, 6.25, 9.25, 12.25]
    np.testing.assert_allclose(clip.norm_after, np.minimum(clip.norm_before, 1), rtol=1e-6)
    np.testing.assert_allclose(clip.scale, np.minimum(1 / clip.norm_before, 1), rtol=1e-6)


def test_restart_forgets_the_life_that_was_left(history):
    loss = only_loss(history, "restart")
    assert loss.steps.tolist() == list(range(15))
    assert loss.values[:, 0, NORM].tolist() == [1] * 6 + [2] * 9
    # None at 2, which still counts, and at 8, which does not.
    assert loss.first_seen[:, NONE].tolist() == [-1, 2]
    assert loss.last_seen[:, NONE].tolist() == [-1, 2]
    assert loss.state_counts[1, NONE] == 1


def test_restart_goes_on_counting(history):
    loss = only_loss(history, "restart")
    assert loss.calls.tolist() == list(range(1, 16))
    assert loss.records == loss.asked[0] == 15
    (clip,) = history.runs["restart"].clips
    assert clip.calls.tolist() == clip.clipped.tolist() == list(range(1, 16))


def test_back_in_one_file(history):
    loss = only_loss(history, "back_in_one_file")
    assert loss.steps.tolist() == list(range(8))
    assert loss.values[:, 0, NORM].tolist() == [1, 2, 3, 4, 5, 11, 12, 13]
    assert loss.calls.tolist() == [1, 2, 3, 4, 5, 11, 12, 13]


def test_repeated_steps(history):
    loss = only_loss(history, "repeated_steps")
    assert loss.steps.tolist() == [0, 1, 2]
    assert loss.values[:, 0, NORM].tolist() == [2, 5, 7]


def test_several_files(history):
    loss = only_loss(history, "several_files")
    assert loss.steps.tolist() == list(range(12))
    assert loss.calls.tolist() == list(range(1, 13))


def test_truncated(history):
    loss = only_loss(history, "truncated")
    assert loss.steps.tolist() == list(range(7))
    assert history.runs["truncated"].problems == ()


def test_newer(history):
    run = history.runs["newer"]
    assert [loss.name for loss in run.losses] == ["good", "later record", "later event"]
    assert all(loss.steps.tolist() == [0] for loss in run.losses)
    upgrade = "format version 2, this tb_gradscope reads up to 1; upgrade with: pip install"
    assert len(run.problems) == 3
    assert all(upgrade in problem for problem in run.problems)
    assert any(
        problem.startswith("Loss 'later record': 1 of 2 records left out, the first at step 1. ")
        for problem in run.problems
    )


def test_broken(history):
    run = history.runs["broken"]
    losses = {loss.name: loss for loss in run.losses}
    assert set(losses) == {"good", "rows", "short", "poisoned", "event"}
    for name in ("good", "rows", "short", "event"):
        assert losses[name].values[:, 0, NORM].tolist() == [1, 2, 3]
    assert not len(losses["poisoned"].steps)
    # Numbers came, they only cannot be read: not a training that ended while it was traced.
    assert not losses["poisoned"].traced_only
    assert losses["poisoned"].first_seen[:, NONE].tolist() == [0]
    text = "\n".join(run.problems)
    for part in (
        "Loss 'good': 1 of 4 records left out, the first at step 3. A stored gradient record has "
        "2 rows, its schema names 1.",
        "Loss 'rows': 2 of 5 records left out, the first at step 3. A stored gradient record has "
        "format version 0, expected 1 to 1",
        "Loss 'short': 1 of 4 records left out, the first at step 3. A stored gradient record has "
        "14 numbers where its header asks for 19; the event file is damaged.",
        "Loss 'poisoned': its records could not be read: TypeError",
        "Loss 'event': an event at step 3 names row 5 of 1; the event file is damaged.",
        "Loss 'event': 2 of 3 events left out, the first at step 4. A stored Event names 2 "
        "variables and 1 states",
        "has no schema, so nobody knows what its numbers are of",
        "A stored Schema of 2 bytes cannot be parsed",
    ):
        assert part in text
    assert len(run.problems) == 8


def test_poisoned_event(history):
    run = history.runs["poisoned_event"]
    assert [loss.name for loss in run.losses] == ["good"]
    (problem,) = run.problems
    assert "The schema of series" in problem


def test_odd_names(history):
    run = history.runs[ODD_RUN]
    assert [variable.name for variable in run.variables] == [
        ODD + "1",
        ODD + "2",
        "",
        "a/b/c",
        "self.x.y",
    ]
    assert run.variables[3].layer == "a/b"
    assert run.variables[4].layer == "self.x"
    assert run.losses[0].name == ODD + "loss"
    assert run.clips[0].name == ODD + "clip"


def test_traced(history):
    run = history.runs["traced"]
    first, second = run.losses
    assert not len(first.steps)
    assert not first.traced_only
    assert second.traced_only
    assert second.steps.tolist() == [3]
    assert second.records == 0
    assert second.values[0, :, Statistic.STATE].tolist() == [State.ABSENT, State.NONE]
    assert np.isnan(second.values[0, :, 1:]).all()
    assert second.first_seen[:, NONE].tolist() == second.last_seen[:, NONE].tolist() == [-1, 3]


def test_merged(history):
    run = history.runs["merged"]
    loss = only_loss(history, "merged")
    assert [variable.name for variable in run.variables] == ["a", "b"]
    assert loss.steps.tolist() == list(range(8))
    assert loss.values[:, 0, NORM].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert loss.values[:, 1, Statistic.STATE].tolist() == [0, 1, 0, -1, -1, -1, 0, 0]
    assert loss.calls.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert loss.records == 8
    assert loss.asked.tolist() == [8, 5]
    assert loss.state_counts[:, NONE].tolist() == [0, 1]
    assert loss.first_seen[:, NONE].tolist() == loss.last_seen[:, NONE].tolist() == [-1, 1]
    (clip,) = run.clips
    assert clip.variables == ("a", "b")
    assert clip.steps.tolist() == list(range(8))
    assert clip.calls.tolist() == list(range(1, 9))
    assert clip.norms[:, 0, 0].tolist() == [1, 1, 1, 3, 3, 3, 1, 1]
    assert np.isnan(clip.norms[3:6, 1]).all()
    assert not is_none(clip.norms[3:6, 1]).any()
    assert is_absent(clip.norms[3:6, 1]).all()
    assert clip.norm_before[3] == 3


def test_asked_twice(history):
    loss = only_loss(history, "asked_twice")
    assert loss.steps.tolist() == [0, 2, 4]
    # `b` is in both: the later written record counts.
    assert loss.values[:, :2, NORM].tolist() == [[1, 2], [1, 2], [1, 1]]
    assert (loss.values[:, 2, Statistic.STATE] == State.NONE).all()
    assert loss.calls.tolist() == [2, 4, 6]
    assert loss.records == 3
    assert loss.asked.tolist() == [3, 6, 3]


def test_traced_beside(history):
    loss = only_loss(history, "traced_beside")
    assert not loss.traced_only
    assert loss.steps.tolist() == [0, 1, 2, 4]
    assert loss.values[:, 1, Statistic.STATE].tolist() == [-1, State.NONE, -1, -1]
    assert loss.calls.tolist() == [1, 1, 2, 3]
    assert loss.records == 3
    assert loss.first_seen[:, NONE].tolist() == [-1, 1]


def test_lost(history):
    run = history.runs["lost"]
    (problem,) = run.problems
    assert problem.startswith("Loss 'loss': 12 records were overwritten before they could be")


def test_big_counts(history):
    loss = only_loss(history, "big_counts")
    assert loss.steps.tolist() == [2**40]
    assert loss.calls.tolist() == [10**12 + 1]
    assert loss.state_counts[0, NONE] == 10**10


def test_negative_steps(history):
    loss = only_loss(history, "negative_steps")
    assert loss.steps.tolist() == [-3, -2, -1, 0, 1]


def test_changes_are_known_though_records_are_sampled(tmp_path):
    """An event tells of a None in a record that is not there any more."""
    loss = Loss("loss", ["a", "b"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0)
        loss.event(log, 5, 1, [1], [State.NONE])
        loss.event(log, 7, 1, [1], [State.OK])
        loss.calls = loss.records = 8
        loss.counts[1, NONE] = 2
        loss.record(log, 9)
    (found,) = load(tmp_path).runs["."].losses
    assert found.steps.tolist() == [0, 9]
    assert found.first_seen[:, NONE].tolist() == found.last_seen[:, NONE].tolist() == [-1, 5]
    assert found.state_counts[1, NONE] == 2
    assert found.records == 9


def test_new_schema_replaces_the_old(tmp_path):
    loss = Loss("loss", ["a"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0)
        loss.schema.where.line = 99
        loss.open(log, 1)
        loss.record(log, 1)
    (found,) = load(tmp_path).runs["."].losses
    assert found.where.line == 99
    assert found.steps.tolist() == [0, 1]


def test_onset_is_known_though_records_are_sampled(tmp_path):
    """Events tell of a NaN and of an Inf in records that are not there any more."""
    loss = Loss("loss", ["a", "b"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0)
        loss.event(log, 4, 1, [1], [State.INF])
        loss.event(log, 5, 1, [1], [State.NAN])
        loss.states = [State.OK, State.NAN]
        loss.calls = loss.records = 8
        loss.counts[1] = [0, 0, 3, 1]
        loss.record(log, 9, 1, [State.OK, State.NAN])
    (found,) = load(tmp_path).runs["."].losses
    assert found.first_seen.tolist() == [[-1, -1, -1, -1], [-1, -1, 5, 4]]
    assert found.last_seen.tolist() == [[-1, -1, -1, -1], [-1, -1, 9, 4]]
    assert found.state_counts[1].tolist() == [0, 0, 4, 1]


def names_of(run):
    return [(loss.name, loss.label.replica, loss.label.batch) for loss in run.losses]


def test_losses_of_one_name_stay_apart_by_their_labels(history):
    assert names_of(history.runs["replicas"]) == [
        ("loss", 0, "whole"),
        ("loss", 1, "whole"),
        ("loss", -1, "whole"),
        ("aux", -1, "whole"),
    ]
    one, two, reduced, _ = history.runs["replicas"].losses
    assert [loss.values[0, 0, NORM] for loss in (one, two, reduced)] == [3, 1, 2]
    assert one.first_seen[1, NONE] == 0
    assert two.first_seen[1, NONE] == reduced.first_seen[1, NONE] == -1
    assert names_of(history.runs["accumulated"]) == [
        ("loss", 0, "micro_batch"),
        ("loss", 0, "accumulated"),
    ]


def test_clips_of_replicas_stay_apart(history):
    before, after = history.runs["replicas"].clips
    assert (before.label.replica, after.label.replica) == (0, -1)
    assert before.calls.tolist() == after.calls.tolist() == [1, 2, 3]


def test_sparse_gradients_are_no_other_loss(tmp_path):
    """What of a label may change from step to step does not tell losses apart."""
    dense, sparse = Loss("loss", ["a", "b"]), Loss("loss", ["a"], label={"sparse": True})
    with Log(tmp_path) as log:
        for step, loss in enumerate([dense, sparse]):
            loss.open(log, step)
            loss.record(log, step)
    (found,) = load(tmp_path).runs["."].losses
    assert found.steps.tolist() == [0, 1]
    assert found.label.sparse


def test_parts_stand_right_behind_their_total(history):
    run = history.runs["parts"]
    assert [loss.name for loss in run.losses] == ["total", "recon", "kl", "other"]
    assert [loss.part_of for loss in run.losses] == ["", "total", "total", ""]
    answer = answers.run(run, "")
    assert [loss.total for loss in answer.losses] == [-1, 0, 0, -1]
    aux = answers.run(history.runs["replicas"], "").losses[-1]
    assert (aux.id, aux.total) == ("aux@mean/2", 2)


def test_parts_without_their_total_or_in_a_circle(tmp_path):
    losses = [Loss("a", ["w"], part_of="b"), Loss("b", ["w"], part_of="a")]
    losses += [Loss("alone", ["w"], part_of="gone"), Loss("self", ["w"], part_of="self")]
    with Log(tmp_path) as log:
        for loss in losses:
            loss.open(log, 0)
    run = load(tmp_path).runs["."]
    assert sorted(loss.name for loss in run.losses) == ["a", "alone", "b", "self"]
    totals = {loss.name: loss.total for loss in answers.run(run, "").losses}
    assert totals["alone"] == totals["self"] == -1


def test_what_the_sentinel_saw(history):
    run = history.runs["watched"]
    (loss,) = run.losses
    assert loss.watched
    assert loss.reasons.tolist() == [0, 0, Reason.SPIKE, 0, Reason.NONFINITE, 0]
    assert loss.spikes.tolist() == [[150, 0], [150, 1]]
    assert loss.nonfinite.tolist() == [0, 0, 0, 0, 1, 2]
    answer = answers.run(run, "")
    assert [(mark.step, mark.kind, mark.variables, mark.more) for mark in answer.marks] == [
        (150, "spike", ("w", "b"), 0),
        (237, "nonfinite", ("b",), 0),
    ]
    (nonfinite,) = answer.nonfinite
    assert (nonfinite.first_step, nonfinite.exact) == (237, True)
    assert answer.losses[0].nonfinite == 2


def test_marks_are_of_what_began(tmp_path):
    """The sentinel also has recorded what became finite again, and what goes on beside it."""
    loss = Loss("loss", ["w", "b"], watched=True)
    with Log(tmp_path) as log:
        loss.open(log, 0)
        for step, states in enumerate(["oo", "no", "nn", "on", "oo"]):
            states = [State.NAN if state == "n" else State.OK for state in states]
            loss.record(log, step, 1, states, reason=Reason.NONFINITE if step else 0)
    marks = answers.run(load(tmp_path).runs["."], "").marks
    assert [(mark.step, mark.variables) for mark in marks] == [(1, ("w",)), (2, ("b",))]


def test_calls_not_finite_are_counted_by_each_series(tmp_path):
    both = Loss("loss", ["a", "b"], watched=True)
    only = Loss("loss", ["a"], both, watched=True)
    with Log(tmp_path) as log:
        for step, loss in enumerate([both, both, only, only, both]):
            loss.open(log, step)
            loss.record(log, step, 1, [State.NAN] * len(loss.variables) if step else None)
    (found,) = load(tmp_path).runs["."].losses
    assert found.calls.tolist() == [1, 2, 3, 4, 5]
    assert found.nonfinite.tolist() == [0, 1, 2, 3, 4]


def first_nan(tmp_path, *, watched=True, lost=0, before=State.OK):
    """The entry of a NaN at step 5, after whatever was before."""
    loss = Loss("loss", ["w"], watched=watched)
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0, 1, [before])
        loss.record(log, 5, 1, [State.NAN])
        if lost:
            loss.event(log, 5, messages.Event.LOST, count=lost)
    return [
        one for one in answers.run(load(tmp_path).runs["."], "").nonfinite if one.state == "nan"
    ]


def test_first_step_is_exact_only_where_nothing_can_have_been_before(tmp_path):
    assert [one.exact for one in first_nan(tmp_path / "1")] == [True]
    assert [one.exact for one in first_nan(tmp_path / "2", watched=False)] == [False]
    assert [one.exact for one in first_nan(tmp_path / "3", lost=3)] == [False]
    # The sentinel sees gradients stop being finite, not an infinity become NaN.
    assert [one.exact for one in first_nan(tmp_path / "4", before=State.INF)] == [False]


def test_a_recording_without_sentinel_makes_first_steps_inexact(tmp_path):
    loss = Loss("loss", ["w"])
    with Log(tmp_path) as log:
        loss.restart("first")
        loss.open(log, 0)
        loss.record(log, 0)
        loss.restart("second")
        loss.schema.watched = True
        loss.open(log, 5)
        loss.record(log, 5)
    assert not load(tmp_path).runs["."].losses[0].watched


def test_series_of_a_kind_to_come(tmp_path):
    good, later = Loss("good", ["w"]), Loss("later", ["w"])
    later.schema.kind = 7
    with Log(tmp_path) as log:
        for loss in (good, later):
            loss.open(log, 0)
            loss.record(log, 0)
    run = load(tmp_path).runs["."]
    assert [loss.name for loss in run.losses] == ["good"]
    (problem,) = run.problems
    assert problem.endswith("is of kind 7, which this version does not know; upgrade tb-gradscope.")
