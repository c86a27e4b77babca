"""One log directory with a run for each case, and real TensorBoards over it."""

from __future__ import annotations

import pytest
import tensorboard_data_server

from tests.view import runs
from tests.view.server import Server

NAMES = {name for name in runs.RUNS if name != "scalars_only"}


@pytest.fixture(scope="session")
def logdir(tmp_path_factory):
    """The directory of all runs of `tests.view.runs`."""
    root = tmp_path_factory.mktemp("logs")
    runs.write_all(root)
    return root


@pytest.fixture(scope="session")
def others(tmp_path_factory):
    """A directory that only other plugins have written to."""
    root = tmp_path_factory.mktemp("others")
    runs.scalars_only(root / "run")
    return root


@pytest.fixture(scope="session")
def servers(logdir, others, tmp_path_factory):
    """TensorBoards by name; started all at once, because each takes seconds."""
    empty = tmp_path_factory.mktemp("empty")
    arguments = {
        "python": ["--load_fast=false", "--logdir", logdir],
        "spec": ["--logdir_spec", f"here:{logdir},empty:{empty},others:{others}"],
        "nothing": ["--load_fast=false", "--logdir", empty / "missing"],
    }
    if tensorboard_data_server.server_binary() is not None:
        arguments["data_server"] = ["--load_fast=true", "--logdir", logdir]
        arguments["others"] = ["--load_fast=true", "--logdir", others]
    started = {name: Server(*one) for name, one in arguments.items()}
    try:
        expected = {
            "python": NAMES,
            "data_server": NAMES,
            "spec": {f"here/{name}" for name in NAMES},
            "nothing": set(),
            "others": set(),
        }
        yield {name: server.wait(expected[name]) for name, server in started.items()}
    finally:
        for server in started.values():
            server.stop()


@pytest.fixture(scope="session", params=["python", "data_server"])
def server(servers, request):
    """A TensorBoard over the log directory, once with each of its ingesters."""
    if request.param not in servers:
        pytest.skip("this platform's tensorboard-data-server has no binary")
    return servers[request.param]
