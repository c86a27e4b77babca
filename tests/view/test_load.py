"""`load` and `to_pandas`, and what they say where there is nothing to read."""

from __future__ import annotations

import builtins
import os
import struct

import numpy as np
import pytest

import tb_gradscope as gs
from tb_gradscope.format.statistics import BESIDE_NORM
from tb_gradscope.view import schema
from tb_gradscope.view.load import History, load
from tests.view.conftest import NAMES
from tests.view.logs import Log, Loss

NO_FILES = "holds no event files; expected the directory given to gs.record, or one above it."


def test_public_name(logdir):
    assert set(gs.load(logdir).runs) == NAMES
    assert gs.load(str(logdir)).problems == ()


def test_runs_are_in_natural_order(tmp_path):
    names = ["p1", "p2", "p2/a", "p10", "p10a", "q1", "q01"]
    for name in reversed(names):
        with Log(tmp_path / name) as log:
            Loss("loss", ["a"]).open(log, 0)
    assert list(load(tmp_path).runs) == ["p1", "p2", "p2/a", "p10", "p10a", "q01", "q1"]


def test_short_repr(logdir, tmp_path):
    runs = {name: load(logdir).runs[name] for name in ("plain", "lost", "traced")}
    assert repr(History(runs, ())) == (
        "History of 3 runs: plain, lost, traced; use .runs[name] or .to_pandas()"
    )
    assert repr(load(tmp_path)) == f"History of no runs. {tmp_path} {NO_FILES}"
    plain = runs["plain"]
    assert repr(plain) == "<RunHistory 'plain': losses one, two; 3 variables, 1 clip site>"
    assert repr(plain.losses[0]) == "<LossHistory 'one': 5 records of steps 0 to 4, 3 variables>"
    assert repr(plain.clips[0]) == (
        "<ClipHistory 'clip': global_norm, 5 records of steps 0 to 4, 3 variables>"
    )
    assert repr(runs["lost"]).endswith("4 variables, 0 clip sites, 1 problem>")
    first, second = runs["traced"].losses
    assert repr(first) == "<LossHistory 'first': no records, 2 variables>"
    assert repr(second) == "<LossHistory 'second': only traced, 2 variables>"


def test_one_run(logdir):
    assert set(load(logdir / "plain").runs) == {"."}


def test_missing_directory(tmp_path):
    with pytest.raises(gs.GradscopeError, match=r"missing does not exist; expected a log dir"):
        load(tmp_path / "missing")


def test_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(gs.GradscopeError, match=r"file is a file; expected a log directory"):
        load(tmp_path / "file")


@pytest.mark.parametrize("logdir", [3, None, ["logs"]])
def test_what_is_no_path(logdir):
    with pytest.raises(TypeError) as told:
        gs.load(logdir)
    assert str(told.value) == f"gs.load({logdir!r}): expected the path of a log directory."


def test_empty_path():
    with pytest.raises(gs.GradscopeError, match=r"^'' does not exist; expected a log directory"):
        load("")


def test_remote():
    with pytest.raises(gs.GradscopeError, match=r"^gs://bucket/logs is not on this machine; copy"):
        load("gs://bucket/logs")


def test_unreadable_directory(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(gs.GradscopeError, match="cannot be read: Permission denied"):
        load(tmp_path)


def test_empty(tmp_path):
    history = load(tmp_path)
    assert history.runs == {}
    assert history.problems == (f"{tmp_path} {NO_FILES}",)


def test_other_plugins_only(others):
    history = load(others)
    assert history.runs == {}
    assert history.problems == (
        f"{others} holds 1 event file, but no gradients: nothing was recorded with tb_gradscope "
        "there.",
    )


def test_cut_at_every_byte(tmp_path):
    """Everything before the cut is there, wherever it is, and nothing fails."""
    loss = Loss("loss", ["a"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        log.flush()
        ends = [log.path.stat().st_size]
        for step in range(3):
            loss.record(log, step)
            log.flush()
            ends.append(log.path.stat().st_size)
    whole = log.path.read_bytes()
    for length in range(len(whole) + 1):
        log.path.write_bytes(whole[:length])
        history = load(tmp_path)
        expected = sum(length >= end for end in ends[1:])
        if length >= ends[0]:
            assert history.runs["."].losses[0].steps.tolist() == list(range(expected))
            assert history.runs["."].problems == ()
        else:
            assert history.runs == {}


def test_damaged_file(tmp_path):
    loss = Loss("loss", ["a"])
    with Log(tmp_path) as log:
        loss.open(log, 0)
        loss.record(log, 0)
        log.flush()
        good = log.path.stat().st_size
    with log.path.open("ab") as file:
        file.write(b"\1" * 100)
    (problem,) = load(tmp_path).runs["."].problems
    assert problem == f"{log.path.name} could be read only in part: it is damaged at byte {good}."
    garbage = tmp_path / "other" / "x.tfevents.1"
    garbage.parent.mkdir()
    garbage.write_bytes(struct.pack("<QI", 3, 0))
    (problem,) = load(tmp_path).problems
    assert problem.startswith("Run 'other': x.tfevents.1 could be read only in part: it is damaged")


def test_links(tmp_path):
    (tmp_path / "logs").mkdir()
    loss = Loss("loss", ["a"])
    with Log(tmp_path / "elsewhere") as log:
        loss.open(log, 0)
    (tmp_path / "logs" / "run").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "logs")
    assert set(load(tmp_path / "logs").runs) == {"run"}


LABEL = ["stage", "batch", "replicas", "replica", "reduction", "clipped_by"]


def test_to_pandas(logdir):
    table = load(logdir).to_pandas()
    assert list(table.columns[:6]) == ["run", "loss", "variable", "step", "wall_time", "state"]
    assert list(table.columns[6:8]) == ["norm", "max_abs"]
    plain = table[table["run"] == "plain"]
    assert len(plain) == 2 * 3 * 5
    none = plain[(plain["loss"] == "two") & (plain["variable"] == "layer/b")]
    assert (none["state"] == "none").all()
    assert none["norm"].isna().all()
    one = plain[(plain["loss"] == "one") & (plain["variable"] == "c")]
    assert one["state"].tolist() == ["ok", "zero", "nan", "inf", "ok"]
    assert one["step"].tolist() == [0, 1, 2, 3, 4]
    # What was not asked for is no row: `b` was frozen for three of eight steps.
    assert (table[table["run"] == "merged"]["variable"] == "b").sum() == 5


def test_to_pandas_says_which_gradient(logdir):
    table = load(logdir).to_pandas()
    last = ["part_of", *LABEL, "loss_scale", "loss_value", "reason"]
    assert list(table.columns[-10:]) == last
    replicas = table[(table["run"] == "replicas") & (table["loss"] == "loss")]
    assert replicas.groupby("replica")["norm"].max().to_dict() == {0: 3, 1: 1, -1: 2}
    assert set(table[(table["loss"] == "kl") & (table["run"] == "parts")]["part_of"]) == {"total"}
    watched = table[(table["run"] == "watched") & (table["variable"] == "b")]
    assert watched[watched["reason"] == "nonfinite"]["step"].tolist() == [237]
    scaled = table[(table["run"] == "scaled") & (table["variable"] == "b")]
    assert scaled["loss_scale"].tolist()[:2] == [2**15, 2**14]


def test_what_was_not_measured_to_pandas(logdir):
    """Of a large gradient that is well only the state and the norm are known at a spike."""
    (found,) = load(logdir / "norm_alone").runs["."].losses
    assert (found.values[-1, :2, BESIDE_NORM].view(np.uint32) == schema.UNMEASURED).all()
    table = load(logdir / "norm_alone").to_pandas()
    kernel = table[(table["variable"] == "kernel") & (table["reason"] == "spike")]
    assert kernel[["state", "norm", "nan_count"]].to_numpy().tolist() == [["ok", 2, 0]]
    names = [statistic.name.lower() for statistic in BESIDE_NORM]
    assert kernel[names].isna().all(axis=None)
    table = load(logdir / "norm_alone").to_pandas("optimizers")
    kernel = table[table["variable"] == "kernel"]
    assert kernel["gradient_norm"].tolist() == [2, 2, 2]
    for name in ("variable_norm", "update_norm", "update_ratio"):
        assert kernel[name].isna().tolist() == [False, False, True]


def test_optimizers_to_pandas(logdir):
    table = load(logdir).to_pandas("optimizers")
    assert list(table.columns[:4]) == ["run", "optimizer", "variable", "step"]
    adam = table[(table["optimizer"] == "adam") & (table["variable"] == "b")]
    assert adam["skipped"].tolist() == [1, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    np.testing.assert_allclose(adam["update_ratio"].tolist()[-1], 0.1)
    assert list(table.columns[-6:]) == LABEL
    assert set(table["stage"]) == {"raw", "unscaled"}
    # What an optimizer did not get is no row: `b` was frozen for two of six steps.
    assert ((table["run"] == "refrozen") & (table["variable"] == "b")).sum() == 4


def test_cosines_to_pandas(logdir):
    table = load(logdir).to_pandas("cosines")
    assert list(table.columns[:6]) == ["run", "loss", "other_loss", "variable", "step", "cosine"]
    one = table[(table["loss"] == "recon") & (table["other_loss"] == "kl")]
    np.testing.assert_allclose(one["cosine"], [-0.5, -0.6, -0.7, -0.8])
    assert list(table.columns[-6:]) == LABEL


def test_clips_to_pandas(logdir):
    history = load(logdir)
    table = history.to_pandas("clips")
    assert list(table.columns[:4]) == ["run", "clip", "variable", "step"]
    assert list(table.columns[-6:]) == LABEL
    for run in history.runs.values():
        for site in run.clips:
            rows = table[(table["run"] == run.name) & (table["clip"] == site.name)]
            rows = rows[rows["replica"] == site.label.replica]
            last = rows[rows["step"] == site.steps[-1]]
            assert set(last["variable"]) <= set(site.variables)
            assert set(last["clipped"]) == {site.clipped[-1]}
            assert set(last["threshold"]) <= {site.threshold[-1]}
            known = last.dropna(subset=["norm_before"])
            whole = np.sqrt((known["norm_before"] ** 2).sum())
            np.testing.assert_allclose(whole, site.norm_before[-1], rtol=1e-5)


def test_no_such_table(logdir):
    with pytest.raises(
        gs.GradscopeError,
        match=r"^There is no table 'clip'; there are: "
        r"'gradients', 'clips', 'optimizers', 'cosines'\.$",
    ):
        load(logdir).to_pandas("clip")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("gradients", "reason"),
        ("clips", "whole_norm_after"),
        ("optimizers", "update_ratio"),
        ("cosines", "cosine"),
    ],
)
def test_tables_of_nothing(tmp_path, table, column):
    found = load(tmp_path).to_pandas(table)
    assert len(found) == 0
    assert column in found.columns


def test_to_pandas_of_nothing(tmp_path):
    table = load(tmp_path).to_pandas()
    assert len(table) == 0
    assert "norm" in table.columns


def test_to_pandas_without_pandas(logdir, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(gs.GradscopeError, match=r"to_pandas\(\) needs pandas.*pip install pandas"):
        load(logdir).to_pandas()


def test_steps_are_whole_numbers(logdir):
    assert load(logdir).runs["plain"].losses[0].steps.dtype == np.int64
