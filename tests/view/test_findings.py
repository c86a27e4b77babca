"""Findings as the page gets them: each leads to a loss, variables and a step."""

from __future__ import annotations

import pytest

from tb_gradscope.view.findings import findings
from tb_gradscope.view.load import load
from tests.view.logs import NAN, OK, Log, Loss, replica


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
    assert found.loss.startswith("loss@replica")


def test_healthy_run_has_nothing_worse_than_info(tmp_path):
    loss = Loss("loss", ["w"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        for step in range(30):
            loss.record(log, step, 1 + step % 3 / 10)
    found = findings(load(tmp_path).runs["."]).findings
    assert {one.severity for one in found} <= {"info"}
