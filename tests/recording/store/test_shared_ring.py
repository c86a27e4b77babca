"""A ring that many writers fill at once, in any order."""

from __future__ import annotations

import threading

import pytest
import tensorflow as tf

from tb_gradscope.recording.store.counter import Counter, taken_in_turn
from tb_gradscope.recording.store.host import HOST
from tb_gradscope.recording.store.shared_ring import SharedRing

WIDTH = 4


class Reading:
    is_recording = True


READER = Reading()


@pytest.fixture
def shared():
    made = SharedRing(WIDTH, 0, None, Counter())
    HOST.call(lambda: made.hand_to(READER, 1, None))
    return made


def putter(shared):
    @tf.function(autograph=False)
    def put(call):
        label = tf.stack([call * 10, call, tf.constant(0, tf.int64)])
        return shared.put(tf.fill([WIDTH], tf.cast(call, tf.float32)), label)

    return lambda call: put(tf.constant(call, tf.int64))


def calls(shared):
    slots, lost = HOST.call(shared.read)
    for slot in slots:
        assert slot.payload.tolist() == [slot.call] * WIDTH
    return [slot.call for slot in slots], lost


def test_calls_come_in_order(shared):
    put = putter(shared)
    for call in (1, 0, 2):
        put(call)
    assert calls(shared) == ([0, 1, 2], 0)
    assert calls(shared) == ([], 0)


def test_a_late_call_is_waited_for(shared):
    put = putter(shared)
    put(0)
    put(2)
    assert calls(shared) == ([0], 0)
    assert calls(shared) == ([], 0)
    put(1)
    assert calls(shared) == ([1, 2], 0)


def test_but_not_for_ever(shared):
    """Its worker may have died."""
    put = putter(shared)
    put(0)
    put(2)
    read = [calls(shared) for _ in range(6)]
    assert [found for found, _ in read if found] == [[0], [2]]
    put(1)
    assert calls(shared) == ([], 1)


def test_nothing_is_waited_for_at_the_end(shared):
    put = putter(shared)
    put(2)
    assert calls(shared) == ([], 0)
    HOST.call(shared.stop)
    assert calls(shared) == ([2], 0)


def test_a_slot_that_was_taken_and_never_filled_is_lost(shared):
    put = putter(shared)
    put(0)
    tf.function(lambda: taken_in_turn(shared._written))()
    put(1)
    assert calls(shared) == ([0, 1], 0)
    HOST.call(shared.stop)
    assert calls(shared) == ([], 1)


def test_what_is_overwritten_is_counted(shared):
    put = putter(shared)
    capacity = shared._capacity
    for call in range(capacity + 3):
        put(call)
    HOST.call(shared.stop)
    found, lost = calls(shared)
    assert (len(found), lost) == (capacity, 3)
    assert found == list(range(3, capacity + 3))


def test_many_writers_at_once(shared):
    """Whatever the order in which they take turns, each call is there once and whole."""
    counted = tf.Variable(0, dtype=tf.int64)

    @tf.function
    def write():
        for _ in tf.range(100):
            call = taken_in_turn(counted)
            label = tf.stack([call * 10, call, tf.constant(0, tf.int64)])
            shared.put(tf.fill([WIDTH], tf.cast(call, tf.float32)), label)

    write.get_concrete_function()
    writers = [threading.Thread(target=write) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert calls(shared) == (list(range(800)), 0)
