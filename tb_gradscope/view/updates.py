"""What optimizers made of the gradients, in a sentence each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.between import broken_rates
from tb_gradscope.diagnose.norms import Mask, unmeasured
from tb_gradscope.diagnose.spans import last_stretch
from tb_gradscope.format.history import OptimizerHistory, RunHistory
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import labels, numbers, sentences

USUAL_RATIO = 1e-3
"""About what an update is of the variable's norm where a training goes well: a rule of thumb.

See https://cs231n.github.io/neural-networks-3/#ratio.
"""

_FEWEST = 3  # that make a median


def optimizer(run: RunHistory, of: OptimizerHistory) -> str:
    """Says how many steps an optimizer took, and how large."""
    text, subtitle = sentences.name(of.name), labels.subtitle(of.label, stage=False)
    said = [of.class_name] if of.class_name not in ("", of.name) else []
    if len(run.optimizers) > 1:  # Keras calls them adam, adam_1: names that tell nothing
        said += [f"of {words.named([run.variables[at].name for at in of.variables])}"]
    said += [subtitle] if subtitle else []
    text += f" ({', '.join(said)})" if said else ""
    if not len(of.steps):
        return f"{text}, nothing recorded yet"
    text += f", up to step {int(of.steps[-1])}: "
    text += sentences.number(int(of.applied[-1]), "update")
    if of.accumulation > 1:
        text += f", each of {of.accumulation} micro-batches,"
    text += " applied"
    if of.has_loss_scale or of.skipped[-1]:
        text += f", {int(of.skipped[-1])} skipped as the loss scale had overflowed"
        if len(of.skipped_steps):
            text += f" (last at step {int(of.skipped_steps[-1])})"
        text += f"; loss scale {_range(of.loss_scales, _whole)}"
    if np.isfinite(of.learning_rates).any():
        text += f"; learning rate {_range(of.learning_rates)}"
        if (begin := last_stretch(broken_rates(of))) is not None:
            text += f", {_amount(of.learning_rates[-1])} seen from step {int(of.steps[begin])} on"
    return text + _ratios(run, of) + _broken(run, of)


def distance(ratios: Floats) -> Floats:
    """Returns how far each ratio is from the usual one, in decades; NaN where it is unknown."""
    with np.errstate(divide="ignore"):
        decades: Floats = np.abs(np.log10(ratios / USUAL_RATIO))
    return decades


def _ratios(run: RunHistory, of: OptimizerHistory) -> str:
    ratios = numbers.update_ratios(of)
    # Where large ones were not measured, the others are not all.
    usable = np.flatnonzero((ratios > 0).any(axis=1) & ~unmeasured(of.values).any(axis=1))
    if not usable.size:
        return ""
    last = usable[-1]
    row = ratios[last]
    worst = int(np.nanargmax(distance(row)))
    at = f" at step {int(of.steps[last])}" if last != len(of.steps) - 1 else " there"
    what = f"; update to variable{at}: {_typical(row)}"
    if np.nanmin(row) == np.nanmax(row):
        return what
    name = sentences.name(run.variables[int(of.variables[worst])].name)
    return f"{what}, farthest from the usual {_amount(USUAL_RATIO)}: {_amount(row[worst])} ({name})"


def _broken(run: RunHistory, of: OptimizerHistory) -> str:
    """Says since when updates are not finite, if those of the last record are not."""
    states, weights = of.values[:, :, Statistic.STATE], of.values[:, :, Statistic.VARIABLE_NORM]
    known = np.logical_or.accumulate(np.isfinite(of.update_norms), axis=0)
    asked = ~np.isin(states, (State.ABSENT, State.NONE)) & ~is_absent(weights)
    broken = ~np.isfinite(of.update_norms) & known & asked
    rows: Mask = np.any(broken, axis=1)
    begin = last_stretch(rows)
    if begin is None:
        return ""
    names = [run.variables[at].name for at in of.variables[broken[begin]]]
    return f"; seen not finite from step {int(of.steps[begin])} on in {words.named(names)}"


def _typical(ratios: Floats) -> str:
    known = ratios[np.isfinite(ratios)]
    if known.size >= _FEWEST:
        return f"median {_amount(float(np.median(known)))}"
    return " and ".join(dict.fromkeys(map(_amount, known)))


def _range(values: Floats, say: Callable[[float], str] = sentences.amount) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "not known"
    low, high = float(known.min()), float(known.max())
    return say(high) if low == high else f"{say(low)} to {say(high)}"


def _whole(value: float) -> str:
    """Returns a power of two, in full where it is none below 1."""
    return f"{value:.0f}" if value >= 1 else sentences.amount(value)


def _amount(value: float) -> str:
    return sentences.amount(float(value))
