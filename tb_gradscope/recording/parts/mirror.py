"""What a tape records, kept so that further backward passes can be made through it.

The first gradient uses up a tape of TensorFlow, unless it is persistent, and a
persistent one costs memory and time in every step. So the tape stays as the user
made it. In a graph only the times are noted in which it recorded:
`tf.gradients` finds its way back from there. In eager code, in steps that are
recorded, a second tape records beside it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.distribution.reductions import has_reduced_here
from tb_gradscope.recording.parts.passes import (
    NoPassError,
    Passes,
    Target,
    Window,
    eager_passes,
    graph_passes,
)
from tb_gradscope.recording.tape import sources


class Mirror:
    """The mirror of one tape: told all that the tape is told."""

    def __init__(self, tape: Any, is_persistent: bool, watches_variables: bool) -> None:
        self._tape = weakref.ref(tape)
        self._is_persistent = is_persistent
        self._watches_variables = watches_variables
        self._has_begun = False
        self._watched: list[weakref.ref[Any]] = []
        # In a graph:
        self._graph: weakref.ref[Any] | None = None
        self._windows: list[Window] = []
        # In eager code:
        self._second: Any = None
        self._is_second_on = False

    @property
    def is_ready(self) -> bool:
        """Tells whether passes can be made in eager code."""
        return self._is_persistent or self._second is not None

    def begin(self, is_second_wanted: Callable[[], bool] = lambda: False) -> None:
        """The tape begins to record, or goes on.

        Args:
          is_second_wanted: tells whether a second tape is worth having.
        """
        is_first, self._has_begun = not self._has_begun, True
        if tf.executing_eagerly():
            if is_first and not self._is_persistent and is_second_wanted():
                self._second = self._new_second()
            self._second_on()
            return
        here = tf.compat.v1.get_default_graph()
        if is_first:
            self._graph = weakref.ref(here)
        graph = self._here()
        if graph is not None and graph is here:
            self._windows.append((graph.version, None))

    def pause(self) -> None:
        """The tape records no more, for now."""
        self._second_off()
        graph = self._here()
        if graph is not None and self._windows and self._windows[-1][1] is None:
            self._windows[-1] = (self._windows[-1][0], graph.version)

    def reset(self) -> None:
        """The tape has forgotten what it recorded, and goes on."""
        self._windows.clear()
        self._second_off()
        if self._second is not None:
            self._second = self._new_second()
        self.begin()

    def watch(self, tensor: Any) -> None:
        """The tape was told to watch a tensor."""
        if self._second is not None:
            self._second.watch(tensor)
        for part in tf.nest.flatten(tensor, expand_composites=True):
            self._watched.append(weakref.ref(part))

    def is_asked(self) -> None:
        """The tape is asked for gradients: unless it is persistent, it records no more."""
        if not self._is_persistent:
            self.pause()

    def drop(self) -> None:
        """Lets go of what only eager passes need."""
        self._second_off()
        self._second = None

    def passes(
        self, targets: Sequence[Target], found: Sequence[Any], none: Sequence[bool]
    ) -> Passes:
        """Returns further passes through what the tape recorded.

        Args:
          targets: of the passes.
          found: flat sources.
          none: which of them got no gradient from the tape itself.

        Raises:
          NoPassError: there is no way.
        """
        if tf.executing_eagerly():
            tape = self._tape() if self._is_persistent else self._second
            if tape is None:
                raise NoPassError("the tape is not persistent, and no second one was there")
            if has_reduced_here():
                raise NoPassError(
                    "its backward pass may reach through an all-reduce of the replicas"
                )
            return eager_passes(tape, targets, found)
        graph = self._here()
        if graph is None:
            raise NoPassError("the tape was not entered in a graph")
        gets_none = {id(source): is_none for source, is_none in zip(found, none, strict=True)}

        def is_known(source: Any, is_recorded: bool) -> bool:
            return is_recorded or not gets_none[id(source)] or self._is_watched(source)

        return graph_passes(graph, self._windows, targets, found, is_known)

    def _is_watched(self, source: Any) -> bool:
        handle = sources.handle_of(source)
        if handle is None:
            return any(reference() is source for reference in self._watched)
        tape = self._tape()
        variables = () if tape is None else tape.watched_variables()
        return any(sources.handle_of(variable) is handle for variable in variables)

    def _here(self) -> Any | None:
        return None if self._graph is None else self._graph()

    def _new_second(self) -> Any:
        return tf.GradientTape(persistent=True, watch_accessed_variables=self._watches_variables)

    def _second_on(self) -> None:
        if self._second is None:
            return
        self._second.__enter__()
        self._is_second_on = internals.hide_from_functions(self._second)
        if not self._is_second_on:
            self._second.__exit__(None, None, None)
            self._second = None

    def _second_off(self) -> None:
        if self._is_second_on:
            self._is_second_on = False
            internals.show_to_functions(self._second)
            self._second.__exit__(None, None, None)
