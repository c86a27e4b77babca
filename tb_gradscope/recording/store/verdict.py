"""What a sentinel made of gradients, for what else is recorded of them in the same step.

Clipping and optimizers come after the look. What they do to a step that the sentinel has
picked belongs to its record, and a second look would cost as much as the first.
"""

from __future__ import annotations

import dataclasses
import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.internals import graphs_of_this_call
from tb_gradscope.recording.measure.gradients import are_large
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.store.sentinel import NOT_ODD, Glance


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
    """What a sentinel made of one call. Holds on to no gradient and no variable.

    Attributes:
      recorder: whose sentinel it is; a graph outlives that.
      reason: why the call is odd, a `Reason`; `NOT_ODD` where it is not. An int64 scalar of
        a graph, in eager code a number.
      halves: half the squared norm of each gradient, float32 `[gradient]`; None in eager code.
      apart: `Glance.apart`, by the position of the gradient.
    """

    recorder: weakref.ref[Recorder]
    reason: Any
    halves: Any = None
    apart: dict[int, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, glance: Glance, recorder: Recorder, reason: Any) -> Verdict:
        """Returns what became of a glance."""
        apart = dict(zip(glance.watched.apart, glance.apart, strict=True))
        return cls(weakref.ref(recorder), reason, glance.halves, apart)


@dataclasses.dataclass(frozen=True, eq=False)
class _Look:
    """A verdict, as it is of one gradient.

    Attributes:
      verdict: on the call.
      half: returns half the squared norm of the gradient, a float32 scalar of the graph;
        None where it is not known.
      is_odd: of a gradient that must not wait for the verdict: a bool scalar, whether more
        than its norm is to be known; None of one that is small beside the others of its call.
      is_changed: by code of the program's own since, which may have made it odd.
    """

    verdict: Verdict
    half: Callable[[], Any] | None = None
    is_odd: Any = None
    is_changed: bool = False


_Looks = dict[int, tuple[weakref.ref[Any], _Look]]
_eager: _Looks = {}


def remember(gradients: Sequence[Any], verdict: Verdict | None) -> None:
    """Notes what a sentinel made of a call.

    Args:
      gradients: of the call; None is data.
      verdict: None for nothing to note.
    """
    for position, gradient in enumerate(gradients):
        if gradient is not None and verdict is not None:
            _note(gradient, _first_look(verdict, position))
        elif gradient is not None and _eager:
            _eager.pop(id(gradient), None)  # the same tensor may come again: a constant


def _first_look(verdict: Verdict, position: int) -> _Look:
    if verdict.halves is None:
        return _Look(verdict)
    if position not in verdict.apart:
        return _Look(verdict, lambda: verdict.halves[position])
    half, is_odd = verdict.apart[position]
    return _Look(verdict, lambda: half, is_odd)


def pass_on(
    before: Sequence[Any], after: Sequence[Any], scale: Any = None, *, is_own: bool = False
) -> None:
    """Notes the same of what came out of clipping.

    Args:
      before: gradients that went in; None is data.
      after: what came out, in the same order.
      scale: returns what all were multiplied with, a float32 scalar; None where that is not
        what was done to them.
      is_own: code of the program's own has clipped them.
    """
    for old, new in zip(before, after, strict=True):
        look = None if old is None or new is None or new is old else _look_at(old)
        if look is not None:
            look = _clipped(look, scale)
            _note(new, dataclasses.replace(look, is_changed=look.is_changed or is_own))


def _clipped(look: _Look, scale: Any) -> _Look:
    known = look.half
    if known is None or scale is None:
        return dataclasses.replace(look, half=None)

    def half() -> Any:
        return known() * scale() ** 2

    if look.is_odd is None:
        return dataclasses.replace(look, half=half)
    before, now = known(), half()
    # Of one whose square has underflowed the norm is not known. (Of one that was zero it is;
    # and so it seems where nobody looks.)
    is_lost = tf.logical_and(now == 0, before != 0)
    return dataclasses.replace(look, half=lambda: now, is_odd=tf.logical_or(look.is_odd, is_lost))


def _note(gradient: Any, look: _Look) -> None:
    key = id(gradient)
    if tf.executing_eagerly():
        _eager[key] = (weakref.ref(gradient, functools.partial(_forget, key)), look)
        return
    graph = tf.compat.v1.get_default_graph()
    # Kept by the graph that the verdict is of, hence no longer than it.
    looks = getattr(graph, "_gradscope_looks", None)
    if looks is None:
        looks = graph._gradscope_looks = {}
    looks[key] = (weakref.ref(gradient), look)


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    found = _eager.get(key)
    if found is not None and found[0] is reference:
        del _eager[key]


def _look_at(gradient: Any) -> _Look | None:
    for looks in _reachable():
        found = looks.get(id(gradient))
        if found is not None and found[0]() is gradient:
            return found[1]
    return None


def _reachable() -> Iterator[_Looks]:
    """Returns what is known here: in a branch or a loop also of the graphs around it."""
    if tf.executing_eagerly():
        yield _eager
        return
    for graph in graphs_of_this_call():
        yield getattr(graph, "_gradscope_looks", {})


class Verdicts:
    """What sentinels made of some gradients: perhaps of several calls.

    Attributes:
      reason: why the first odd one is odd; `NOT_ODD` where none is, or nothing is known.
      are_all_known: no gradient is without a verdict.
      were_looked_at: and none was changed since by code of the program's own. Of a graph.
      can_wait: all have one, and are small enough to wait for it: these together, and each
        beside the others of its own call.
    """

    def __init__(self, recorder: Recorder, gradients: Sequence[Any]) -> None:
        """Looks up what is known.

        Args:
          recorder: the verdicts of others do not count.
          gradients: None is data.
        """
        looks = [None if gradient is None else _look_at(gradient) for gradient in gradients]
        self._looks = [
            None if look is None or look.verdict.recorder() is not recorder else look
            for look in looks
        ]
        self.are_all_known = not any(
            look is None and gradient is not None
            for look, gradient in zip(self._looks, gradients, strict=True)
        )
        there = [look for look in self._looks if look is not None]
        self.were_looked_at = self.are_all_known and not any(look.is_changed for look in there)
        # In eager code there is a verdict only where a call is odd, and the program holds all.
        self.can_wait = bool(there) and (
            tf.executing_eagerly()
            or (
                self.are_all_known
                and all(look.is_odd is None for look in there)
                and not are_large(gradients)
            )
        )
        self.reason: Any = NOT_ODD
        for verdict in {id(look.verdict): look.verdict for look in self._looks if look}.values():
            self.reason = _first(self.reason, verdict.reason)

    def halves(self) -> Any | None:
        """Returns half the squared norm of each gradient, float32 `[gradient]`, 0 for None.

        None where one is not known; in a graph.
        """
        halves = [_nothing if look is None else look.half for look in self._looks]
        known = [half() for half in halves if half is not None]
        return tf.stack(known) if self.are_all_known and len(known) == len(halves) else None

    def apart(self, positions: Sequence[int]) -> list[tuple[Any, Any]] | None:
        """Returns `Glance.apart` of gradients; None where it is not known of one."""
        looks = [self._looks[position] for position in positions]
        found = [
            (look.half(), tf.constant(False) if look.is_odd is None else look.is_odd)
            for look in looks
            if look is not None and look.half is not None
        ]
        return found if len(found) == len(looks) else None


def _nothing() -> Any:
    return tf.constant(0.0)


def _first(reason: Any, other: Any) -> Any:
    if not tf.is_tensor(reason) and not tf.is_tensor(other):
        return reason if reason != NOT_ODD else other
    if not tf.is_tensor(reason):
        return other if reason == NOT_ODD else reason
    return tf.where(reason != NOT_ODD, reason, other)
