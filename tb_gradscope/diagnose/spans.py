"""When something was so: steps out of what records, or their counts, say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tb_gradscope.diagnose.finding import Pattern, Span
from tb_gradscope.format.history import LossHistory, Steps
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State, Statistic

Mask = npt.NDArray[np.bool_]


def span_of(steps: Steps, here: Mask, asked: Mask | None = None) -> Span:
    """Returns when `here` held.

    Args:
      steps: int64 `[record]`.
      here: bool `[record]`, true at least once.
      asked: bool `[record]`, records that could have shown it; all where None.
    """
    asked = np.ones(len(steps), bool) if asked is None else asked | here
    at, known = np.flatnonzero(here), np.flatnonzero(asked)
    first, last = int(steps[at[0]]), int(steps[at[-1]])
    since = known[known >= at[0]]
    pattern: Pattern
    if len(at) == len(known):
        pattern = "all"
    elif len(since) == len(at):
        pattern = "from"
    else:
        pattern = "once" if len(at) == 1 else "intermittent"
    return Span(first, last, pattern, len(at))


def last_stretch(here: Mask) -> int | None:
    """Returns from which record on something holds to the last; None if it does not there."""
    if not len(here) or not here[-1]:
        return None
    return int(np.flatnonzero(~here)[-1]) + 1 if not here.all() else 0


def spans_in(loss: LossHistory, state: State) -> dict[int, Span]:
    """Returns when each variable's gradient was in one of COUNTED, by column; none for never.

    Exact however TensorBoard sampled the records: totals and first and last
    steps are stored apart from them.
    """
    ever = np.flatnonzero(loss.first_seen[:, COUNTED.index(state)] != -1)
    return {column: _state_span(loss, column, state) for column in ever.tolist()}


def _state_span(loss: LossHistory, column: int, state: State) -> Span:
    counted = COUNTED.index(state)
    first, last = int(loss.first_seen[column, counted]), int(loss.last_seen[column, counted])
    count, asked = int(loss.state_counts[column, counted]), int(loss.asked[column])
    if loss.traced_only or count >= asked:
        return Span(first, last, "all", count)
    states = loss.values[:, column, Statistic.STATE]
    here = loss.steps[states != State.ABSENT]
    after = states[loss.steps >= first]
    since = bool(here.size and first > here[0] and last >= here[-1])
    if since and bool(np.isin(after, (state, State.ABSENT)).all()):
        return Span(first, last, "from", count)
    return Span(first, last, "once" if count == 1 else "intermittent", count)
