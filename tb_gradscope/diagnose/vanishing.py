"""`vanishing`: gradients that shrink on their way back, layer by layer, to nothing.

Seen: among the kernels (kernels only: normalisation, embeddings and attention have
scales of their own; those of recurrent cells are compared with one another, and so are
biases, since with small weights the kernels' gradients lose forwards what the biases'
lose backwards), those near the input have a thousandth of the root mean square of
those near the loss, falling steadily with depth; or, without a steady fall, all
in front of some place have a millionth (the square of it) of all behind, and do not
grow; or all gradients are so small that not even Adam makes a step of them; or
they fade with time (see `fading`).

Usually: saturating activations (sigmoid, tanh) in a deep stack, weights that
start too small, or a loss multiplied by a tiny factor.

Try: ReLU-like activations with he_normal, residual connections, normalisation;
for tiny losses a mean over fewer things or a factor.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.fading import fading
from tb_gradscope.diagnose.finding import Finding, Span, where
from tb_gradscope.diagnose.norms import (
    Norms,
    Values,
    log10,
    median,
    names_of,
    norms_of,
    rank_correlation,
)
from tb_gradscope.diagnose.roles import Role, role
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory

_FEWEST = 4  # kernels that make a profile
_STEADY = 0.8  # rank correlation with depth
_GROWS, _GAIN = 0.9, 3.0  # rank correlation with time, and how many times more
_STACKS: tuple[Role, ...] = ("kernel", "recurrent", "bias")
_SMALL = 5e-4  # of the variable's norm: what is larger still moves it


def vanishing(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields losses whose gradients die away with depth, are nothing at all, or fade."""
    for loss in run.losses:
        if loss.traced_only or len(loss.steps) < thresholds.min_records:
            continue
        norms = norms_of(loss)
        stacks = [_columns(run, loss, (one,)) for one in _STACKS]
        every = _columns(run, loss, ("kernel", "recurrent", "attention"))
        profiles = (_profile(run, norms, stack, thresholds) for stack in stacks)
        found = next((one for one in profiles if one), [])
        found = found or list(_tiny(run, norms, every, thresholds))
        yield from found or fading(run, norms, every, thresholds)


def _columns(run: RunHistory, loss: LossHistory, roles: tuple[Role, ...]) -> list[int]:
    return [
        column
        for column, position in enumerate(loss.variables)
        if role(run.variables[position]) in roles
    ]


def _rms(run: RunHistory, norms: Norms, columns: list[int]) -> Values:
    """Returns root mean squares, float64 `[record, variable]`."""
    variables = [run.variables[norms.loss.variables[column]] for column in columns]
    sizes = np.array([max(1, abs(int(np.prod(one.shape)))) for one in variables], float)
    rms: Values = norms.norms[:, columns] / np.sqrt(sizes)
    return rms


def _profile(
    run: RunHistory, norms: Norms, columns: list[int], thresholds: Thresholds
) -> list[Finding]:
    if len(columns) < _FEWEST:
        return []
    loss = norms.loss
    rms = log10(_rms(run, norms, columns))
    half = rms[-max(thresholds.min_records, len(rms) // 2) :]
    typical = median(half)
    third = max(1, len(columns) // 3)
    behind, cut = len(columns) - third, 0
    if rank_correlation(typical) < _STEADY:
        third = behind = cut = _cut(half, typical, thresholds)
        if not cut:
            return []
    elif _grows(rms[:, :third]):
        return []
    shallow, deep = median(typical[:third]), median(typical[behind:])
    gap = float(deep - shallow)
    small_enough = _relative(run, norms, columns[:third], len(half)) < _SMALL
    if gap < np.log10(thresholds.vanishing) or not small_enough:
        return []
    names = names_of(run, loss, columns)
    small = tuple(
        name
        for name, value in zip(names, typical, strict=True)
        if value <= deep - np.log10(thresholds.vanishing)
    )
    per_layer = 10 ** (gap / max(1, behind))
    text = f"from {names[-1]} to {names[0]} it shrinks {words.times(10**gap)}"
    if cut:
        text += f", all of it between {names[cut]} and {names[cut - 1]}"
        advice = (
            f"Look at what stands between {names[cut - 1]} and {names[cut]}: a long recurrence "
            "that forgets (LSTM, attention, fewer steps), a saturated layer, a tiny factor."
        )
    else:
        text += f", about {per_layer:.1f} times a layer"
        advice = (
            "Use ReLU-like activations with he_normal in place of saturating ones, or add "
            "residual connections or normalisation between the layers."
        )
    span = Span(int(loss.steps[0]), int(loss.steps[-1]), "all", loss.records)
    return [
        Finding(
            kind="vanishing",
            severity="warning",
            loss=loss.name,
            label=loss.label,
            variables=small,
            span=span,
            message=(
                f"The gradient of {words.loss_name(loss)} vanishes on its way back: {text}, "
                f"so {words.named(small)} hardly learn."
            ),
            advice=advice,
            where=where(loss.where),
            evidence={
                **thresholds.evidence("vanishing"),
                "ratio": float(10**gap),
                "per_layer": per_layer,
                "smallest_rms": float(10 ** np.nanmin(typical)),
            },
        )
    ]


def _relative(run: RunHistory, norms: Norms, columns: list[int], count: int) -> float:
    """Returns how large the gradients of the kernels of these layers are for the kernels.

    Args:
      run: of the loss.
      norms: of the loss.
      columns: of variables of those layers.
      count: how many records to look at, the last ones.
    """
    loss = norms.loss
    every = _columns(run, loss, ("kernel", "recurrent"))
    kernels = [column for column in columns if column in every]
    if not kernels:
        layers = {run.variables[loss.variables[column]].layer for column in columns}
        kernels = [c for c in every if run.variables[loss.variables[c]].layer in layers]
    weights = norms.weights[-count:, kernels]
    relative = norms.norms[-count:, kernels] / np.where(weights > 0, weights, np.nan)
    return float(median(median(relative)))


def _grows(rms: Values) -> bool:
    """Tells whether ever more comes through: a head that starts at zero opens the way bit by bit.

    Args:
      rms: logarithms, `[record, kernel]`.
    """
    level = median(rms.T)
    level = level[np.isfinite(level)]
    if len(level) < 3:
        return False
    part = max(1, len(level) // 5)
    gain = float(median(level[-part:]) - median(level[:part]))
    return gain >= np.log10(_GAIN) and rank_correlation(level) >= _GROWS


def _cut(rms: Values, typical: Values, thresholds: Thresholds) -> int:
    """Returns how many kernels lie in front of a place that lets next to nothing through.

    0 if there is none, or what comes through grows.

    Args:
      rms: logarithms, `[record, kernel]`.
      typical: medians of them.
      thresholds: what the gap is compared with.
    """
    for cut in range(2, len(typical)):
        gap = np.min(typical[cut:]) - np.max(typical[:cut])
        if gap >= 2 * np.log10(thresholds.vanishing):
            return 0 if _grows(rms[:, :cut]) else cut
    return 0


def _tiny(
    run: RunHistory, norms: Norms, columns: list[int], thresholds: Thresholds
) -> Iterator[Finding]:
    """Yields where the very first gradients were too small, so that it is no convergence."""
    loss = norms.loss
    first = _rms(run, norms, columns)[: thresholds.min_records]
    largest = float(np.nanmax(median(first), initial=0))
    if not 0 < largest < thresholds.vanished:
        return
    span = Span(int(loss.steps[0]), int(loss.steps[-1]), "all", loss.records)
    yield Finding(
        kind="vanishing",
        severity="warning",
        loss=loss.name,
        label=loss.label,
        variables=(),
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} is next to nothing from the first step on: "
            f"the root mean square of the largest kernel's is {words.amount(largest)}, below what "
            "Adam's epsilon of 1e-7 lets through."
        ),
        advice=(
            "Look for a saturated output, a tiny factor on the loss or a mean over too much; "
            "else multiply the loss, or lower the optimizer's epsilon."
        ),
        where=where(loss.where),
        evidence={**thresholds.evidence("vanished"), "rms": largest},
    )
