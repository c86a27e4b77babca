"""Records a program that `tb-gradscope run` has started, from within it."""

from __future__ import annotations

import atexit
import os
import sys
import time
from typing import Any

from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.patch.everything import patch
from tb_gradscope.recording.store.destination import DirectoryRecorder
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.writer import Writer


def start(logdir: str, shown: str, every: str) -> None:
    """Begins: the program has imported TensorFlow.

    Args:
      logdir: absolute; the directory of the run, or with a slash at its end
        that in which to make one named by the time.
      shown: the same directory as the user wrote it.
      every: as the user wrote it.
    """
    patched = patch()
    patched.__enter__()
    recorder = _ProgramRecorder(logdir, shown, every)
    recorder.__enter__()
    if hasattr(os, "register_at_fork"):
        # Two processes must not write one run.
        os.register_at_fork(after_in_child=lambda: patched.__exit__(None, None, None))
    process = os.getpid()
    atexit.register(lambda: recorder.finish() if os.getpid() == process else None)


class _ProgramRecorder(DirectoryRecorder):
    """The outermost recorder of a program; makes its directory when there is a record for it."""

    def __init__(self, logdir: str, shown: str, every: str) -> None:
        super().__init__(logdir, every if every == "auto" else int(every))
        self._shown = shown

    def open(self) -> None:
        """Begins to record."""
        HOST.call(lambda: self._start(Writer(self._opened), takes_over=True))

    def finish(self) -> None:
        """Writes what is left, and says what was found, or that there is nothing."""
        with contained("writing the last records"):
            self.flush()
        with contained("judging the training"):
            HOST.call(self.live.end)
        found = self.live.found()
        if found:
            _say(f"{found} found; what and where: tb-gradscope report {self._shown}")
        if not self.has_recorded:
            why = (
                "every gradient() raised" if self.was_asked else "none of its gradient() was called"
            )
            _say(f"nothing was recorded of any tf.GradientTape: {why}.")

    def _opened(self) -> Any:
        if self.logdir.endswith(os.sep):
            self.logdir = _new_directory(self.logdir)
        writer = super()._opened()
        _say(f"recording; to see it: tensorboard --logdir {self._shown}")
        return writer


def _say(text: str) -> None:
    """Prints a line for whoever started the program, wherever its own messages go."""
    if sys.__stderr__ is not None:
        with contained("printing"):
            print(f"tb-gradscope: {text}", file=sys.__stderr__, flush=True)


def _new_directory(parent: str) -> str:
    """Makes a directory named by the time, one that no other process has taken."""
    name = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        path = os.path.join(parent, name if number == 1 else f"{name}-{number}")
        try:
            os.makedirs(path)
        except FileExistsError:
            number += 1
        else:
            return path
