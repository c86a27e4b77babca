"""Findings as the page gets them: each leads to a loss, variables and a step."""

from __future__ import annotations

import pytest

from tb_gradscope.diagnose.thresholds import ThresholdError, Thresholds
from tb_gradscope.view.findings import findings, thresholds_of
from tb_gradscope.view.load import load
from tests.view.logs import NAN, OK, Clip, Cosine, Log, Loss, replica


@pytest.fixture
def broken(tmp_path):
    """Two replicas, of which the second alone turns to NaN; and a loss that is well."""
    labels = [replica(0), replica(1)]
    losses = [Loss("loss", ["w", "b"], label=label) for label in labels]
    well = Loss("well", ["w"])
    with Log(tmp_path) as log:
        for loss in (*losses, well):
            loss.open(log, 0)
        for step in range(30):
            for number, loss in enumerate(losses):
                loss.record(log, step, 1, [OK, NAN if number and step > 20 else OK])
            well.record(log, step)
    return load(tmp_path).runs["."]


def test_finding(broken):
    (found,) = [one for one in findings(broken).findings if one.kind == "nan"]
    assert found.severity == "error"
    assert found.variables == ("b",)
    assert (found.first_step, found.last_step) == (21, 29)
    assert "first NaN" in found.message
    assert found.advice
    assert (found.where.file, found.where.line) == ("train.py", 7)
    assert found.loss == "loss@replica1/2"
    assert (found.threshold, found.limit) == ("", "")


def test_healthy_run_has_nothing_worse_than_info(tmp_path):
    loss = Loss("loss", ["w"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        for step in range(30):
            loss.record(log, step, 1 + step % 3 / 10)
    found = findings(load(tmp_path).runs["."]).findings
    assert {one.severity for one in found} <= {"info"}


def test_finding_of_two_losses_names_both_of_the_same_gradient(tmp_path):
    names, label = ["a", "b"], replica(0)
    for_all = [Loss(name, names, label=replica(-1)) for name in ("big", "small")]
    of_one = [Loss(name, names, label=label) for name in ("big", "small")]
    pair = Cosine("big", ["small"], names, label=label)
    with Log(tmp_path) as log:
        for one in (*for_all, *of_one, pair):
            one.open(log, 0)
        for step in range(20):
            for big, small in (for_all, of_one):
                big.record(log, step, 1e5)
                small.record(log, step, 1.0)
            pair.record(log, step, [[0.5, 0.5]])
    found = findings(load(tmp_path).runs["."]).findings
    (domination,) = [one for one in found if one.kind == "domination"]
    assert (domination.threshold, domination.limit) == ("domination", "1000")
    one, other = domination.loss.split("@"), domination.other_loss.split("@")
    assert (one[0], other[0]) == ("big", "small")
    assert one[1:] == other[1:] != []


def test_thresholds_of_a_query(tmp_path):
    clip = Clip("clip", ["w"])
    with Log(tmp_path) as log:
        clip.open(log, 0)
        for step in range(40):
            clip.record(log, step, [10.0 if step % 5 < 2 else 0.5], 1.0)
    run = load(tmp_path).runs["."]
    assert findings(run, thresholds_of({"run": "."})).findings == ()
    asked = thresholds_of({"clip_saturated": "0.3", "spike": "inf"})
    assert asked == Thresholds(clip_saturated=0.3, spike=float("inf"))
    (found,) = findings(run, asked).findings
    assert (found.kind, found.threshold, found.limit) == ("clip_saturated", "clip_saturated", "0.3")
    with pytest.raises(
        ThresholdError, match="The parameter 'min_records' is 'x', expected a whole"
    ):
        thresholds_of({"min_records": "x"})
