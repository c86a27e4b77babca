"""Which worker of a training on several machines this process is, and where it records."""

from __future__ import annotations

import json
import os

from tb_gradscope.recording import internals

_CHIEFS = ("chief", "master")


def directory_of_this_worker(logdir: str) -> str:
    """Returns where this process records when the program says `logdir`.

    Workers run the same program with the same directory, which often lies on a disk
    they share. A run of TensorBoard has one writer: the chief records into `logdir`
    itself, the others into runs of their own below it, such as `logdir/worker_1`.
    """
    task = internals.cluster_task() or _task_of_tf_config()
    if task is None:
        return logdir
    job, index, jobs = task
    is_chief = job in _CHIEFS or (job == "worker" and index == 0 and not set(_CHIEFS) & set(jobs))
    return logdir if is_chief else f"{logdir.rstrip('/')}/{job}_{index}"


def _task_of_tf_config() -> tuple[str, int, list[str]] | None:
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        task = config["task"]
        return str(task["type"]), int(task["index"]), list(config["cluster"])
    except (KeyError, TypeError, ValueError):
        return None
