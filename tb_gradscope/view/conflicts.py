"""How the gradients of two losses lie to each other, in a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.format.history import CosineHistory, RunHistory
from tb_gradscope.view import cosines, labels, sentences

_MOST = 5


def conflicts(run: RunHistory) -> Iterator[str]:
    """Yields the pairs whose gradients lie to each other at the lowest mean cosine."""
    found = []
    for pair in run.cosines:
        totals = cosines.total(run, pair)
        known = np.flatnonzero(np.isfinite(totals))
        if known.size:
            found.append((float(totals[known].mean()), pair, int(known[-1]), totals))
    found.sort(key=lambda one: one[0])
    for mean, pair, last, totals in found[:_MOST]:
        records = sentences.number(int(np.isfinite(totals).sum()), "record")
        text = f"{_names(pair)}: mean cosine {_signed(mean)} over {records}"
        text += f", {_signed(float(totals[last]))} at step {int(pair.steps[last])}"
        yield text + _lowest(run, pair)
    if len(found) > _MOST:
        yield (
            f"{sentences.number(len(found) - _MOST, 'more pair')}, mean cosine "
            f"{_signed(found[_MOST][0])} to {_signed(found[-1][0])}"
        )


def _lowest(run: RunHistory, pair: CosineHistory) -> str:
    known = np.isfinite(pair.cosines)
    counted = known.sum(axis=0)
    if (counted > 0).sum() < 2:
        return ""
    means = np.where(known, pair.cosines, 0).sum(axis=0) / np.maximum(counted, 1)
    lowest = int(np.where(counted > 0, means, np.inf).argmin())
    name = sentences.name(run.variables[int(pair.variables[lowest])].name)
    return f"; lowest mean of a variable {_signed(float(means[lowest]))} ({name})"


def _names(pair: CosineHistory) -> str:
    names = f"{sentences.name(pair.losses[0])} and {sentences.name(pair.losses[1])}"
    subtitle = labels.subtitle(pair.label)
    return f"{names} ({subtitle})" if subtitle else names


def _signed(value: float) -> str:
    return f"{value:+.2f}"
