"""Where in the user's program a call stands, and how the source spells it."""

from __future__ import annotations

import ast
import contextlib
import contextvars
import dataclasses
import functools
import inspect
import os
import sys
from collections.abc import Hashable, Iterator
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.format import messages
from tb_gradscope.recording import PACKAGE_FOLDER, internals, source

_GENERATED = "__autograph_generated_file"
# Of Python's own, what stands between a call and its caller.
_PYTHON = tuple(
    os.path.join(os.path.dirname(os.__file__), file) for file in ("contextlib.py", "threading.py")
)
_LIBRARIES = (os.path.dirname(os.path.abspath(tf.__file__)) + os.sep, PACKAGE_FOLDER)
# By the frame, a local variable, and the argument of getrefcount.
_REFERENCES_OF_A_COPY = 3

_where_called: contextvars.ContextVar[Any] = contextvars.ContextVar("gradscope_call", default=None)


@dataclasses.dataclass(frozen=True)
class Caller:
    """The frame that called into tb_gradscope.

    Attributes:
      frame: the frame itself; in a `tf.function` that of the converted code,
        whose local variables are the user's; Keras' own in its `train_step`.
      file, line, function, code: the place in the user's own source: for Keras'
        own frame the call of `fit`.
    """

    frame: FrameType
    file: str
    line: int
    function: str
    code: str

    def message(self) -> messages.Place:
        """Returns the place as it is stored."""
        return messages.Place(
            file=self.file, line=self.line, function=self.function, code=self.code
        )

    def locals(self) -> list[tuple[str, Any]]:
        """Returns the local variables that the user's source names, in order."""
        pairs = locals_of(self.frame)
        if _GENERATED not in self.frame.f_code.co_filename:
            return pairs
        # Converted code has variables of its own.
        named = _source(self.file).names
        return [pair for pair in pairs if pair[0] in named]

    @property
    def key(self) -> Hashable:
        """What stays the same when the code is traced or its notebook cell run again."""
        # Keras' step is one step, wherever `fit` is called.
        if _is_cell(self.file) or is_keras(self.frame):
            return key_of(self.frame)
        # Of converted code not all is known that is in a qualified name.
        return self.file, self.function.rpartition(".")[2], self.line


def key_of(frame: FrameType) -> Hashable:
    """Returns the key of a frame's line; in converted code of the converted line."""
    file = frame.f_code.co_filename
    # Code compares by what it does: a cell that is run again is the same code, and so is
    # what is converted once more.
    is_remade = _is_cell(file) or _GENERATED in file
    return (frame.f_code if is_remade else file), frame.f_code.co_name, frame.f_lineno


def find_caller() -> Caller:
    """Returns the innermost frame that is neither TensorFlow's nor ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = _back(frame)
    if frame is None:
        # Such as a thread whose target is the tape's method. No names are to be had: those
        # of our own frames are not the program's.
        return Caller(eval("frame()", {"frame": sys._getframe}, {}), "<unknown>", 0, "", "")
    shown: FrameType | None = frame
    while shown is not None and (is_keras(shown) or _is_converted_library(shown)):
        shown = outer_frame(shown)
    if shown is None:  # a thread that Keras or TensorFlow started
        known = _where_called.get()
        if known is not None:
            return Caller(frame, known.file, known.line, known.function, known.code)
        shown = frame
    code = shown.f_code
    file, line = code.co_filename, shown.f_lineno
    function = getattr(code, "co_qualname", code.co_name)
    if _GENERATED in file:
        mapped = (entry for entry in internals.mapped_stack()[::-1] if not _is_library(entry[0]))
        origin = internals.source_of_converted(file, line) or next(mapped, None)
        file, line, function = origin or (file, line, function)
        function = function.removeprefix("tf__")
    text = source.line(file, line, shown.f_globals)
    return Caller(frame, file, line, function, text)


@contextlib.contextmanager
def called_from(place: Any) -> Iterator[None]:
    """Tells where the program called Keras, for threads whose stack does not say.

    Args:
      place: the `Place` message.
    """
    token = _where_called.set(place)
    try:
        yield
    finally:
        _where_called.reset(token)


def parameters_of(frame: FrameType) -> tuple[str, ...]:
    """Returns the names of the parameters of the function that a frame runs."""
    code = frame.f_code
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def outer_frame(frame: FrameType) -> FrameType | None:
    """Returns the next frame outwards that is neither TensorFlow's nor ours."""
    outer = _back(frame)
    while outer is not None and _is_library(outer.f_code.co_filename):
        outer = _back(outer)
    return outer


def _back(frame: FrameType) -> FrameType | None:
    """Returns the next frame outwards; from that of a replica's thread into the one that waits."""
    return frame.f_back or internals.frame_behind_replicas(frame)


def outer_frames(frame: FrameType) -> list[FrameType]:
    """Returns `frame` and those that called it, without TensorFlow's and ours."""
    frames = []
    current: FrameType | None = frame
    while current is not None:
        frames.append(current)
        current = outer_frame(current)
    return frames


def frames_in_function(frames: list[FrameType]) -> list[FrameType]:
    """Returns those of `frames`, innermost first, that run while a `tf.function` is traced.

    Who calls the function for the first time, or with new shapes, is not among them.
    """
    inside = 0
    for position, frame in enumerate(frames):
        outer, stop = frame.f_back, frames[position + 1 : position + 2]
        while outer is not None and outer not in stop:
            if outer.f_code.co_name == internals.TRACER:
                inside = position + 1
            outer = outer.f_back
    return frames[:inside] if inside else frames


def locals_of(frame: FrameType) -> list[tuple[str, Any]]:
    """Returns the local variables of a frame, in order, and leaves no trace of having looked.

    Up to Python 3.12, `f_locals` of a function is a copy that stays with the
    frame: it would keep the tensors of this step alive through the next.
    """
    found = frame.f_locals
    pairs = list(found.items())
    is_copy = frame.f_code.co_flags & inspect.CO_OPTIMIZED and isinstance(found, dict)
    # Not if the program itself holds the copy, from a call of locals().
    if is_copy and sys.getrefcount(found) <= _REFERENCES_OF_A_COPY:
        found.clear()
    return pairs


def argument_of(caller: Caller, methods: frozenset[str], position: int) -> ast.expr | None:
    """Returns an argument of the call that stands at the caller's line.

    Args:
      caller: where the call is.
      methods: what the called function may be named there.
      position: of the argument; also tried as a keyword is not.

    Returns:
      None when there is no source, or several such calls share the line.
    """
    found = [
        call
        for call in _source(caller.file).calls
        if call.lineno <= caller.line <= (call.end_lineno or call.lineno)
        and _called(call) in methods
        and len(call.args) > position
    ]
    if len(found) > 1:
        found = [call for call in found if call.lineno == caller.line]
    return found[0].args[position] if len(found) == 1 else None


@dataclasses.dataclass(frozen=True)
class _Source:
    """What is to be known of a source file: its calls, and the names in it."""

    calls: tuple[ast.Call, ...] = ()
    names: frozenset[str] = frozenset()


def _source(file: str) -> _Source:
    return _parsed("".join(source.lines(file)))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> _Source:
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError):
        return _Source()
    return _Source(
        tuple(node for node in nodes if isinstance(node, ast.Call)),
        frozenset(node.id for node in nodes if isinstance(node, ast.Name)),
    )


def _called(call: ast.Call) -> str:
    function = call.func
    return str(getattr(function, "attr", None) or getattr(function, "id", ""))


def is_keras(frame: FrameType) -> bool:
    """Tells whether a frame runs Keras' own code."""
    return str(frame.f_globals.get("__name__")).startswith("keras.")


def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES) or file.startswith("<frozen ") or file in _PYTHON


def _is_converted_library(frame: FrameType) -> bool:
    """Tells whether a frame runs code of TensorFlow's that autograph has converted.

    That of TensorFlow 2.16 converts how replicas are run.
    """
    file = frame.f_code.co_filename
    origin = internals.source_of_converted(file, frame.f_lineno) if _GENERATED in file else None
    return origin is not None and _is_library(origin[0])


def _is_cell(file: str) -> bool:
    return file.startswith("<") or "ipykernel_" in file
