"""Where the sentinel saw norms leave their recent range: how far, and up or down.

No fault by itself, so no finding: what is one, `exploding` says.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from tb_gradscope.diagnose.norms import Norms, norms_of, record_at
from tb_gradscope.format.history import LossHistory

Direction = Literal["up", "down", ""]

_RECENT = 10  # records that show what is usual, as many as the sentinel has calls for it
_FEWEST = 3  # that make a median


@dataclasses.dataclass(frozen=True)
class Spike:
    """A step at which norms of a loss left their recent range.

    Attributes:
      step: which.
      variables: positions in `RunHistory.variables`, those that went farthest first.
      norm: of the gradient of the first of them; NaN where the record is not at hand.
      usual: median of its norms in the records before; NaN of fewer than three.
      direction: "up", "down", or "" where records do not show it.
    """

    step: int
    variables: tuple[int, ...]
    norm: float
    usual: float
    direction: Direction


def spikes(loss: LossHistory) -> list[Spike]:
    """Returns the steps of a loss at which the sentinel saw that, in their order."""
    if not len(loss.spikes):
        return []
    norms = norms_of(loss)
    columns = {position: column for column, position in enumerate(loss.variables.tolist())}
    found = []
    for step in np.unique(loss.spikes[:, 0]).tolist():
        positions = loss.spikes[loss.spikes[:, 0] == step, 1].tolist()
        known = [(p, *_departure(norms, step, columns[p])) for p in positions if p in columns]
        if known:
            known.sort(key=lambda one: -round(_far(one[1], one[2]), 1))
            order, norm, usual = tuple(one[0] for one in known), known[0][1], known[0][2]
            direction = _direction(norms, step, columns[order[0]], norm, usual)
            found.append(Spike(step, order, norm, usual, direction))
    return found


def _departure(norms: Norms, step: int, column: int) -> tuple[float, float]:
    """Returns the norm of a variable at a step, and what was usual before."""
    at = record_at(norms.loss.steps, step)
    norm = float("nan") if at is None else float(norms.norms[at, column])
    recent = _recent(norms, step, column)
    return norm, float(np.median(recent)) if len(recent) >= _FEWEST else float("nan")


def _direction(norms: Norms, step: int, column: int, norm: float, usual: float) -> Direction:
    """Tells up from down where the norms before, the last and the median, agree on it."""
    recent = _recent(norms, step, column)
    before = [*recent[-1:], *([] if np.isnan(usual) else [usual])]
    if not before or np.isnan(norm):
        return ""
    if norm > max(before):
        return "up"
    return "down" if norm < min(before) else ""


def _recent(norms: Norms, step: int, column: int) -> list[float]:
    """Returns the last norms of a variable before a step that are finite, but for spikes."""
    before = norms.norms[(norms.loss.steps < step) & norms.regular, column]
    kept: list[float] = before[np.isfinite(before)][-_RECENT:].tolist()
    return kept


def _far(norm: float, usual: float) -> float:
    """Returns how many decades lie between the two, 0 where that is not known."""
    if np.isnan(norm) or np.isnan(usual):
        return 0.0
    decades = np.log10(np.maximum([norm, usual], np.finfo(np.float32).tiny))
    return float(np.abs(decades[0] - decades[1]))
