"""A recorder whose failures are test failures, and what it wrote."""

from __future__ import annotations

import pytest

import tb_gradscope as gs
from tb_gradscope.recording import failure


@pytest.fixture
def logdir(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def recorder(logdir):
    """A recorder of every call, entered; an error inside it fails the test."""
    with gs.record(logdir, every=1, on_error="raise") as entered:
        yield entered


@pytest.fixture
def recorded(logdir, recorder):
    """Leaves the recorder's records behind: call it to read what there is so far."""

    def read():
        recorder.flush()
        (run,) = gs.load(logdir).runs.values()
        return run

    return read


@pytest.fixture(autouse=True)
def _warnings_anew():
    failure.forget_said()
