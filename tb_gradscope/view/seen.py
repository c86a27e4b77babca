"""When each gradient was first and last seen to be None, zero, NaN or infinite."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.history import Steps
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import COUNTED
from tb_gradscope.format.statistics import Statistic
from tb_gradscope.view.series import Event

NEVER = -1


def seen(values: Floats, steps: Steps, events: list[Event]) -> tuple[Steps, Steps]:
    """Returns the first and the last step of each variable in each of COUNTED."""
    shape = (values.shape[1], len(COUNTED))
    first, last = np.full(shape, NEVER, np.int64), np.full(shape, NEVER, np.int64)
    for column, state in enumerate(COUNTED if len(steps) else ()):
        here: npt.NDArray[np.bool_] = values[:, :, Statistic.STATE] == state
        ever = here.any(axis=0)
        if ever.any():
            first[ever, column] = steps[here.argmax(axis=0)][ever]
            last[ever, column] = steps[len(steps) - 1 - here[::-1].argmax(axis=0)][ever]
    for event in events:
        for row, state in zip(event.message.variables, event.message.states, strict=True):
            if state in COUNTED:
                at = row, COUNTED.index(state)
                first[at] = event.step if first[at] == NEVER else min(first[at], event.step)
                last[at] = max(last[at], event.step)
    return first, last


def earlier(one: Steps, other: Steps) -> Steps:
    """Returns the earlier of two steps each, of which either may be NEVER."""
    return np.where((one == NEVER) | ((other != NEVER) & (other < one)), other, one)
