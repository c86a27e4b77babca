"""`load`: a log directory as arrays, in any Python, with or without TensorFlow."""

from __future__ import annotations

import dataclasses
import os

from tb_gradscope.format.errors import GradscopeError
from tb_gradscope.view.eventfiles import EventFiles, event_files
from tb_gradscope.view.frame import History as History
from tb_gradscope.view.history import Histories


def load(logdir: str | os.PathLike[str]) -> History:
    """Reads all that was recorded below a directory.

    The same as the page shows, and every record of it.

    Args:
      logdir: what `tensorboard --logdir` takes: a run, or a directory of runs.

    Returns:
      The runs, by name. What could not be read is in their `problems`; that
      there is nothing of ours at all is in the history's own.

    Raises:
      GradscopeError: the directory does not exist or cannot be read.
      TypeError: `logdir` is no path.
    """
    if not isinstance(logdir, str | os.PathLike):
        raise TypeError(f"gs.load({logdir!r}): expected the path of a log directory.")
    directory = os.path.expanduser(os.fspath(logdir))
    if "://" in directory:
        raise GradscopeError(
            f"{directory} is not on this machine; copy it here, or look at it in TensorBoard."
        )
    if not os.path.isdir(directory):
        what = "is a file" if os.path.exists(directory) else "does not exist"
        raise GradscopeError(f"{directory or repr('')} {what}; expected a log directory.")
    try:
        files = EventFiles(directory)
    except OSError as error:
        raise GradscopeError(f"{directory} cannot be read: {error.strerror}.") from error
    histories = Histories(files)
    source = histories.source()
    runs = {}
    for name, tags in source.listing().items():
        run = histories.run(source, name, tags)
        own = (*run.problems, *files.problems.pop(name, ()))
        runs[name] = dataclasses.replace(run, problems=own)
    problems = [f"Run {run!r}: {text}" for run, texts in files.problems.items() for text in texts]
    if not runs:
        problems.append(_nothing(directory, files.files))
    return History(runs, tuple(problems))


def is_empty(logdir: str) -> bool:
    """Tells whether a directory that `load` takes holds no event files at all."""
    return next(event_files(os.path.expanduser(logdir)), None) is None


def _nothing(directory: str, files: int) -> str:
    if not files:
        return (
            f"{directory} holds no event files; expected the directory given to gs.record, or one "
            "above it."
        )
    return (
        f"{directory} holds {files} event file{'s' * (files != 1)}, but no gradients: nothing was "
        "recorded with tb_gradscope there."
    )
