"""Records a program that `tb-gradscope run` has started, from within it."""

from __future__ import annotations

import atexit
import os
import sys
import time

from tb_gradscope.recording.destination import DirectoryRecorder, enter_when_needed, record
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.patch import patch


def start(logdir: str, shown: str, every: str) -> None:
    """Begins: TensorFlow is imported, and not started yet.

    Args:
      logdir: absolute; the directory of the run, or with a slash at its end
        that in which to make one named by the time.
      shown: the same directory as the user wrote it.
      every: as the user wrote it.
    """
    program = _Program(logdir, shown, every)
    enter_when_needed(program.enter)
    patch().__enter__()
    atexit.register(program.finish)


class _Program:
    def __init__(self, logdir: str, shown: str, every: str) -> None:
        self._logdir = logdir
        self._shown = shown
        self._every = every if every == "auto" else int(every)
        self._recorder: DirectoryRecorder | None = None
        self._process = os.getpid()

    def enter(self) -> None:
        """Opens the event file, at the first gradient."""
        if os.getpid() != self._process:
            return  # a fork, which would write into the same file
        logdir = _new_directory(self._logdir) if self._logdir.endswith(os.sep) else self._logdir
        self._recorder = record(logdir, self._every)
        self._recorder.__enter__()
        if self._recorder.is_recording:
            say(f"recording; to see it: tensorboard --logdir {self._shown}")

    def finish(self) -> None:
        """Writes the rest, and says so if there was nothing."""
        if os.getpid() != self._process:
            return
        if self._recorder is None:
            say("nothing was recorded: no gradient() of a tf.GradientTape was called.")
            return
        with contained("writing the last records"):
            self._recorder.flush()


def say(text: str) -> None:
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
