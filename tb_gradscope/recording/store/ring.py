"""Where a compiled step leaves its records: a ring of variables the host reads.

Summaries cannot be written inside a function compiled by XLA, and a summary op
in a graph costs even when it writes nothing. Variables can be assigned
everywhere: eager, graph, XLA, and loops that live wholly inside one function.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_gradscope.recording import internals
from tb_gradscope.recording.distribution.replica import device_here, is_on_one_device
from tb_gradscope.recording.measure.gradients import HELD_BYTES
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.counter import Counter
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.sentinel import NOT_ODD, Glance, Sentinel

_RING_FLOATS = 1 << 20
_FEWEST, _MOST = 16, 1024
_LABEL = 3  # step, call, reason; then the tallies

NO_STEP = -(1 << 62)
"""In place of a step where the program keeps none."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """One call as the ring holds it.

    Attributes:
      step: the program's step, or `NO_STEP`.
      call: number of the call, the first is 0.
      reason: a `Reason`.
      tallies: int64 `[tally]`, cumulative counts over all calls.
      payload: float32 `[n]`.
    """

    step: int
    call: int
    reason: int
    tallies: npt.NDArray[np.int64]
    payload: npt.NDArray[np.float32]

    @property
    def shown_step(self) -> int:
        """The program's step, or the number of the call where it has none."""
        return self.call if self.step == NO_STEP else self.step


@dataclasses.dataclass(frozen=True)
class Position:
    """How far the calls of a ring were counted: its tallies too."""

    calls: int
    tallies: npt.NDArray[np.int64]


class Reader(Protocol):
    """Whoever empties a ring: a recorder."""

    @property
    def is_recording(self) -> bool:
        """Tells whether it goes on emptying it."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """What the cadence makes of a call, in a graph.

    Attributes:
      ring: whose cadence it is.
      number: of the call, as the cadence counts.
      is_due: bool scalar.
    """

    ring: Ring
    number: Any
    is_due: Any

    def thin_out(self) -> Any:
        """Moves the cadence on; in a branch that is run if the call is due."""
        return self.ring.thin_out(self.number)


class Ring:
    """A fixed-size buffer in variables, filled in a graph and read by the host.

    Attributes:
      description: what the payload is, for a reader that takes the ring over.
      sentinel: that looks at every call, None for none.
    """

    def __init__(
        self,
        width: int,
        tallies: int,
        description: Any,
        counter: Counter,
        sentinel: Sentinel | None = None,
    ) -> None:
        self.description = description
        self.sentinel = sentinel
        self._counter = counter
        self._calls_to_one = 1
        self._reader: weakref.ref[Reader] | None = None
        self._capacity = int(np.clip(_RING_FLOATS // max(width, 1), _FEWEST, _MOST))
        self._seen = 0
        device = device_here()
        HOST.call(lambda: self._create(width, tallies, device))
        _live.add(self)

    def _create(self, width: int, tallies: int, device: str | None) -> None:
        def variable(shape: list[int], dtype: Any, name: str) -> Any:
            with tf.device(device):
                value = tf.zeros(shape, dtype)
                return tf.Variable(value, trainable=False, name=f"gradscope_{name}")

        self._payload = variable([self._capacity, width], tf.float32, "payload")
        self._labels = variable([self._capacity, _LABEL + tallies], tf.int64, "labels")
        self._tallies = variable([tallies], tf.int64, "tallies")
        self._written = variable([], tf.int64, "written")
        self._stride = variable([], tf.int64, "stride")
        self._rest = variable([], tf.int64, "rest")
        self._until = variable([], tf.int64, "until")
        self._is_watched = variable([], tf.bool, "is_watched")
        self._set_cadence(0, cadence.OFF)

    def turn(self, call: Any, calls_to_one: int = 1) -> Turn:
        """Returns whether a call is due, in the graph under construction.

        Args:
          call: its number.
          calls_to_one: the cadence is of so many calls.
        """
        self._calls_to_one = calls_to_one
        number = call if calls_to_one == 1 else call // calls_to_one
        rest = tf.math.floormod(number, self._stride.read_value())
        return Turn(self, number, tf.equal(rest, self._rest.read_value()))

    def thin_out(self, number: Any) -> Any:
        """Lets calls be due half as often from here on, where it is time to, in a graph.

        Only a call that is due comes here; that is when a cadence changes, so that the
        others need not find out.
        """
        until = self._until.read_value()
        doubles = tf.cast(number >= until, tf.int64)
        stride = tf.bitwise.left_shift(self._stride.read_value(), doubles)
        assigned = [
            self._stride.assign(stride),
            self._until.assign(tf.bitwise.left_shift(until, doubles)),
        ]
        return tf.group(assigned)

    def glance(self, condition: Any, watched: Watched, call: Any) -> Glance:
        """Lets the sentinel look where a bool scalar says so, in a graph."""
        if self.sentinel is None:
            raise ValueError("a ring without a sentinel cannot look")
        is_watched = self._is_watched.read_value()
        if condition is not True:
            is_watched = tf.logical_and(is_watched, condition)
        return self.sentinel.glance_if(is_watched, watched, call)

    def count(self, tally: Any) -> Any:
        """Returns the tallies, with those of this call (or None) added up, in a graph."""
        if tally is None:
            return self._tallies.read_value()
        return self._tallies.assign_add(tally, read_value=True)

    def put(self, payload: Any, label: Any) -> Any:
        """Fills the next slot, in a graph, and returns how many were filled."""
        slot = tf.math.floormod(self._written.read_value(), self._capacity)[None]
        writes = [
            self._payload.scatter_update(tf.IndexedSlices(payload[None], slot)),
            self._labels.scatter_update(tf.IndexedSlices(label[None], slot)),
        ]
        with tf.control_dependencies(writes):
            return self._written.assign_add(1, read_value=True)

    def hand_to(
        self, reader: Reader, every: int, since: Position | None, is_watched: bool = False
    ) -> None:
        """Lets `reader` have what is recorded from now on. On the host thread only.

        Args:
          reader: held weakly.
          every: which calls are recorded, as in `cadence`.
          since: where the reader let go before; None to count calls from 0.
          is_watched: whether the sentinel, if there is one, is to look.
        """
        self._reader = weakref.ref(reader)
        self._seen = int(self._written.numpy())
        self._counter.set(0 if since is None else since.calls)
        self._tallies.assign(tf.zeros_like(self._tallies) if since is None else since.tallies)
        if self.sentinel is not None and since is None:
            self.sentinel.forget()
        calls = 0 if since is None else since.calls
        self._set_cadence(calls // self._calls_to_one, every)
        self._is_watched.assign(is_watched)

    def is_read_by(self, reader: Reader) -> bool:
        """Tells whether `reader` has what is recorded."""
        return self._reader is not None and self._reader() is reader

    @property
    def is_unread(self) -> bool:
        """Tells whether what is recorded goes to nobody."""
        reader = None if self._reader is None else self._reader()
        return reader is None or not reader.is_recording

    def stop(self) -> None:
        """Lets nothing more be recorded. On the host thread only."""
        self._set_cadence(0, cadence.OFF)
        self._is_watched.assign(False)

    def _set_cadence(self, number: int, every: int) -> None:
        stride = cadence.Stride.at(number, every)
        self._stride.assign(stride.calls)
        self._rest.assign(stride.rest)
        self._until.assign(stride.until)

    def position(self) -> Position:
        """Returns how far calls were counted. On the host thread only."""
        return Position(self._counter.now(), self._tallies.numpy())

    def read(self) -> tuple[list[Slot], int]:
        """Takes what was recorded since the last time. On the host thread only.

        Returns:
          The slots in order, and how many were overwritten before they could be read.
        """
        end = int(self._written.numpy())
        if end == self._seen:
            return [], 0
        # One slot is left out: the graph may be writing it right now.
        start = max(self._seen, end - (self._capacity - 1))
        index = np.arange(start, end) % self._capacity
        payload = self._payload.sparse_read(tf.constant(index))
        labels = self._labels.sparse_read(tf.constant(index))
        # What was recorded meanwhile may have overwritten the oldest just read.
        torn = max(0, int(self._written.numpy()) + 1 - self._capacity - start)
        lost = start - self._seen + min(torn, end - start)
        self._seen = end
        return slots_of(payload[torn:], labels[torn:]), lost


def slots_of(payload: Any, labels: Any) -> list[Slot]:
    """Returns the slots that were read: tensors `[slot, width]` and `[slot, label]`."""
    return [
        Slot(int(label[0]), int(label[1]), int(label[2]), label[_LABEL:], row)
        for label, row in zip(labels.numpy(), payload.numpy(), strict=True)
    ]


def record(
    rings: Sequence[Ring],
    payloads: Callable[[], Sequence[Any]],
    due: Any,
    label: Sequence[Any],
    tally: Any = None,
    turn: Turn | None = None,
) -> None:
    """Adds to the graph under construction: record the call if it is due.

    Args:
      rings: of the series that are recorded together.
      payloads: builds the float32 vector of each; run only in recorded calls.
      due: bool scalar tensor.
      label: step, number of the call and reason: int64 scalar tensors.
      tally: int64 vector to add to the tallies of the first in every call, or None.
      turn: what made the call due, to move on; None for what does so elsewhere.
    """
    counted = None if tally is None else rings[0].count(tally)

    def put() -> Any:
        tallies = [
            counted if counted is not None and each is rings[0] else each.count(None)
            for each in rings
        ]
        return _put(rings, payloads(), label, tallies, turn)

    _branch(due, put, 0)


def record_watched(
    rings: Sequence[Ring],
    payloads: Callable[[], Sequence[Any]],
    due: Any,
    label: Sequence[Any],
    glance: Glance,
    turn: Turn | None = None,
) -> Any:
    """The same where a sentinel has glanced at the call: also if it judges it odd.

    Args:
      rings: as for `record`.
      payloads: as for `record`.
      due: as for `record`.
      label: as for `record`.
      glance: at the first.
      turn: as for `record`.

    Returns:
      The reason why it is odd, int64 scalar; `NOT_ODD` where it is not.
    """

    def judge() -> Any:
        seen = glance.judge()
        tallies = [each.count(seen.nonfinite if each is rings[0] else None) for each in rings]
        is_odd = seen.reason != NOT_ODD
        step, call, reason = label
        why = tf.where(is_odd, seen.reason, reason)

        def put() -> Any:
            first, *others = payloads()
            first = tf.concat([first, seen.spikes], 0)
            return _put(rings, [first, *others], [step, call, why], tallies, turn)

        tf.cond(tf.logical_or(due, is_odd), put, lambda: tf.constant(0, tf.int64))
        return seen.reason

    return _branch(tf.logical_or(due, glance.is_odd), judge, NOT_ODD)


def _branch(condition: Any, function: Callable[[], Any], otherwise: int) -> Any:
    # In one function that is not inlined: where nothing is recorded, TensorFlow then
    # passes over one operation rather than over each of the branch.
    branch = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})
    result = tf.cond(condition, branch, lambda: tf.constant(otherwise, tf.int64))
    # One operation takes its inputs on its own device only.
    if is_on_one_device():
        internals.keep_as_one_operation(result, HELD_BYTES)
    return result


def _put(
    rings: Sequence[Ring],
    payloads: Sequence[Any],
    label: Sequence[Any],
    tallies: Sequence[Any],
    turn: Turn | None,
) -> Any:
    filled = [
        each.put(payload, tf.concat([label, tally], 0))
        for each, payload, tally in zip(rings, payloads, tallies, strict=True)
    ]
    with tf.control_dependencies([] if turn is None else [turn.thin_out()]):
        return tf.add_n(filled)


_live: weakref.WeakSet[Ring] = weakref.WeakSet()


def unread() -> list[Ring]:
    """Returns the rings that graphs still fill and nobody reads any more."""
    return [ring for ring in list(_live) if ring.is_unread]


def keep_with_graph(ring: Ring) -> None:
    """Ties the ring's life to the graphs that fill it: those under construction here."""
    graph = tf.compat.v1.get_default_graph()
    # Outside of them all lies a graph that is never freed.
    while isinstance(graph, tf.__internal__.FuncGraph):
        kept = getattr(graph, "_gradscope_rings", None)
        if kept is None:
            kept = graph._gradscope_rings = []
        kept.append(ring)
        graph = graph.outer_graph
