"""Where each process of a training on several machines records."""

from __future__ import annotations

import json

import pytest

from tb_gradscope.recording.distribution.worker import directory_of_this_worker

TWO_WORKERS = {"worker": ["a:1", "b:1"]}
WITH_CHIEF = {"chief": ["c:1"], "worker": ["a:1", "b:1"], "ps": ["d:1"]}


@pytest.mark.parametrize(
    ("cluster", "job", "index", "directory"),
    [
        (TWO_WORKERS, "worker", 0, "logs/run1"),
        (TWO_WORKERS, "worker", 1, "logs/run1/worker_1"),
        (WITH_CHIEF, "chief", 0, "logs/run1"),
        (WITH_CHIEF, "worker", 0, "logs/run1/worker_0"),
        ({"worker": ["a:1"]}, "worker", 0, "logs/run1"),
        (TWO_WORKERS | {"evaluator": ["e:1"]}, "evaluator", 0, "logs/run1/evaluator_0"),
    ],
)
def test_only_the_chief_records_into_the_directory_itself(
    cluster, job, index, directory, monkeypatch
):
    task = {"type": job, "index": index}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert directory_of_this_worker("logs/run1") == directory
    if directory != "logs/run1":
        assert directory_of_this_worker("logs/run1/") == directory


@pytest.mark.parametrize("config", [None, "", "{", "[]", "{}", '{"cluster": {}, "task": null}'])
def test_a_process_alone(config, monkeypatch):
    if config is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", config)
    assert directory_of_this_worker("logs/run1") == "logs/run1"
