"""Beside `keras.callbacks.TensorBoard` in one directory: both grow in a running TensorBoard."""

from __future__ import annotations

import json
import time

import keras
import pytest

import tb_gradscope as gs
from tests import versions
from tests.recording.keras import models
from tests.view.server import Server

pytestmark = pytest.mark.slow
BATCHES = models.ROWS // models.BATCH
SECONDS = 60


@pytest.fixture(params=["true", "false"], ids=["data server", "Python ingester"])
def server(request, tmp_path):
    started = Server("--logdir", tmp_path, f"--load_fast={request.param}")
    yield started.wait()
    started.stop()


def scalars_until(last):
    """The steps of Keras' own scalars: batches counted from 1."""
    return list(range(1, last + 1)) if versions.TENSORBOARD_COUNTS_BATCHES else [0]


class Watches(keras.callbacks.Callback):
    """After each epoch, waits until TensorBoard shows all that was recorded so far."""

    def __init__(self, server):
        super().__init__()
        self._server = server
        self.seen = []

    def _shown(self):
        status, _, body = self._server.get(
            "scalars", prefix="data/plugin/scalars/", run="train", tag="batch_error"
        )
        scalars = [step for _, step, _ in json.loads(body)] if status == 200 else []
        if not versions.TENSORBOARD_COUNTS_BATCHES:
            scalars = sorted(set(scalars))
        status, _, body = self._server.get("run", run="train")
        return scalars, json.loads(body)["steps"] if status == 200 else []

    def on_epoch_end(self, epoch, logs=None):
        last = (epoch + 1) * BATCHES
        deadline = time.monotonic() + SECONDS
        shown = self._shown()
        # Keras' writer shows what ours has flushed.
        while time.monotonic() < deadline and shown != (scalars_until(last), list(range(last))):
            time.sleep(0.3)
            shown = self._shown()
        self.seen.append(shown)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_scalars_and_gradients_grow_together(server, is_first, tmp_path):
    watches = Watches(server)
    board = keras.callbacks.TensorBoard(tmp_path, update_freq="batch")
    ours = gs.KerasCallback(tmp_path, every=1, on_error="raise")
    x, y = models.data()
    models.own_step().fit(
        *(x, y),
        epochs=3,
        batch_size=models.BATCH,
        verbose=0,
        callbacks=[*([ours, board] if is_first else [board, ours]), watches],
    )
    assert watches.seen == [
        (scalars_until(last), list(range(last))) for last in (BATCHES, 2 * BATCHES, 3 * BATCHES)
    ]
