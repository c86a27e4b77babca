"""Where a compiled step leaves its records: a ring of variables the host reads.

Summaries cannot be written inside a function compiled by XLA, and a summary op
in a graph costs even when it writes nothing. Variables can be assigned
everywhere: eager, graph, XLA, and loops that live wholly inside one function.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tb_gradscope.recording import cadence
from tb_gradscope.recording.counter import Counter
from tb_gradscope.recording.host import HOST

_RING_FLOATS = 1 << 20
_FEWEST, _MOST = 16, 1024


@dataclasses.dataclass(frozen=True)
class Slot:
    """One call as the ring holds it.

    Attributes:
      step: the program's step, or -1 where it has none.
      call: number of the call, the first is 0.
      tallies: int64 `[tally]`, cumulative counts over all calls.
      payload: float32 `[n]`.
    """

    step: int
    call: int
    tallies: npt.NDArray[np.int64]
    payload: npt.NDArray[np.float32]


class Ring:
    """A fixed-size buffer in variables, filled in a graph and read by the host.

    Attributes:
      owner: weak reference to whoever reads it; None when nobody does.
      description: what the payload is, for an owner that takes the ring over.
    """

    def __init__(
        self, width: int, tallies: int, every: int, description: Any, counter: Counter
    ) -> None:
        self.description = description
        self._counter = counter
        self.owner: weakref.ref[Any] | None = None
        self._capacity = int(np.clip(_RING_FLOATS // max(width, 1), _FEWEST, _MOST))
        self._seen = 0
        HOST.call(lambda: self._create(width, tallies, every))
        _live.add(self)

    def _create(self, width: int, tallies: int, every: int) -> None:
        def variable(shape: list[int], dtype: Any, name: str) -> Any:
            value = tf.zeros(shape, dtype)
            return tf.Variable(value, trainable=False, name=f"gradscope_{name}")

        self._payload = variable([self._capacity, width], tf.float32, "payload")
        self._labels = variable([self._capacity, 2 + tallies], tf.int64, "labels")
        self._tallies = variable([tallies], tf.int64, "tallies")
        self._written = variable([], tf.int64, "written")
        self._every = tf.Variable(every, dtype=tf.int64, trainable=False, name="gradscope_every")

    def record(
        self,
        payload: Callable[[], Any],
        call: Any,
        step: Any,
        condition: Any = True,
        tally: Any = None,
    ) -> None:
        """Adds to the graph under construction: record the call if it is due.

        Args:
          payload: builds the float32 `[width]` tensor; run only in recorded calls.
          call: number of the call, an int64 scalar tensor.
          step: the program's step as an int64 scalar tensor, or None.
          condition: bool (tensor) that must hold too.
          tally: int64 `[tally]` to add up in every call, or None.
        """
        tallies = self._tallies.read_value()
        if tally is not None:
            tallies = self._tallies.assign_add(tally, read_value=True)
        due = cadence.is_due_in_graph(call, self._every.read_value())
        due = tf.logical_and(due, condition)
        step = tf.constant(-1, tf.int64) if step is None else step

        def write() -> Any:
            slot = tf.math.floormod(self._written.read_value(), self._capacity)[None]
            label = tf.concat([[step, call], tallies], 0)
            writes = [
                self._payload.scatter_update(tf.IndexedSlices(payload()[None], slot)),
                self._labels.scatter_update(tf.IndexedSlices(label[None], slot)),
            ]
            with tf.control_dependencies(writes):
                return self._written.assign_add(1, read_value=True)

        tf.cond(due, write, lambda: tf.constant(0, tf.int64))

    @property
    def is_read(self) -> bool:
        """Tells whether somebody reads this ring at present."""
        owner = self.owner() if self.owner is not None else None
        return owner is not None and owner.is_recording

    def resume(self, every: int) -> None:
        """Goes on counting calls after `stop`. On the host thread only."""
        self._seen = int(self._written.numpy())
        self._every.assign(every)

    def restart(self, every: int) -> None:
        """Starts counting calls anew. On the host thread only."""
        self._tallies.assign(tf.zeros_like(self._tallies))
        self._counter.restart()
        self.resume(every)

    def stop(self) -> None:
        """Lets nothing more be recorded. On the host thread only."""
        self._every.assign(cadence.OFF)

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
        payload = self._payload.sparse_read(tf.constant(index)).numpy()
        labels = self._labels.sparse_read(tf.constant(index)).numpy()
        # What was recorded meanwhile may have overwritten the oldest just read.
        torn = max(0, int(self._written.numpy()) + 1 - self._capacity - start)
        lost = start - self._seen + min(torn, end - start)
        self._seen = end
        slots = [
            Slot(int(label[0]), int(label[1]), label[2:], row)
            for label, row in list(zip(labels, payload, strict=True))[torn:]
        ]
        return slots, lost


_live: weakref.WeakSet[Ring] = weakref.WeakSet()


def unowned() -> list[Ring]:
    """Returns the rings that graphs still fill and nobody reads any more."""
    return [ring for ring in list(_live) if not ring.is_read]


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
