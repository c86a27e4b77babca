"""`clip_saturated` and `clip_never`: clipping that decides everything, or nothing.

Seen: the fraction of steps clipped at a site, those with a norm that is not
finite left out; how much of the norm is left; whose share of it is largest.

Usually: a threshold that was copied rather than measured. Above 50 % clipping is
the step size (Google's Tuning Playbook calls that extremely aggressive: lower
the learning rate instead); many recipes for language models and RL live with
it, so it is only said, and a warning where next to nothing of the norm is left.

Try: the 90th percentile of the norms before clipping as the threshold, which
clips about 10 % of the steps.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Severity, Span, where
from tb_gradscope.diagnose.norms import median
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import ClipHistory, RunHistory
from tb_gradscope.format.record import is_absent

_FEWEST_CALLS = 20


def clipping(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields clip sites that clip nearly always, or never."""
    for clip in run.clips:
        if len(clip.steps) < thresholds.min_records:
            continue
        calls, clipped = _lately(clip)
        if calls < min(_FEWEST_CALLS, 2 * thresholds.min_records):
            continue
        fraction = clipped / calls
        if fraction >= thresholds.clip_saturated:
            yield _saturated(clip, fraction, thresholds)
        elif not clip.clipped[-1] and clip.calls[-1] >= thresholds.clip_never_calls:
            yield from _never(clip, thresholds)


def _lately(clip: ClipHistory) -> tuple[int, int]:
    """Returns the finite calls of the second half of the run, and how many of them clipped."""
    half = (len(clip.steps) - 1) // 2
    calls = int(clip.calls[-1] - clip.calls[half])
    nonfinite = int(clip.nonfinite[-1] - clip.nonfinite[half])
    return max(0, calls - nonfinite), int(clip.clipped[-1] - clip.clipped[half])


def _saturated(clip: ClipHistory, fraction: float, thresholds: Thresholds) -> Finding:
    half = len(clip.steps) // 2
    scale = float(median(np.asarray(clip.scale[half:], np.float64)))
    culprit, share = _culprit(clip, half)
    threshold = float(clip.threshold[-1])
    severity: Severity = "warning" if scale < thresholds.clip_scale else "info"
    text = (
        f"{words.site_name(clip)} clips {words.percent(fraction)} of the steps and leaves "
        f"{words.percent(scale) if scale >= 0.01 else words.amount(scale)} of the norm, so it is "
        "the step size rather than a safety net"
    )
    if share >= 0.5:
        text += f"; {words.percent(share)} of the squared norm is {culprit}'s"
    if clip.after:
        text += f"; what it clips was clipped by {clip.after} already"
    usual = np.asarray(clip.norm_before[half:], np.float64)
    usual = usual[np.isfinite(usual)]
    at = float(np.percentile(usual, 90)) if len(usual) else np.nan
    return Finding(
        kind="clip_saturated",
        severity=severity,
        loss=None,
        variables=(culprit,) if share >= 0.5 else (),
        span=Span(int(clip.steps[0]), int(clip.steps[-1]), "intermittent", int(clip.clipped[-1])),
        message=text + ".",
        advice=(
            f"Lower the learning rate, or raise the threshold from {words.amount(threshold)} to "
            f"about {words.amount(at)}, the 90th percentile of the norms before clipping."
        ),
        where=where(clip.where),
        evidence={
            **thresholds.evidence("clip_saturated"),
            "site": clip.name,
            "fraction": fraction,
            "scale": scale,
            "clip_threshold": threshold,
            "share": share,
        },
    )


def _never(clip: ClipHistory, thresholds: Thresholds) -> Iterator[Finding]:
    threshold = float(clip.threshold[-1])
    norms = np.asarray(clip.norm_before, np.float64)
    largest = float(np.nanmax(np.where(np.isfinite(norms), norms, np.nan), initial=0))
    if clip.method == "value" or not largest <= thresholds.clip_never * threshold:
        return
    calls = int(clip.calls[-1])
    yield Finding(
        kind="clip_never",
        severity="info",
        loss=None,
        variables=(),
        span=Span(int(clip.steps[0]), int(clip.steps[-1]), "all", calls),
        message=(
            f"{words.site_name(clip)} never clipped in {calls} "
            f"{'' if clip.counts_every_call else 'recorded '}calls: the largest norm was "
            f"{words.amount(largest)}, the threshold is {words.amount(threshold)}."
        ),
        advice="Fine as a safety net; if it was meant to work, lower the threshold.",
        where=where(clip.where),
        evidence={
            **thresholds.evidence("clip_never"),
            "site": clip.name,
            "largest_norm": largest,
            "clip_threshold": threshold,
        },
    )


def _culprit(clip: ClipHistory, start: int) -> tuple[str, float]:
    """Returns who has the largest share of the squared norm, and how large it is."""
    before = np.asarray(clip.norms[start:, :, 0], np.float64)
    before = np.where(is_absent(clip.norms[start:, :, 0]) | ~np.isfinite(before), 0, before)
    largest = before.max(axis=1, keepdims=True, initial=0)
    squares = (before / np.where(largest > 0, largest, 1)) ** 2
    total = squares.sum(axis=1, keepdims=True)
    shares = median(squares / np.where(total > 0, total, 1))
    if not shares.size:
        return "", 0.0
    most = int(np.argmax(shares))
    return clip.variables[most], float(shares[most])
