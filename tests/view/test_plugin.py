"""The routes over HTTP: bad questions, odd names, live growth, flags."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
import tensorboard_data_server

from tb_gradscope.format.statistics import BESIDE_NORM, State, Statistic
from tb_gradscope.view import schema
from tb_gradscope.view.load import load
from tests.view.logs import Log, Loss
from tests.view.runs import ODD, ODD_RUN
from tests.view.server import Server

pytestmark = pytest.mark.slow


INGESTERS = [
    "false",
    pytest.param(
        "true",
        marks=pytest.mark.skipif(
            tensorboard_data_server.server_binary() is None,
            reason="this platform's tensorboard-data-server has no binary",
        ),
    ),
]


@pytest.mark.parametrize(
    ("path", "query", "status", "sentence"),
    [
        ("run", {}, 400, "The parameter 'run' is missing."),
        ("run", {"run": "no"}, 404, "There is no run 'no' with gradients recorded."),
        ("run", {"run": ""}, 404, "There is no run ''"),
        ("run", {"run": "scalars_only"}, 404, "There is no run 'scalars_only'"),
        ("matrix", {"run": "plain"}, 400, "The parameter 'step' is missing."),
        ("matrix", {"step": 1}, 400, "The parameter 'run' is missing."),
        ("matrix", {"run": "plain", "step": "x"}, 400, "'step' is 'x', expected a whole number"),
        ("matrix", {"run": "plain", "step": "1.5"}, 400, "'step' is '1.5'"),
        ("matrix", {"run": "plain", "step": 2**63}, 400, "expected a whole number of 64 bits"),
        ("matrix", {"run": "no", "step": 1}, 404, "There is no run 'no'"),
        ("series", {"run": "plain"}, 400, "The parameter 'variable' is missing."),
        ("series", {"run": "plain", "variable": "x"}, 404, "'plain' has no variable 'x'."),
        ("loss", {"run": "plain"}, 400, "The parameter 'loss' is missing."),
        ("loss", {"run": "plain", "loss": "\ud83d\ude00"}, 404, "has no loss '😀'."),
        ("clip", {"run": "plain"}, 400, "The parameter 'site' is missing."),
        ("clip", {"run": "plain", "site": "x"}, 404, "has no site 'x'."),
        ("findings", {"run": "no"}, 404, "There is no run 'no'"),
        ("findings", {"run": "plain", "spike": "x"}, 400, "The parameter 'spike' is 'x', expected"),
        ("findings", {"run": "plain", "conflict": 1}, 400, "is 1, expected a number from -1 to 0"),
        ("optimizer", {"run": "scaled"}, 400, "The parameter 'optimizer' is missing."),
        ("optimizer", {"run": "scaled", "optimizer": "x"}, 404, "has no optimizer 'x'."),
        ("reached", {"run": "plain", "optimizer": "adam"}, 404, "has no optimizer 'adam'."),
        ("loss", {"run": "replicas", "loss": "loss"}, 404, "has no loss 'loss'."),
        ("cosine", {"run": "parts", "one": "kl"}, 400, "The parameter 'other' is missing."),
        (
            "cosine",
            {"run": "parts", "one": "kl", "other": "x"},
            404,
            "The run 'parts' has no cosines of 'kl' and 'x'.",
        ),
    ],
)
def test_bad_question(server, path, query, status, sentence):
    query = {
        key: str(value).encode("utf-16", "surrogatepass").decode("utf-16")
        for key, value in query.items()
    }
    got, headers, body = server.get(path, **query)
    assert got == status
    assert sentence in body.decode()
    assert headers["Content-Type"].startswith("text/plain")


def test_only_get(server):
    for path in ("index", "run", "matrix", "static/index.js"):
        status, _, body = server.get(path, method="POST")
        assert status == 405
        assert b"answers GET, not POST" in body
    assert server.get("index", method="HEAD")[0] == 200


def test_matrix(server):
    run = server.json("run", run="plain")
    width = len(run["statistics"]) + 1
    shape = (len(run["losses"]), len(run["variables"]), width)
    early = server.numbers("matrix", run="plain", step=-1).reshape(shape)
    assert (early[:, :, Statistic.STATE] == State.ABSENT).all()
    assert (early[:, :, -1] == -1).all()
    assert np.isnan(early[:, :, 1:-1]).all()
    there = server.numbers("matrix", run="plain", step=2).reshape(shape)
    assert there[0, :, Statistic.STATE].tolist() == [State.OK, State.OK, State.NAN]
    assert there[1, :, Statistic.STATE].tolist() == [State.OK, State.NONE, State.OK]
    assert there[0, 0, Statistic.NORM] == 3
    assert (there[:, :, -1] == 2).all()


def test_what_was_not_measured_is_told_from_nan(server):
    """Its bits come through: from the recorder to what the page gets."""
    beside = list(BESIDE_NORM)
    run = server.json("run", run="norm_alone")
    shape = (2, 3, len(run["statistics"]) + 1)
    matrix = server.numbers("matrix", run="norm_alone", step=150).reshape(shape)
    bits = matrix.view(np.uint32)
    assert (bits[:, :2, beside] == schema.UNMEASURED).all()
    assert np.isfinite(matrix[:, 2]).all()
    assert matrix[0, :2, Statistic.STATE].tolist() == [State.NAN, State.OK]
    assert matrix[0, 1, Statistic.NORM] == 2
    assert (bits[0, 0, Statistic.NORM] != schema.UNMEASURED).all()
    early = server.numbers("matrix", run="norm_alone", step=100).reshape(shape)
    assert np.isnan(early[0, 0, Statistic.MAX_ABS])  # and that is what it is
    assert not (early.view(np.uint32) == schema.UNMEASURED).any()
    series = server.numbers("series", run="norm_alone", variable="kernel").reshape(2, 3, -1)
    assert (series.view(np.uint32)[:, -1, beside] == schema.UNMEASURED).all()
    assert not (series.view(np.uint32)[:, :-1] == schema.UNMEASURED).any()
    updates = server.numbers("optimizer", run="norm_alone", optimizer="adam")
    updates = updates[6:].reshape(3, 3, 2)
    assert np.isnan(updates[-1, :2]).all()
    assert (updates.view(np.uint32)[-1, :2, 1] == schema.UNMEASURED).all()
    assert np.isfinite(updates[-1, 2]).all()


def test_matrix_shows_the_latest_record_that_has_the_variable(server):
    matrix = server.numbers("matrix", run="merged", step=4).reshape(1, 2, -1)
    assert matrix[0, :, Statistic.NORM].tolist() == [5, 3]
    assert matrix[0, :, -1].tolist() == [4, 2]


def test_odd_names(server):
    assert ODD_RUN in {run["name"] for run in server.json("index")["runs"]}
    run = server.json("run", run=ODD_RUN)
    assert run["losses"][0]["name"] == ODD + "loss"
    series = server.numbers("series", run=ODD_RUN, variable=ODD + "2")
    assert series[Statistic.NORM] == 2
    assert server.numbers("loss", run=ODD_RUN, loss=ODD + "loss").shape == (1,)
    assert server.numbers("clip", run=ODD_RUN, site=ODD + "clip").tolist() == [1, 2, 1, 0.5, 2, 1]


def test_unchanged(server):
    token = server.json("index")["token"]
    assert server.json("index", since=token) == {"token": token, "unchanged": True, "runs": []}
    assert not server.json("index", since="x")["unchanged"]


def test_page_is_served(server):
    status, headers, body = server.get("static/index.js")
    assert status == 200
    assert headers["Content-Type"].startswith("text/javascript")
    assert b"render" in body
    for path in ("static/nothing.js", "static/..%2fview%2fplugin.py", "static/%00.js"):
        status, _, body = server.get(path)
        assert status == 404, path
        assert b"no such file" in body


def test_tab_is_there(servers):
    for name, server in servers.items():
        _, _, body = server.get("plugins_listing", prefix="data/")
        assert b'"tab_name": "GradScope"' in body
        enabled = re.search(rb'"gradscope": \{[^{}]*?"enabled": (true|false)', body)[1]
        assert (enabled == b"true") == (name not in ("nothing", "others"))


@pytest.mark.parametrize("ingester", INGESTERS)
def test_growing_run(tmp_path, ingester):
    """With TensorBoard's own command, and TensorFlow if that is installed."""
    loss = Loss("loss", ["a"])
    with Log(tmp_path / "run") as log:
        loss.open(log, 0)
        loss.record(log, 0)
        log.flush()
        server = Server("--logdir", tmp_path, f"--load_fast={ingester}", tensorflow=True)
        try:
            server.wait({"run"})
            token = server.json("index")["token"]
            assert server.json("run", run="run")["steps"] == [0]
            loss.record(log, 1)
            log.flush()
            deadline = time.monotonic() + 30
            while server.json("index", since=token)["unchanged"]:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            assert server.json("index")["runs"][0]["last_step"] == 1
            assert server.json("run", run="run")["steps"] == [0, 1]
            assert server.numbers("loss", run="run", loss="loss").shape == (2,)
        finally:
            server.stop()


@pytest.mark.parametrize("ingester", INGESTERS)
@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ([], 1000),
        (["--gradscope_samples=0"], 1200),
        (["--gradscope_samples=7"], 7),
        (["--samples_per_plugin=gradscope=5,images=3"], 5),
    ],
)
def test_samples(many, ingester, flags, kept):
    server = Server("--logdir", many, f"--load_fast={ingester}", *flags)
    try:
        server.wait({"."})
        run = server.json("run", run=".")
        (loss,) = run["losses"]
        assert len(loss["steps"]) == len(loss["calls"]) == kept
        # Whatever is kept, what counts is known.
        assert loss["records"] == 1200
        (missing,) = run["missing"]
        assert missing == {
            "loss": "loss",
            "variables": ["b"],
            "first_step": 100,
            "last_step": missing["last_step"],
            "pattern": "on_and_off",
            "count": 6,
            "asked": 1200,
            "where": missing["where"],
        }
        assert missing["last_step"] == 600
        assert loss["steps"][-1] == 1199
    finally:
        server.stop()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A run of 1,200 records, six of them with a None."""
    root = tmp_path_factory.mktemp("many")
    loss = Loss("loss", ["a", "b"])
    with Log(root) as log:
        loss.open(log, 0)
        for step in range(1200):
            none = step in (100, 200, 300, 400, 500, 600)
            loss.record(log, step, step + 1, [State.OK, State.NONE if none else State.OK])
    assert len(load(root).runs["."].losses[0].steps) == 1200
    return root


def test_negative_samples_are_refused(tmp_path):
    server = Server("--logdir", tmp_path, "--gradscope_samples=-1")
    with pytest.raises(AssertionError, match=r"take 0 \(all\) or more, not -1"):
        server.wait()
    server.stop()
