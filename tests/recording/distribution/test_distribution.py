"""Gradients of replicas and what they are reduced to, on virtual devices and real processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tb_gradscope as gs
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import labels
from tests import versions

PROGRAMS = Path(__file__).parent
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
SECONDS = 280


def norms(run):
    """Norms of the gradient of the first variable, by replica and how it was reduced."""
    return {
        (loss.label.replica, loss.label.reduction): loss.values[:, 0, Statistic.NORM].tolist()
        for loss in run.losses
    }


class Mirrored:
    """What `mirrored.py` left."""

    def __init__(self, logdir):
        program = [sys.executable, str(PROGRAMS / "mirrored.py"), str(logdir)]
        env = os.environ | QUIET
        ended = subprocess.run(
            program, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        self.weights = json.loads(ended.stdout.splitlines()[-1])
        self.warnings = ended.stderr
        self._runs = gs.load(logdir).runs

    def __getitem__(self, name):
        return self._runs[name]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    return Mirrored(tmp_path_factory.mktemp("mirrored"))


def line_of(program, text):
    lines = (PROGRAMS / program).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if text in line]
    return number


def test_weights_are_the_same_to_the_last_bit(mirrored):
    plain = {name: weights for name, (weights, _) in mirrored.weights.items()}
    recorded = {name: weights for name, (_, weights) in mirrored.weights.items()}
    assert recorded == plain


def test_a_pass_through_an_all_reduce_is_not_made_once_more(mirrored):
    """It is the one thing that is warned of: the parts need further passes."""
    warned = [line for line in mirrored.warnings.splitlines() if "GradscopeWarning" in line]
    told = {line.partition("GradscopeWarning: ")[2] for line in warned}
    if not versions.SUMS_OVER_REPLICAS:
        told.remove(versions.NOT_SUMMED)
    assert told == {
        "tb_gradscope: the parts of 'losses' are not recorded: its backward pass reaches through "
        "an all-reduce of the replicas. The total is."
    }
    run = mirrored["parts_through_an_all_reduce"]
    assert {loss.name for loss in run.losses} == {"losses"}


def test_parts_of_a_sum(mirrored):
    run = mirrored["parts"]
    found = {(loss.name, loss.part_of, loss.label.replica) for loss in run.losses}
    assert found == {
        *(("losses", "", replica) for replica in (0, 1, -1)),
        *((part, "losses", replica) for part in ("fit", "decay") for replica in (0, 1)),
    }
    assert {pair.label.replica for pair in run.cosines} == {0, 1}


@pytest.mark.parametrize(
    "training",
    ["clip_after", "clip_after_in_eager_code", "merged", "compiled_by_xla", "clip_of_changed"],
)
def test_replicas_and_their_sum(training, mirrored):
    expected = {(0, "local"): [3.0] * 3, (1, "local"): [4.0] * 3, (-1, "sum"): [5.0] * 3}
    if training == "clip_of_changed":
        # Nobody can know what becomes of gradients that the program changed.
        del expected[-1, "sum"]
    run = mirrored[training]
    assert norms(run) == expected
    assert {loss.name for loss in run.losses} == {"loss"}
    assert all(loss.steps.tolist() == [0, 1, 2] for loss in run.losses)


def test_none_in_every_replica_is_not_reduced(mirrored):
    run = mirrored["clip_after"]
    assert [variable.name for variable in run.variables] == ["w", "unused"]
    for loss in run.losses:
        states = loss.values[-1, :, Statistic.STATE].tolist()
        assert states == ([State.OK] if loss.label.replica < 0 else [State.OK, State.NONE])


def test_reduced_outside_of_the_replicas(mirrored):
    run = mirrored["reduced_outside"]
    assert norms(run) == {(0, "local"): [3.0] * 3, (1, "local"): [4.0] * 3, (-1, "mean"): [2.5] * 3}
    line = line_of("mirrored.py", "# the line of the replicas")
    local = [loss for loss in run.losses if loss.label.replica >= 0]
    # The replica function is defined inside of a tf.function, and converted with it.
    assert {Path(loss.where.file).name for loss in local} == {"mirrored.py"}
    assert all(loss.where.line < line for loss in local)


@pytest.mark.parametrize("training", ["clip_after", "clip_after_in_eager_code"])
def test_clipping_after_the_all_reduce(training, mirrored):
    (site,) = mirrored[training].clips
    assert labels.clipping(site.label) == "after the all-reduce over 2 replicas"
    assert site.steps.tolist() == [0, 1, 2]  # once for all replicas
    assert site.calls[-1] == 3
    np.testing.assert_allclose(site.norms[-1], [[5.0, 1.0]], rtol=1e-6)


def test_clipping_before_the_all_reduce(mirrored):
    run = mirrored["clip_before"]
    assert [labels.clipping(site.label) for site in run.clips] == [
        "before the all-reduce, on replica 0 of 2",
        "before the all-reduce, on replica 1 of 2",
    ]
    assert [site.norms[-1].tolist() for site in run.clips] == [[[3.0, 2.0]], [[4.0, 2.0]]]
    (mean,) = [loss for loss in run.losses if loss.label.replica < 0]
    assert labels.sentence(mean.label) == (
        "raw, averaged over 2 replicas, each clipped by clip_by_global_norm before"
    )
    assert mean.values[-1, 0, Statistic.NORM] == pytest.approx(np.sqrt(2.0))


def test_clipping_of_gradients_that_the_program_changed(mirrored):
    sites = mirrored["clip_of_changed"].clips
    assert [labels.clipping(site.label) for site in sites] == [
        "before or after the all-reduce, on replica 0 of 2",
        "before or after the all-reduce, on replica 1 of 2",
    ]


def test_rows_of_an_embedding(mirrored):
    run = mirrored["embedding"]
    # Rows 1, 1 and 3 of (3, 0) and of (0, 4); those of the same index are summed.
    assert norms(run) == {
        (0, "local"): [pytest.approx(3 * np.sqrt(5))] * 3,
        (1, "local"): [pytest.approx(4 * np.sqrt(5))] * 3,
        (-1, "sum"): [pytest.approx(5 * np.sqrt(5))] * 3,
    }
    assert all(loss.label.sparse for loss in run.losses)


def test_a_function_that_was_traced_before_there_was_a_strategy(mirrored):
    run = mirrored["traced_before_the_strategy"]
    assert norms(run) == {
        (0, ""): [1.0],
        (0, "local"): [3.0] * 3,
        (1, "local"): [4.0] * 3,
        (-1, "sum"): [5.0] * 3,
    }


@pytest.mark.parametrize("training", ["one_device", "another_device_without_strategy"])
def test_one_device_is_no_distribution(training, mirrored):
    (loss,) = mirrored[training].losses
    assert labels.sentence(loss.label) == "raw"
    assert loss.steps.tolist() == [0, 1, 2]


def test_the_programs_own_summary_writer(mirrored):
    run = mirrored["default_writer"]
    assert norms(run) == {(0, "local"): [3.0], (1, "local"): [4.0], (-1, "sum"): [5.0]}
    assert {loss.steps.tolist()[0] for loss in run.losses} == {7}


def test_threads_record_each_into_its_own_directory(mirrored):
    assert norms(mirrored["two_at_once/0"])[-1, "sum"] == [5.0] * 3
    assert norms(mirrored["two_at_once/1"])[-1, "sum"] == [10.0] * 3


@pytest.mark.parametrize("training", ["keras_optimizer", "keras_fit/train"])
def test_keras_optimizers_reduce_as_well(training, mirrored):
    run = mirrored[training]
    by_label = {(loss.label.replica, loss.label.reduction): loss for loss in run.losses}
    if not versions.SUMS_OVER_REPLICAS:
        assert set(by_label) == {(0, "local"), (1, "local")}
        return
    assert set(by_label) == {(0, "local"), (1, "local"), (-1, "sum")}
    one, two, total = (by_label[key].values[..., Statistic.NORM] for key in by_label)
    # Each is between the difference and the sum of the two.
    assert one.shape == two.shape == total.shape == (4, 4)
    assert np.all(total <= (one + two) * 1.0001)
    assert np.all(total >= np.abs(one - two) * 0.9999)


@versions.requires_keras((3, 5), "the Keras optimizer of an older one does not reduce")
def test_a_reduction_is_shown_where_the_program_asks_for_it(mirrored):
    (total,) = [loss for loss in mirrored["keras_optimizer"].losses if loss.label.replica < 0]
    assert total.where.line == line_of("mirrored.py", "# the line of the reduction")


class Cluster:
    """Processes that know each other by TF_CONFIG; none outlives the `with` block."""

    def __init__(self, folder, **jobs):
        with contextlib.ExitStack() as stack:
            sockets = {
                job: [stack.enter_context(socket.socket()) for _ in range(count)]
                for job, count in jobs.items()
            }
            for each in itertools.chain(*sockets.values()):
                each.bind(("127.0.0.1", 0))
            self._addresses = {
                job: [f"127.0.0.1:{each.getsockname()[1]}" for each in found]
                for job, found in sockets.items()
            }
        self._folder = folder
        self._started = []

    def start(self, program, job, index, *arguments):
        config = {"cluster": self._addresses, "task": {"type": job, "index": index}}
        error = open(self._folder / f"{job}_{index}.stderr", "w+")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, str(PROGRAMS / program), *map(str, arguments)],
            env=os.environ | QUIET | {"TF_CONFIG": json.dumps(config)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=error,
            text=True,
        )
        self._started.append((process, error))
        return process

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process, error in self._started:
            process.kill()
            process.communicate()
            error.seek(0)
            print(process.args[1:], process.returncode, error.read()[-3000:])
            error.close()


class Workers:
    """What two processes of `workers.py` left; worker 1 was killed in its recording."""

    def __init__(self, folder):
        logdir = folder / "log"
        with Cluster(folder, worker=2) as cluster:
            both = [cluster.start("workers.py", "worker", index, logdir) for index in range(2)]
            killed, _ = both[1].communicate(timeout=SECONDS)
            assert both[1].returncode == -signal.SIGKILL
            alive, _ = both[0].communicate(timeout=SECONDS)
            assert both[0].returncode == 0
        assert alive.splitlines()[-1] == "done"
        self.weights = [json.loads(text.splitlines()[0]) for text in (alive, killed)]
        self.runs = gs.load(logdir).runs
        self.files = {
            name: [path.name for path in (logdir / name).iterdir() if path.is_file()]
            for name in self.runs
        }


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    return Workers(tmp_path_factory.mktemp("workers"))


def test_workers_train_the_same_with_and_without(workers):
    (plain, recorded), (plain_1, recorded_1) = workers.weights
    assert plain == recorded == plain_1 == recorded_1


def test_every_worker_writes_a_run_of_its_own(workers):
    assert sorted(workers.runs) == [".", "worker_1"]
    assert [len(files) for files in workers.files.values()] == [1, 1]


def test_a_worker_records_its_replica_and_the_sum(workers):
    """All that was flushed by the worker that was killed is there, too."""
    expected = {".": (0, 3.0), "worker_1": (1, 4.0)}
    for name, (replica, norm) in expected.items():
        run = workers.runs[name]
        assert norms(run) == {(replica, "local"): [norm] * 3, (-1, "sum"): [5.0] * 3}
        (site,) = run.clips
        assert labels.clipping(site.label) == "after the all-reduce over 2 replicas"
        assert not run.problems


class Coordinated:
    """What `coordinator.py` left, with two workers and a parameter server."""

    def __init__(self, folder):
        logdir = folder / "log"
        with Cluster(folder, chief=1, worker=2, ps=1) as cluster:
            servers = [
                cluster.start("server.py", job, index)
                for job, index in (("ps", 0), ("worker", 0), ("worker", 1))
            ]
            chief = cluster.start("coordinator.py", "chief", 0, logdir)
            assert [server.stdout.readline() for server in servers] == ["up\n"] * 3
            self.weights = json.loads(chief.stdout.readline())
            assert chief.stdout.readline() == "killed?\n"
            servers[-1].kill()
            assert chief.communicate("yes\n", timeout=SECONDS) == ("done\n", None)
        self.runs = gs.load(logdir).runs


@pytest.fixture(scope="module")
def coordinated(tmp_path_factory):
    return Coordinated(tmp_path_factory.mktemp("coordinated"))


def test_functions_on_workers_train_the_same_with_and_without(coordinated):
    plain, recorded = coordinated.weights
    assert plain == recorded


def test_functions_on_workers_are_recorded_in_the_log_of_the_chief(coordinated):
    run = coordinated.runs["one_by_one"]
    (loss,) = run.losses
    assert loss.steps.tolist() == [0, 1, 2, 3, 4]
    assert np.all(loss.values[:, 0, Statistic.STATE] == State.OK)
    (site,) = run.clips
    assert site.steps.tolist() == [0, 1, 2, 3, 4]


def test_functions_on_workers_count_each_call_once(coordinated):
    """Two workers ran forty steps at once."""
    run = coordinated.runs["at_once"]
    (loss,) = run.losses
    assert loss.steps.tolist() == list(range(40))
    assert loss.calls[-1] == 40
    assert np.all(np.isfinite(loss.values[..., Statistic.NORM]))
    assert not run.problems


def test_a_worker_that_dies_leaves_no_gap(coordinated):
    """What was given to it is run by another one."""
    (loss,) = coordinated.runs["after_a_death"].losses
    assert loss.steps.tolist() == list(range(12))
