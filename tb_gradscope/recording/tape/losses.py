"""Which loss is which: within a tape, from step to step, and between call sites."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Hashable
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place


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

    Within a `tf.function`, each way through it to the helper is a loss of its
    own. In eager code each function is that the helper is given as argument;
    and beyond that, called from one place first and from another ever after, it
    is one loss (a warm-up step, then the loop), called from both in turns it
    serves several.
    """

    def __init__(self) -> None:
        self._in_graphs: list[Hashable] = []
        self._roles: list[Hashable] = []
        self._eager: list[_Turns] = []

    def number(self, caller: place.Caller) -> Hashable:
        """Returns which of the losses a call is of; 0 while they are one."""
        frames = place.outer_frames(caller.frame)
        if not tf.executing_eagerly():
            inside = place.frames_in_function(frames)
            return _position(self._in_graphs, tuple(map(place.key_of, inside[1:])))
        role = _position(self._roles, _functions_given(caller.frame))
        if role == len(self._eager):
            self._eager.append(_Turns())
        turn = self._eager[role].number(path_of(caller))
        return (role, turn) if turn else role


class _Turns:
    """Tells whether places call in turns."""

    def __init__(self) -> None:
        self._paths: list[Hashable] = []
        self._last: Hashable = None
        self._is_split = False

    def number(self, path: Hashable) -> int:
        is_back = path in self._paths and path != self._last
        if is_back:
            self._is_split = True
        self._last = path
        position = _position(self._paths, path)
        return position if self._is_split else 0


def _position(known: list[Hashable], one: Hashable) -> int:
    """Returns the position of `one`, which is added if it is new."""
    if one not in known:
        known.append(one)
    return known.index(one)


def _functions_given(frame: FrameType) -> Hashable:
    """Returns what the functions do that are arguments of the function a frame runs."""
    parameters = place.parameters_of(frame)
    if not parameters:
        return ()
    return tuple(
        (name, value.__code__)
        for name, value in place.locals_of(frame)
        if name in parameters and hasattr(value, "__code__")
    )


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
