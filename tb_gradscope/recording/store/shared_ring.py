"""A ring that functions fill on several machines at once, as under `ParameterServerStrategy`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.recording.distribution.replica import is_coordinated
from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.counter import taken_in_turn
from tb_gradscope.recording.store.ring import Position, Reader, Ring, Slot, slots_of

_PATIENCE = 4
"""How often reading passes over a call that is late before it goes on without it."""


def ring_here(*arguments: Any) -> Ring:
    """Makes a ring for the function that is being traced; arguments as for `Ring`."""
    return SharedRing(*arguments) if is_coordinated() else Ring(*arguments)


class SharedRing(Ring):
    """A ring with many writers: each takes a slot of its own, and stamps it when it is full.

    Slots are filled in any order. They are read in the order of their calls, which is
    that of their steps: a call that is due and has not come yet is waited for, for a
    while. What comes later than that is lost, and counted as such.
    """

    _cadence: int
    _next: int  # the least call that is not read yet
    _step: int  # the last that was read
    _ready: list[Slot]  # full, of later calls
    _awaited: list[int]  # slots that were taken and are not full
    _waits: int
    _patience: int

    def _create(self, width: int, tallies: int, device: str | None) -> None:
        super()._create(width, tallies, device)
        with tf.device(device):
            stamps = tf.zeros([self._capacity], tf.int64)
            self._stamps = tf.Variable(stamps, trainable=False, name="gradscope_stamps")
        self._begin_at(0)

    def put(self, payload: Any, label: Any) -> Any:
        """As in `Ring`."""
        ticket = taken_in_turn(self._written)
        slot = tf.math.floormod(ticket, self._capacity)[None]
        empty = self._stamps.scatter_update(tf.IndexedSlices(tf.zeros([1], tf.int64), slot))
        with tf.control_dependencies([empty]):
            writes = [
                self._payload.scatter_update(tf.IndexedSlices(payload[None], slot)),
                self._labels.scatter_update(tf.IndexedSlices(label[None], slot)),
            ]
        with tf.control_dependencies(writes):
            stamp = tf.IndexedSlices(ticket[None] + 1, slot)
            with tf.control_dependencies([self._stamps.scatter_update(stamp)]):
                return tf.identity(ticket)

    def hand_to(
        self, reader: Reader, every: int, since: Position | None, is_watched: bool = False
    ) -> None:
        """As in `Ring`."""
        super().hand_to(reader, every, since, is_watched)
        self._cadence = every
        self._begin_at(0 if since is None else since.calls)

    def stop(self) -> None:
        """As in `Ring`."""
        super().stop()
        self._patience = 0

    def read(self) -> tuple[list[Slot], int]:
        """As in `Ring`."""
        end = int(self._written.numpy())
        oldest = end - self._capacity
        found = np.array([*self._awaited, *range(max(self._seen, oldest), end)], np.int64)
        lost = max(0, oldest - self._seen) + int(np.count_nonzero(found < oldest))
        found = found[found >= oldest]
        self._seen, self._awaited = end, []
        if len(found):
            index = tf.constant(found % self._capacity)
            is_full = self._stamps.sparse_read(index).numpy() == found + 1
            slots = slots_of(self._payload.sparse_read(index), self._labels.sparse_read(index))
            is_full &= self._stamps.sparse_read(index).numpy() == found + 1
            self._ready += [slot for slot, full in zip(slots, is_full, strict=True) if full]
            self._awaited = found[~is_full].tolist()
        if not self._patience:
            lost += len(self._awaited)
            self._awaited.clear()
        return self._in_order(lost)

    def _in_order(self, lost: int) -> tuple[list[Slot], int]:
        self._ready.sort(key=lambda slot: slot.call)
        given: list[Slot] = []
        while self._ready:
            slot = self._ready[0]
            if self._is_awaiting(slot.call):
                self._waits += 1
                break
            del self._ready[0]
            if slot.call < self._next or slot.shown_step < self._step:
                lost += 1
                continue
            given.append(slot)
            self._next, self._step, self._waits = slot.call + 1, slot.shown_step, 0
        return given, lost

    def _is_awaiting(self, call: int) -> bool:
        """Tells whether a call before this one is due, and may still come."""
        return self._waits < self._patience and any(
            cadence.is_due(earlier, self._cadence) for earlier in range(self._next, call)
        )

    def _begin_at(self, call: int) -> None:
        self._next, self._step = call, int(np.iinfo(np.int64).min)
        self._ready, self._awaited = [], []
        self._waits, self._patience = 0, _PATIENCE
