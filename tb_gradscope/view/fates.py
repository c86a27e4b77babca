"""Which gradients were None, NaN or Inf, and when: those of one loss and fate together."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import State, Statistic

Pattern = Literal["always", "from", "on_and_off", "once"]


@dataclasses.dataclass(frozen=True)
class Fate:
    """Variables of one loss whose gradients were in a state at the same steps.

    Attributes:
      loss: whose gradients.
      state: one of COUNTED.
      columns: positions in the run's variables, increasing.
      variables: their names.
      pattern: "always", "from" a step on and ever since, "once" (and not since), or
        "on_and_off".
      first_step: the first known to be so.
      last_step: the last known to be so.
      count: records that were so, of all those that asked, sampled away or not.
      asked: records that asked.
      exact: nothing can have been before, because the sentinel watched.
    """

    loss: LossHistory
    state: State
    columns: tuple[int, ...]
    variables: tuple[str, ...]
    pattern: Pattern
    first_step: int
    last_step: int
    count: int
    asked: int
    exact: bool


def fates(of: RunHistory, state: State) -> list[Fate]:
    """Returns who was ever in a state of COUNTED: loss by loss, variables in the run's order."""
    counted = COUNTED.index(state)
    found = []
    for loss in of.losses:
        groups: dict[tuple[Pattern, int, int, int, int, bool], list[int]] = {}
        for column in np.argsort(loss.variables, kind="stable").tolist():
            first = int(loss.first_seen[column, counted])
            if first == -1:
                continue
            last = int(loss.last_seen[column, counted])
            count, asked = int(loss.state_counts[column, counted]), int(loss.asked[column])
            exact = state != State.NONE and _exact(loss, column, first)
            key = (_pattern(loss, column, state), first, last, count, asked, exact)
            groups.setdefault(key, []).append(int(loss.variables[column]))
        for key, columns in groups.items():
            names = tuple(of.variables[column].name for column in columns)
            found.append(Fate(loss, state, tuple(columns), names, *key))
    return found


def _exact(loss: LossHistory, column: int, first: int) -> bool:
    """Tells whether a first step is that at which a gradient stopped being finite, and watched.

    The sentinel sees gradients stop being finite. It does not tell Inf from NaN.
    """
    others = [COUNTED.index(State.NAN), COUNTED.index(State.INF)]
    seen = loss.first_seen[column, others]
    return loss.watched and first == int(seen[seen != -1].min(initial=first))


def _pattern(loss: LossHistory, column: int, state: State) -> Pattern:
    counted = COUNTED.index(state)
    count, first = int(loss.state_counts[column, counted]), int(loss.first_seen[column, counted])
    if loss.traced_only or count == loss.asked[column]:
        return "always"
    states = loss.values[:, column, Statistic.STATE]
    after = states[loss.steps >= first]
    here = loss.steps[states != State.ABSENT]
    since = bool(here.size and first > here[0])
    if since and np.isin(after, (state, State.ABSENT)).all():
        return "from"
    return "once" if count == 1 else "on_and_off"
