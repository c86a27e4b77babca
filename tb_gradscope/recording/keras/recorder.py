"""Where a `KerasCallback` records to: beside what Keras' own TensorBoard callback writes."""

from __future__ import annotations

import os
from typing import Any

import keras

from tb_gradscope.recording.distribution.worker import directory_of_this_worker
from tb_gradscope.recording.failure import contained, say_once
from tb_gradscope.recording.keras import internals as keras_internals
from tb_gradscope.recording.store.destination import DirectoryRecorder, run_before
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.writer import Writer

_DEFAULT = "logs"  # as keras.callbacks.TensorBoard has it
_TRAIN = "train"


class FitRecorder(DirectoryRecorder):
    """Records into `<log_dir>/train`, through the TensorBoard callback's writer if it writes there.

    TensorBoard's Python ingester reads the files of a directory one after another:
    of two that grow together it would leave the one of the smaller name behind.
    """

    def begin(self, tensorboard: Any | None) -> None:
        """Begins to write.

        Args:
          tensorboard: the `keras.callbacks.TensorBoard` that writes into the same
            directory, if there is one.
        """
        if os.path.isfile(self.logdir) or os.path.isfile(os.path.dirname(self.logdir)):
            say_once(
                f"gs.KerasCallback records nothing: {os.path.dirname(self.logdir)!r} is a file, "
                "expected a log directory. Training goes on."
            )
            return
        with contained(f"opening an event file in {self.logdir!r}", self.on_error):
            # Of several workers each writes into a folder of its own, but for the chief.
            is_same = directory_of_this_worker(self.logdir) == self.logdir
            writer = keras_internals.train_writer(tensorboard) if is_same else None
            if writer is None:
                self.open()
            else:
                HOST.call(lambda: self._start(Writer(lambda: writer), takes_over=True))
                run_before(writer, "flush", self.flush)
                run_before(writer, "close", self._leave)
            self._is_shared = writer is not None

    def end(self) -> None:
        """Writes what is left."""
        with contained(f"closing the event file in {self.logdir!r}", self.on_error):
            if self._is_shared:
                self._leave()
            else:
                self.close()

    def _leave(self) -> None:
        HOST.call(self._stop)

    _is_shared = False


def log_directory(log_dir: str | None, callbacks: list[Any]) -> tuple[str, Any | None]:
    """Returns the directory of the run, and the TensorBoard callback that writes there.

    Args:
      log_dir: as given by the user.
      callbacks: all of the same `fit`.
    """
    boards = [one for one in callbacks if isinstance(one, keras.callbacks.TensorBoard)]
    if log_dir is None:
        log_dir = str(boards[0].log_dir) if boards else _DEFAULT
    same = [board for board in boards if _normal(str(board.log_dir)) == _normal(log_dir)]
    return os.path.join(log_dir, _TRAIN), same[0] if same else None


def _normal(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.realpath(path)
