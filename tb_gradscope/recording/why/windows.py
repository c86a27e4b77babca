"""When one tape recorded and when not, and what it was told to watch."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import weakref
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals as recording_internals
from tb_gradscope.recording.failure import contained
from tb_gradscope.recording.tape import sources
from tb_gradscope.recording.why import graphs, internals, lines
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.nodes import Node
from tb_gradscope.recording.why.observer import Observer

OPEN, CLOSE, STOP, RESET = "open", "close", "stop", "reset"
BEFORE, AFTER, STOPPED = "before", "after", "stopped"

EAGER = 0
"""Stands for the graph where there is none."""


@dataclasses.dataclass(frozen=True)
class _Event:
    kind: str
    at: dict[int, int]
    line: Line | None


class TapeLog:
    """What one tape was told.

    Attributes:
      watches_variables: the tape's `watch_accessed_variables`.
      observer: what has seen the eager operations of this tape, None for nobody.
    """

    def __init__(self, tape: Any, watches_variables: bool) -> None:
        self._tape = weakref.ref(tape)
        self.watches_variables = watches_variables
        self.observer: Observer | None = None
        self._events: list[_Event] = []
        self._watched: list[tuple[weakref.ref[Any], dict[int, int]]] = []

    def watched_variables(self) -> Sequence[Any]:
        """Returns the variables that the tape watched."""
        tape = self._tape()
        return () if tape is None else tuple(tape.watched_variables())

    @property
    def is_open(self) -> bool:
        """Whether the tape goes on recording."""
        tape = self._tape()
        return tape is not None and internals.is_recording(tape)

    def note(self, kind: str) -> None:
        """Notes that the tape begins or ends recording here."""
        if tf.executing_eagerly() and self.observer is None:
            return
        with contained("noting when a tape recorded"):
            line = _here() if kind in (STOP, RESET) else None
            self._events.append(_Event(kind, self._now(), line))

    def _now(self) -> dict[int, int]:
        """Returns how many operations there are, in each graph under construction."""
        if tf.executing_eagerly():
            return {} if self.observer is None else {EAGER: self.observer.count}
        chain = graphs.chain(tf.compat.v1.get_default_graph())
        return {id(graph): graph.version for graph in chain}

    def watch(self, source: Any) -> None:
        """Notes what the tape is told to watch."""
        for part in tf.nest.flatten(source):
            with contextlib.suppress(TypeError):  # cannot be referred to weakly
                self._watched.append((weakref.ref(part), self._now()))

    def is_watched(self, source: Any) -> bool:
        """Tells whether the tape was told to watch a source."""
        return self._watched_at(source) is not None

    def watched_late(self, source: Any, node: Node) -> bool:
        """Tells whether an operation ran before the tape was told to watch a source."""
        at = self._watched_at(source)
        return at is not None and node.index < at.get(_world(node), 0)

    def _watched_at(self, source: Any) -> dict[int, int] | None:
        handle = sources.handle_of(source)
        for reference, at in self._watched:
            watched = reference()
            if watched is not None and (
                watched is source or (handle is not None and _handle(watched) is handle)
            ):
                return at
        return None

    def window(self, node: Node) -> str | None:
        """Returns why the tape has no record of an operation, None if it has."""
        world = _world(node)
        state: str | None = BEFORE
        is_known = False
        for event in self._events:
            at = event.at.get(world)
            if at is None:
                continue
            is_known = True
            if at <= node.index:
                state = {OPEN: None, CLOSE: AFTER, STOP: STOPPED, RESET: None}[event.kind]
            elif event.kind == RESET and state is None:
                return RESET
        return state if is_known else None

    def line_of(self, kind: str, node: Node) -> Line | None:
        """Returns where the tape was stopped around an operation, or reset after it."""
        world = _world(node)
        found = None
        for event in self._events:
            at = event.at.get(world, -1)
            if event.kind == STOP and kind == STOPPED and at <= node.index:
                found = event.line
            if event.kind == RESET and kind == RESET and at > node.index:
                return event.line
        return found


def _world(node: Node) -> int:
    return EAGER if node.graph is None else id(node.graph())


def _handle(watched: Any) -> Any | None:
    handle = getattr(watched, "handle", None)
    return sources.handle_of(watched) if handle is None else handle


def _here() -> Line | None:
    if tf.executing_eagerly():
        return lines.of_frame(sys._getframe(1))
    # Only the mapped stack knows the user's lines of converted code.
    stack = recording_internals.mapped_stack()
    return lines.of_stack(stack) if stack else lines.of_frame(sys._getframe(1))


def is_symbolic(tensor: Any) -> bool:
    """Tells tensors of a graph under construction from those with a value."""
    return isinstance(tensor, tf.Tensor) and not internals.is_eager(tensor)
