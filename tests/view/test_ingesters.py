"""The data server, the Python ingester, `--logdir_spec` and `load` say the same, to the bit."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tb_gradscope.view import answers, labels, numbers, schema
from tb_gradscope.view.findings import findings
from tb_gradscope.view.load import load
from tests.view.conftest import NAMES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def history(logdir):
    return load(logdir)


def of_history(history, run):
    """Every answer about a run that there is, out of a loaded history."""
    of = history.runs[run]
    found = {"run": json.loads(json.dumps(dataclasses.asdict(answers.run(of, ""))))}
    for step in asked_steps(found["run"]):
        found["matrix", step] = numbers.matrix(of, step)
    for number, variable in enumerate(of.variables):
        found["series", variable.name] = numbers.series(of, number)
    for name, loss in zip(labels.ids(of.losses), of.losses, strict=True):
        found["loss", name] = numbers.whole_norms(loss)
    for name, clip in zip(labels.ids(of.clips), of.clips, strict=True):
        found["clip", name] = numbers.clip(clip)
    for name, one in zip(labels.ids(of.optimizers), of.optimizers, strict=True):
        found["optimizer", name] = numbers.optimizer(one)
        found["reached", name] = numbers.whole_norms(one)
    found["findings"] = json.loads(json.dumps(dataclasses.asdict(findings(of))))
    found["cosines"] = numbers.totals(of)
    for names, pair in zip(answers.pair_ids(of), of.cosines, strict=True):
        found["cosine", names] = pair.cosines.ravel()
    return found


def of_server(server, run):
    """The same, over HTTP."""
    found = {"run": {**server.json("run", run=run), "token": ""}}
    for step in asked_steps(found["run"]):
        found["matrix", step] = server.numbers("matrix", run=run, step=step)
    for variable in found["run"]["variables"]:
        name = variable["name"]
        found["series", name] = server.numbers("series", run=run, variable=name)
    for loss in found["run"]["losses"]:
        found["loss", loss["id"]] = server.numbers("loss", run=run, loss=loss["id"])
    for clip in found["run"]["clips"]:
        found["clip", clip["id"]] = server.numbers("clip", run=run, site=clip["id"])
    for one in found["run"]["optimizers"]:
        name = one["id"]
        found["optimizer", name] = server.numbers("optimizer", run=run, optimizer=name)
        found["reached", name] = server.numbers("reached", run=run, optimizer=name)
    found["findings"] = server.json("findings", run=run)
    found["cosines"] = server.numbers("cosines", run=run)
    for pair in found["run"]["cosines"]:
        names = pair["one"], pair["other"]
        found["cosine", names] = server.numbers("cosine", run=run, one=names[0], other=names[1])
    return found


def asked_steps(run):
    return [-(2**62), *run["steps"], 2**62]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        if key in ("run", "findings"):
            assert value == other[key]
        else:
            assert np.asarray(value).tobytes() == np.asarray(other[key]).tobytes(), key


def without_names(answers_of_run):
    """Replaces a run's name, which `--logdir_spec` begins differently."""
    run = {**answers_of_run["run"], "name": ""}
    return {**answers_of_run, "run": run}


@pytest.mark.parametrize("run", sorted(NAMES))
def test_server_says_what_load_says(server, history, run):
    assert_same(of_server(server, run), of_history(history, run))


@pytest.mark.parametrize("run", ["restart", "nested/run", "broken", "interleaved_files"])
def test_logdir_spec_says_what_load_says(servers, history, run):
    spec = of_server(servers["spec"], f"here/{run}")
    assert_same(without_names(spec), without_names(of_history(history, run)))


def test_index_is_the_same(servers, history):
    if "data_server" not in servers:
        pytest.skip("this platform's tensorboard-data-server has no binary")
    one, other = (servers[name].json("index")["runs"] for name in ("python", "data_server"))
    assert one == other
    assert {run["name"] for run in one} == set(history.runs)


def test_index_says_what_the_runs_say(server):
    for summary in server.json("index")["runs"]:
        run = server.json("run", run=summary["name"])
        pairs = sum(len(missing["variables"]) for missing in run["missing"])
        assert summary["losses"] == len(run["losses"]), summary
        assert summary["variables"] == len(run["variables"]), summary
        assert summary["clips"] == len(run["clips"]), summary
        assert summary["optimizers"] == len(run["optimizers"]), summary
        assert summary["cosines"] == len(run["cosines"]), summary
        assert summary["missing"] == pairs, summary
        if summary["name"] not in ("broken", "newer"):  # their last record is no record
            assert summary["first_step"] == run["steps"][0], summary
            assert summary["last_step"] == run["steps"][-1], summary


def test_assert_same_can_fail(history):
    right = of_history(history, "plain")
    wrong = {**right, ("loss", "one"): right["loss", "one"] + 1}
    with pytest.raises(AssertionError):
        assert_same(right, wrong)
    assert_same(right, of_history(history, "plain"))


def test_nothing_there(servers):
    for name in servers.keys() & {"nothing", "others"}:
        assert servers[name].json("index")["runs"] == []
        status, _, body = servers[name].get("run", run="run")
        assert status == 404
        assert b"no run 'run'" in body


def test_routes_are_those_of_the_schema(servers):
    for path in schema.ROUTES:
        assert servers["python"].get(path, x="y")[0] in (200, 400)
