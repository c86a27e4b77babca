"""The sentinel: looks at every call that is not due, and has the odd ones recorded.

Odd is a gradient that turns to NaN or Inf, or back; and a norm that leaves its
own recent range. How many are recorded is bounded: what is new for a variable
always, what comes and goes so many times for each doubling of the training's
length, as the cadence "auto" thins out.

They are recorded in full, but for large gradients that are well themselves, of which only
the norm is known (see `measure.gradients`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

import numpy as np
import tensorflow as tf

from tb_gradscope.format.statistics import Reason
from tb_gradscope.recording.distribution.replica import device_here
from tb_gradscope.recording.measure.alone import unseen
from tb_gradscope.recording.measure.squares import Watched
from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.host import HOST

NOT_ODD = -1
"""In place of a `Reason`."""

# A range is the mean of the log norm, and how far it strays from there on average, over some
# of the last calls judged. It is left where a norm strays this many times as far, and three times
# as large or small besides: quiet training must not make a spike of every ripple.
_WARM_UP = 20
_MEMORY = 10
_STRAYS = 6.0
_MARGIN = float(np.log(3.0))
# Before it is warm, only a norm that rises this many times above its mean counts.
_EARLY = 4
_EARLY_MARGIN = float(np.log(100.0))

_ROUTINE = 8  # calls, a power of two, from one that is judged in any case to the next

_RECORDS = 16  # in the first calls, and as many for each doubling
# From one spike of a variable that is recorded to the next of it, unless that is a margin
# further out still.
_REST = 16

_SMALLEST, _LARGEST = 1e-37, 3e38  # float32 squares that have a logarithm
_NOWHERE = np.float32(-1.0)  # as both bounds of a squared norm, which is never negative

# Mean, how far it strays, calls seen, not finite last, not finite ever, how far out the last
# spike was that is recorded.
_STATES = 6
_WAS_BAD = 3


@dataclasses.dataclass(frozen=True)
class Glance:
    """What the cheap look at a call has shown, in a graph.

    Attributes:
      sentinel: whose it is.
      watched: the gradients.
      halves: half their squared norms.
      call: number of the call.
      is_odd: bool scalar: the sentinel must judge this call.
      apart: of each gradient that is measured apart: half its squared norm, and a bool
        scalar, whether more must be known of it. The others are all measured if any
        gradient is odd.
    """

    sentinel: Sentinel
    watched: Watched
    halves: Any
    call: Any
    is_odd: Any
    apart: list[tuple[Any, Any]]

    def judge(self) -> Seen:
        """Judges the call, and goes on from there; for a branch that is hardly ever taken."""
        return self.sentinel.judge(self)

    def judge_if_odd(self) -> Seen:
        """Judges the call where it must be."""

        def judge() -> tuple[Any, Any, Any]:
            seen = self.judge()
            return seen.reason, seen.nonfinite, seen.spikes

        def pass_by() -> tuple[Any, Any, Any]:
            nothing = tf.constant(NOT_ODD, tf.int64)
            return nothing, tf.zeros([1], tf.int64), tf.zeros_like(self.halves)

        return Seen(*tf.cond(self.is_odd, judge, pass_by))


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the sentinel makes of a call.

    Attributes:
      reason: int64 scalar: NONFINITE, SPIKE or `NOT_ODD`. Of an eager call a number.
      nonfinite: int64 `[1]`: 1 where a gradient holds NaN or Inf. Of an eager call an array.
      spikes: float32 `[variable]`: 1 where a norm leaves its range.
    """

    reason: Any
    nonfinite: Any
    spikes: Any


class Sentinel:
    """Looks at the calls of one series.

    In every call it compares squared norms with bounds. It judges, and moves the
    bounds, where one is out of them, and now and then.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._compiled: dict[Hashable, Any] = {}
        device = device_here()
        HOST.call(lambda: self._create(device))

    def _create(self, device: str | None) -> None:
        def variable(shape: list[int], dtype: Any, name: str, value: Any = 0.0) -> Any:
            with tf.device(device):
                filled = tf.cast(tf.fill(shape, value), dtype)
                return tf.Variable(filled, trainable=False, name=f"gradscope_{name}")

        self._bounds = variable([2, self._count], tf.float32, "bounds", _NOWHERE)
        self._state = variable([_STATES, self._count], tf.float32, "ranges")
        # Records made because of NaN or Inf, because of spikes.
        self._made = variable([2], tf.int64, "odd")
        self._spiked = variable([self._count], tf.int64, "spiked", -_REST)

    def forget(self) -> None:
        """Begins anew. On the host thread only."""
        self._bounds.assign(tf.fill(self._bounds.shape, _NOWHERE))
        for variable in (self._state, self._made):
            variable.assign(tf.zeros_like(variable))
        self._spiked.assign(tf.fill(self._spiked.shape, tf.constant(-_REST, tf.int64)))

    def glance_if(self, condition: Any, watched: Watched, call: Any) -> Glance:
        """Adds a look to the graph under construction, where a bool scalar says so."""
        halves, is_odd, apart = tf.cond(
            condition,
            lambda: self._glance(watched, call),
            lambda: (tf.zeros([self._count]), tf.constant(False), unseen(len(watched.apart))),
        )
        return Glance(self, watched, halves, call, is_odd, apart)

    def look_now(self, watched: Watched, call: int) -> Seen:
        """Looks at an eager call."""
        values = watched.values()
        layout = watched.layout(values)
        compiled = self._compiled.get(layout)
        if compiled is None:
            compiled = self._compiled[layout] = self._compile(layout)
        given = [value for value in values if value is not None]
        numbers, spikes = compiled(tf.constant(call, tf.int64), *given)
        # The program waits here until the gradients are there: once, not for each number.
        reason, *nonfinite = numbers.numpy()
        return Seen(int(reason), np.array(nonfinite), spikes)

    def _compile(self, layout: Any) -> Any:
        def look(call: Any, *arguments: Any) -> tuple[Any, Any]:
            watched = Watched.of_arguments(layout, arguments)
            halves, is_odd, apart = self._glance(watched, call)
            seen = Glance(self, watched, halves, call, is_odd, apart).judge_if_odd()
            return tf.concat([seen.reason[None], seen.nonfinite], 0), seen.spikes

        signature = [tf.TensorSpec([], tf.int64), *Watched.signature(layout)]
        function = tf.function(look, input_signature=signature, autograph=False)
        return HOST.call(function.get_concrete_function)

    def _glance(self, watched: Watched, call: Any) -> tuple[Any, Any, list[tuple[Any, Any]]]:
        alone = watched.half_squares()
        halves = tf.stack(alone)
        low, high = tf.unstack(self._bounds.read_value())
        is_without = tf.reduce_any(_is_without(halves, low, high))
        is_routine = tf.equal(tf.bitwise.bitwise_and(call, _ROUTINE - 1), 0)
        is_odd = tf.logical_or(is_without, is_routine)
        if not watched.apart:
            return halves, is_odd, []
        positions = list(watched.apart)
        known = [low, high, self._state.read_value()[_WAS_BAD] > 0]
        columns = [tf.unstack(tf.gather(each, positions)) for each in known]
        return (
            halves,
            is_odd,
            [
                (alone[position], _is_odd_itself(alone[position], *bounds))
                for position, *bounds in zip(positions, *columns, strict=True)
            ],
        )

    def judge(self, glance: Glance) -> Seen:
        """Judges a call in full, in a graph, and moves ranges and bounds."""
        squares, watched, call = 2.0 * glance.halves, glance.watched, glance.call
        # The square of a large number overflows; it is finite all the same.
        finite = tf.math.is_finite(squares)
        finite = tf.cond(tf.reduce_all(finite), lambda: finite, watched.are_finite)
        bad = 1.0 - tf.cast(finite, tf.float32)
        squares = tf.where(tf.math.is_finite(squares), squares, _LARGEST)
        mean, stray, seen, was_bad, ever_bad, far = tf.unstack(self._state.read_value())

        known = tf.cast(finite & (squares > 0), tf.float32)
        log_norm = 0.5 * tf.math.log(tf.maximum(squares, _SMALLEST))
        mean = tf.where(seen > 0, mean, log_norm)
        distance = log_norm - mean
        room = _STRAYS * stray + _MARGIN
        is_warm = seen >= _WARM_UP
        has_leapt = (seen >= _EARLY) & (distance > _STRAYS * stray + _EARLY_MARGIN)
        spikes = known * tf.cast(has_leapt | is_warm & (tf.abs(distance) > room), tf.float32)
        how_far = tf.abs(distance)
        # One wild norm must not make the next ones look tame.
        distance = tf.where(is_warm, tf.clip_by_value(distance, -room, room), distance)
        share = known / tf.minimum(seen + 1.0, float(_MEMORY))
        mean += share * distance
        stray += share * (tf.abs(distance) - stray)
        seen += known
        spiked = self._spiked.read_value()
        has_rested = call >= spiked + _REST
        is_fresh = (spikes > 0) & (has_rested | (how_far > far + _MARGIN))
        bounds = _bounds(mean, _STRAYS * stray + _MARGIN, seen >= _WARM_UP, finite, squares)
        made_bad, made_spikes = tf.unstack(self._made.read_value())
        allowed = _RECORDS * (1 + cadence.doublings_in_graph(call))
        is_new = tf.reduce_any(bad > ever_bad)
        has_turned = tf.reduce_any(bad != was_bad) & (made_bad < allowed)
        is_bad = is_new | has_turned
        has_spike = tf.reduce_any(is_fresh) & (made_spikes < allowed) & ~is_bad
        is_recorded = (spikes > 0) & (has_spike | is_bad)
        far = tf.where(is_recorded, how_far, far)
        state = [mean, stray, seen, bad, tf.maximum(ever_bad, bad), far]
        made = [
            made_bad + tf.cast(is_bad, tf.int64),
            made_spikes + tf.cast(has_spike, tf.int64),
        ]
        reason = tf.where(
            is_bad, int(Reason.NONFINITE), tf.where(has_spike, int(Reason.SPIKE), NOT_ODD)
        )
        nonfinite = tf.cast(tf.reduce_any(bad > 0), tf.int64)[None]
        moved = [
            self._bounds.assign(bounds),
            self._state.assign(state),
            self._made.assign(made),
            self._spiked.assign(tf.where(is_recorded, call, spiked)),
        ]
        with tf.control_dependencies(moved):
            return Seen(tf.cast(reason, tf.int64), nonfinite, tf.identity(spikes))


def _is_without(halves: Any, low: Any, high: Any) -> Any:
    # NaN is without, too: it equals nothing.
    return tf.not_equal(tf.clip_by_value(halves, low, high), halves)


def _is_odd_itself(half: Any, low: Any, high: Any, was_bad: Any) -> Any:
    """Tells whether more than the norm must be known of a gradient, all scalars.

    Of one that is all zeros, or tiny; that is infinite, or huge; that turns to NaN, or
    back; and of one that leaves its range, where it has one yet.
    """
    leaves = tf.logical_and(low >= 0, _is_without(half, low, high))
    turns = tf.equal(tf.math.is_finite(half), was_bad)
    return (half == 0) | tf.math.is_inf(half) | turns | leaves


def _bounds(mean: Any, room: Any, is_warm: Any, finite: Any, squares: Any) -> Any:
    """Returns between which halves a call need not be judged: float32 `[2, variable]`."""
    is_known = is_warm & finite
    low = tf.where(is_known, 0.5 * tf.exp(2.0 * (mean - room)), _NOWHERE)
    high = tf.where(is_known, 0.5 * tf.exp(2.0 * (mean + room)), _NOWHERE)
    # Zero says nothing of a range. Where it was, it may come again.
    is_zero = squares == 0
    low = tf.where(is_zero, 0.0, low)
    return tf.stack([low, tf.where(is_zero, tf.maximum(high, 0.0), high)])
