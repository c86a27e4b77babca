"""Which line of a stack is the user's own."""

from __future__ import annotations

import dataclasses
import functools
import os
import sysconfig
from collections.abc import Iterable
from types import FrameType
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import PACKAGE_FOLDER, internals, source

_GENERATED = "__autograph_generated_file"
_SITE = os.path.dirname(os.path.dirname(os.path.abspath(tf.__file__))) + os.sep
_STANDARD = tuple(
    path + os.sep for name in ("stdlib", "platstdlib") if (path := sysconfig.get_paths().get(name))
)
_LIBRARIES = (
    PACKAGE_FOLDER,
    os.path.dirname(os.path.abspath(tf.__file__)) + os.sep,
    os.path.dirname(os.path.abspath(np.__file__)) + os.sep,
    *(_SITE + name + os.sep for name in ("keras", "tf_keras", "wrapt", "absl", "optree")),
)
_USER, _INSTALLED, _LIBRARY = 0, 1, 2
_DEEPEST = 16


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the user's program.

    Attributes:
      file, line, function: as Python knows them.
      code: the source line where it is known already.
    """

    file: str
    line: int
    function: str
    code: str = ""

    @property
    def text(self) -> str:
        """The source line, "" where it is not to be had."""
        return self.code or source.line(self.file, self.line)

    def message(self) -> messages.Place:
        """Returns the line as it is stored."""
        return messages.Place(
            file=self.file, line=self.line, function=self.function, code=self.text
        )


@functools.lru_cache(maxsize=4096)
def _rank(file: str) -> int:
    if file.startswith(_LIBRARIES) or file.startswith(("<frozen ", "<__array_function__")):
        return _LIBRARY
    if _GENERATED in file:
        return _LIBRARY
    if file.startswith(_SITE) or "site-packages" in file:
        return _INSTALLED
    if file.startswith(_STANDARD):
        return _LIBRARY
    return _USER


def of_frame(frame: FrameType | None) -> Line | None:
    """Returns the innermost line of the user's at or outwards of a frame.

    Where there is none, that of another installed package.
    """
    other = None
    while frame is not None:
        line = _of(frame)
        if line is not None:
            if _rank(line.file) == _USER:
                return line
            other = other or line
        frame = frame.f_back
    return other


def stack_of(frame: FrameType | None) -> tuple[Line, ...]:
    """Returns the user's lines at and outwards of a frame, the innermost first."""
    found = list[Line]()
    while frame is not None and len(found) < _DEEPEST:
        line = _of(frame)
        if line is not None and _rank(line.file) == _USER:
            found.append(line)
        frame = frame.f_back
    return tuple(found)


def of_operation(op: Any) -> Line | None:
    """Returns the user's line that made an operation of a graph."""
    try:
        frames = [(entry.filename, entry.lineno, entry.name) for entry in op.traceback]
    except Exception:  # made by no Python, such as that of a loaded model
        return None
    return of_stack(frames)


def of_loss(target: Any) -> messages.Place | None:
    """Returns the user's last line that computes a loss of a graph.

    None in eager code, and where parts of it come from several lines.
    """
    tensors = [part for part in tf.nest.flatten(target) if tf.is_symbolic_tensor(part)]
    found = {of_operation(tensor.op) for tensor in tensors}
    line = found.pop() if len(found) == 1 else None
    return None if line is None else line.message()


def of_stack(frames: Iterable[tuple[str, int, str]]) -> Line | None:
    """As `of_frame`, of (file, line, function), outermost first."""
    other = None
    for file, line, function in reversed(list(frames)):
        if _GENERATED in file:
            known = internals.source_of_converted(file, line)
            file, line, function = known or (file, line, function)
        rank = _rank(file)
        if rank == _USER:
            return Line(file, line, function.removeprefix("tf__"))
        if rank == _INSTALLED and other is None:
            other = Line(file, line, function)
    return other


def _of(frame: FrameType) -> Line | None:
    """Returns where a frame is, None within a library; of converted code its source."""
    code = frame.f_code
    file = code.co_filename
    if _GENERATED in file:  # in eager code too: what `tf.map_fn` calls is converted
        known = _source_of(file, frame.f_lineno)
        return None if known is None or _rank(known.file) == _LIBRARY else known
    if _rank(file) == _LIBRARY:
        return None
    return Line(file, frame.f_lineno, getattr(code, "co_qualname", code.co_name))


@functools.lru_cache(maxsize=4096)
def _source_of(file: str, line: int) -> Line | None:
    known = internals.source_of_converted(file, line)
    return None if known is None else Line(known[0], known[1], known[2].removeprefix("tf__"))
