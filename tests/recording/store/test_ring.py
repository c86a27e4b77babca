"""The ring between a graph and the host: order, overflow, and life."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
import tensorflow as tf

from tb_gradscope.recording.distribution.replica import is_on_one_device
from tb_gradscope.recording.store import cadence, ring
from tb_gradscope.recording.store.counter import Counter
from tb_gradscope.recording.store.host import HOST


class Reading:
    """Stands where a recorder does."""

    is_recording = True


READER = Reading()


def made_ring(counter):
    made = ring.Ring(4, 0, None, counter)
    HOST.call(lambda: made.hand_to(READER, 1, None))
    return made


def record(buffers, counter, payloads):
    """Adds a call of its own step to the graph under construction."""
    call = counter.count_in_graph(False)
    label = [tf.constant(ring.NO_STEP, tf.int64), call, tf.constant(0, tf.int64)]
    turn = buffers[0].turn(call)
    ring.record(buffers, payloads, turn.is_due, label, turn=turn)


def filler(buffer, counter, **options):
    """A function that records its argument, one call for each element."""

    @tf.function(**options)
    def fill(values):
        for value in values:
            row = tf.fill([4], value)
            record([buffer], counter, lambda row=row: [row])

    return fill


def read(buffer):
    slots, lost = HOST.call(buffer.read)
    return [slot.payload.tolist() for slot in slots], [slot.call for slot in slots], lost


@pytest.fixture
def made():
    counter = Counter()
    return made_ring(counter), counter


def test_calls_come_in_order_and_once(made):
    fill = filler(*made)
    fill(tf.constant([1.0, 2.0]))
    fill(tf.constant([3.0, 4.0]))
    assert read(made[0]) == ([[n] * 4 for n in (1, 2, 3, 4)], [0, 1, 2, 3], 0)
    assert read(made[0]) == ([], [], 0)


def test_it_goes_round(made):
    fill = filler(*made)
    for start in range(0, 5000, 500):
        fill(tf.range(start, start + 500, dtype=tf.float32))
        payloads, calls, lost = read(made[0])
        assert calls == list(range(start, start + 500))
        assert [payload[0] for payload in payloads] == calls
        assert lost == 0


@pytest.mark.parametrize("every", [cadence.OFF, cadence.AUTO, 1, 2, 10, 1000])
@pytest.mark.parametrize("since", [0, 3, 1000])
def test_a_graph_follows_the_cadence(every, since, made):
    """From wherever a recorder let go before."""
    buffer, counter = made
    fill = filler(buffer, counter)
    position = ring.Position(since, np.zeros(0, np.int64))
    HOST.call(lambda: buffer.hand_to(READER, every, position))
    found = []
    for _ in range(0, 3000, 500):
        fill(tf.zeros([500]))
        found += read(buffer)[1]
    assert found == [n for n in range(since, since + 3000) if cadence.is_due(n, every)]


@pytest.mark.skipif(not is_on_one_device(), reason="there is more than one device")
@pytest.mark.parametrize(("elements", "waits"), [(1000, True), (1 << 23, False), (None, False)])
def test_large_gradients_need_not_wait_for_each_other(elements, waits, made):
    """The branch that records is one operation, or one for each tensor that it uses."""
    buffer, counter = made

    @tf.function(autograph=False)
    def step(gradient):
        record([buffer], counter, lambda: [tf.fill([4], tf.reduce_sum(gradient))])

    graph = step.get_concrete_function(tf.TensorSpec([elements])).graph
    (branch,) = [one for one in graph.get_operations() if one.type == "If"]
    assert branch.get_attr("_lower_using_switch_merge") == (not waits)


def test_what_is_overwritten_is_counted(made):
    filler(*made)(tf.range(3000, dtype=tf.float32))
    payloads, calls, lost = read(made[0])
    assert lost == 3000 - 1023
    assert calls == list(range(lost, 3000))
    assert [payload[0] for payload in payloads] == calls


def test_reading_while_the_graph_writes(made):
    """Every slot read is whole: all its floats are those of its own call."""
    fill = filler(*made)
    values = tf.range(20_000, dtype=tf.float32)
    thread = threading.Thread(target=fill, args=(values,))
    thread.start()
    seen, lost = [], 0
    while thread.is_alive() or not seen or seen[-1] != 19_999:
        slots, gone = HOST.call(made[0].read)
        lost += gone
        for slot in slots:
            assert slot.payload.tolist() == [slot.call] * 4
            seen.append(slot.call)
    thread.join()
    assert seen == sorted(set(seen))
    assert len(seen) + lost == 20_000


def test_stopped_and_resumed(made):
    buffer, counter = made
    fill = filler(buffer, counter)
    HOST.call(buffer.stop)
    fill(tf.constant([1.0, 2.0]))
    assert read(buffer) == ([], [], 0)
    left_at = HOST.call(buffer.position)
    HOST.call(lambda: buffer.hand_to(READER, cadence.AUTO, left_at))
    fill(tf.constant([3.0]))
    assert read(buffer) == ([[3.0] * 4], [2], 0)
    HOST.call(lambda: buffer.hand_to(READER, 1, None))
    fill(tf.constant([5.0]))
    assert read(buffer) == ([[5.0] * 4], [0], 0)


def test_a_ring_lives_and_dies_with_the_function_that_fills_it():
    def make():
        counter = Counter()
        buffer = ring.Ring(4, 0, None, counter)

        @tf.function(autograph=False)
        def step():
            ring.keep_with_graph(buffer)
            record([buffer], counter, lambda: [tf.zeros([4])])

        step()
        return step.get_concrete_function(), weakref.ref(buffer)

    step, alive = make()
    gc.collect()
    assert alive() in ring.unread()
    step()
    del step
    gc.collect()
    assert alive() is None


def test_a_large_record_gets_few_slots():
    wide = ring.Ring(10**6, 0, None, Counter())
    assert wide._payload.shape[0] == 16
    assert np.prod(wide._payload.shape) * 4 < 100e6
