"""Which loss is which: within a tape, from step to step, and between call sites."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.recording import place


@dataclasses.dataclass(frozen=True)
class Key:
    """What makes a loss the same one in the next step, with new tensors on a new tape.

    Attributes:
      candidate: what it would be called were it alone.
      site: where it was first asked for; None where the user gave the name,
        which then is all its identity.
      number: distinguishes targets of one tape with the same name and site:
        `for y in outputs: tape.gradient(y, ...)` calls every one `y`.
    """

    candidate: str
    site: Hashable
    number: int


class TapeLosses:
    """The losses that one tape was asked about, so that asking again is no new loss."""

    def __init__(self) -> None:
        self._seen: list[tuple[list[weakref.ref[Any] | None], Key]] = []

    def find(self, target: Any, loss_name: str | None) -> Key | None:
        """Returns the key of a target that this tape was asked about before."""
        flat = tf.nest.flatten(target)
        for references, key in self._seen:
            if len(references) != len(flat) or (key.site is None) != (loss_name is not None):
                continue
            if loss_name is not None and key.candidate != loss_name:
                continue
            if all(r is not None and r() is t for r, t in zip(references, flat, strict=True)):
                return key
        return None

    def add(self, target: Any, candidate: str, site: Hashable) -> Key:
        """Returns the key of a target that is new to this tape."""
        number = 0
        if site is not None:
            number = sum((key.candidate, key.site) == (candidate, site) for _, key in self._seen)
        key = Key(candidate, site, number)
        self._seen.append(([_reference(part) for part in tf.nest.flatten(target)], key))
        return key


class SharedNames:
    """Names losses, or clip sites, by what they are of.

    One helper function may serve several models: what has no variable in common
    is not the same loss, whatever its key. Sets that overlap are one loss whose
    variables come and go (freezing).
    """

    def __init__(self, claim: Callable[[str, object], str]) -> None:
        self._claim = claim
        self._groups: dict[Key, list[tuple[set[str], str]]] = {}

    def name(self, key: Key, variables: list[str], is_same: bool) -> str:
        """Returns a name.

        Args:
          key: of the loss or clip site.
          variables: names of those it is of.
          is_same: known to be what had this key last, whatever its variables.
        """
        groups = self._groups.setdefault(key, [])
        for known, name in reversed(groups):
            if is_same or key.site is None or known & set(variables):
                known.update(variables)
                return name
        origin = None if key.site is None else (key, len(groups))
        name = self._claim(key.candidate, origin)
        groups.append((set(variables), name))
        return name


class CallPaths:
    """Tells apart the losses of a helper that makes both tape and loss, by who calls it.

    Called from one place first and from another ever after, it is one loss (a
    warm-up step, then the loop). Called from both in turns, or from both while
    one graph is made, it serves several.
    """

    def __init__(self) -> None:
        self._paths: list[Hashable] = []
        self._last: Hashable = None
        self._last_graph: weakref.ref[Any] | None = None
        self._is_split = False

    def number(self, path: Hashable, graph: Any) -> int:
        """Returns which of the losses a call is of; 0 while they are one.

        Args:
          path: the calls that lead to this one.
          graph: that is under construction, None in eager code.
        """
        is_new = path not in self._paths
        if is_new:
            self._paths.append(path)
        last_graph = None if self._last_graph is None else self._last_graph()
        in_one_graph = graph is not None and graph is last_graph
        if self._last is not None and path != self._last and (in_one_graph or not is_new):
            self._is_split = True
        self._last = path
        self._last_graph = None if graph is None else weakref.ref(graph)
        return self._paths.index(path) if self._is_split else 0


def path_of(caller: place.Caller) -> Hashable:
    """Returns the calls, in all functions on the way, that lead to the asking one."""
    frames = place.outer_frames(caller.frame)[1:]
    return tuple((place.key_of(frame), frame.f_lasti) for frame in frames)


def site_of(target: Any, caller: place.Caller) -> Hashable:
    """Returns where a loss is asked for, in a way that the next step repeats.

    Where the target is a parameter of the asking function (a helper), the
    callers' lines belong to it, up to the function that made the loss.
    """
    site: list[Hashable] = [caller.key]
    frame: FrameType | None = caller.frame
    while frame is not None and _is_parameter(target, frame):
        frame = place.outer_frame(frame)
        if frame is not None:
            site.append(place.key_of(frame))
    return tuple(site)


def _is_parameter(target: Any, frame: FrameType) -> bool:
    parameters = place.parameters_of(frame)
    return bool(parameters) and any(
        value is target and name in parameters for name, value in place.locals_of(frame)
    )


def _reference(part: Any) -> weakref.ref[Any] | None:
    try:
        return weakref.ref(part)
    except TypeError:
        return None
