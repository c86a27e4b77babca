"""`exploding`: norms that grow and grow, jump, or start far too large.

Seen: a norm that has grown a hundredfold over the run and still grows, as an
exponential does, or with a loss that has grown as much (a critic without bounds); records
a hundred times above those before them; or first norms a thousand times what
follows and the variable's own norm.

Usually: the learning rate is too large, a recurrence multiplies, the loss is not
normalised (summed rather than averaged), or the initial weights are too large.

Try: a smaller learning rate or warm-up, `clip_by_global_norm` at about the 90th
percentile of the norms seen here (Google's Tuning Playbook), a smaller
initialisation, a mean in place of a sum.

A norm is compared with the variable's own past alone. Growth that levels off (a
branch that starts at zero) is healthy; so is a jump to no more than training began with
(a network that has learned all of its data, but for one example), and a lone jump that
clipping held, or that training gets over: a warning only where it keeps jumping, or
where afterwards the loss stays above ten times the largest it was before.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Pattern, Severity, Span, where
from tb_gradscope.diagnose.norms import (
    Mask,
    Norms,
    Values,
    deviation,
    log10,
    median,
    names_of,
    norms_of,
    rank_correlation,
)
from tb_gradscope.diagnose.roles import role
from tb_gradscope.diagnose.spans import span_of
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, RunHistory

_WINDOW = 50  # records that show what is usual
_CLEAR = 0.7  # rank correlation with time from which on a trend is one
_BEGIN = 10  # records that show how it began, where the loss runs away too
_DOUBLED = 2.0  # since the middle
_STILL = 0.25  # share of the growth that the second half must have
_LEAST_DEVIATION = 0.05  # of log10: 12 %, the noise of any mini-batch
_WORSE = 10.0  # times the largest loss before the jumps
_FEWEST = 3  # that show what is usual
_SCALED = (
    " In mixed precision it may be the loss scale alone, which is no fault: "
    "gs.watch_optimizer(optimizer) takes it out of all numbers."
)
_BEYOND = 1e4  # a norm that no layer needs


def exploding(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields losses whose gradients grow out of bounds."""
    for loss in run.losses:
        if loss.traced_only or len(loss.steps) < thresholds.min_records:
            continue
        norms = norms_of(loss)
        grown = list(_growth(run, norms, thresholds))
        yield from grown
        if not grown:
            spikes = list(_spikes(run, norms, thresholds))
            yield from spikes or _initial(run, norms, thresholds)


def _growth(run: RunHistory, norms: Norms, thresholds: Thresholds) -> Iterator[Finding]:
    loss, regular = norms.loss, norms.regular & _before_the_end(norms)
    logs = log10(norms.norms[regular])
    count = len(logs)
    if count < thresholds.min_records:
        return
    third = max(2, count // 5)
    early, middle, late = (
        median(logs[:third]),
        median(logs[(count - third) // 2 : (count + third) // 2]),
        median(logs[-third:]),
    )
    growth = late - early
    weights = log10(norms.weights[regular])
    weight_growth = median(weights[-third:]) - median(weights[:third])
    relative = late - median(weights[-third:])
    with np.errstate(invalid="ignore"):
        large = (relative >= 0) | (weight_growth >= 1) | (late >= np.log10(_BEYOND))
        candidates = (growth >= np.log10(thresholds.growth)) & large
        candidates &= (late - middle) >= _STILL * growth
        begin = median(logs[: min(third, _BEGIN)])
        runs_away = (late - begin >= np.log10(thresholds.growth)) & large
        runs_away &= (late - middle >= np.log10(_DOUBLED)) & _loss_has_grown(norms, thresholds)
    early, growth = np.where(runs_away, begin, early), np.where(runs_away, late - begin, growth)
    candidates |= runs_away
    found = [
        column
        for column in np.flatnonzero(candidates).tolist()
        if rank_correlation(logs[:, column]) >= _CLEAR
    ]
    if not found:
        return
    worst = max(found, key=lambda column: growth[column])
    steps = loss.steps[regular]
    onset = _onset(logs[:, worst], float(early[worst]))
    ratio = float(10 ** growth[worst])
    broken = bool(np.isnan(norms.whole[-1]))
    variables = names_of(run, loss, found)
    severity: Severity = "error" if ratio >= 100 * thresholds.growth or broken else "warning"
    span = Span(int(steps[onset]), int(loss.steps[-1]), "from", count - onset)
    yield Finding(
        kind="exploding",
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=variables,
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} explodes: the norm for "
            f"{names_of(run, loss, [worst])[0]} has grown {words.times(ratio)} since "
            f"step {span.first} and still grows ({words.amount(10 ** float(early[worst]))} -> "
            f"{words.amount(10 ** float(late[worst]))})"
            + (f", and that of {len(found) - 1} more." if len(found) > 1 else ".")
        ),
        advice=(
            "Lower the learning rate (or warm it up), and clip with gs.clip_by_global_norm at "
            f"about {words.amount(_clip_at(norms))}, {_as_before(norms)}."
        ),
        where=where(loss.where),
        evidence={
            **thresholds.evidence("growth"),
            "growth": ratio,
            "norm_before": 10 ** float(early[worst]),
            "norm": 10 ** float(late[worst]),
        },
    )


def _before_the_end(norms: Norms) -> Mask:
    """Tells which records come before the whole is not finite for good."""
    finite = np.flatnonzero(np.isfinite(norms.whole))
    return np.arange(len(norms.whole)) <= (finite[-1] if len(finite) else -1)


def _loss_has_grown(norms: Norms, thresholds: Thresholds) -> bool:
    """Tells whether the loss itself has run away, above or below zero."""
    values = np.abs(norms.loss.loss_values[norms.regular].astype(np.float64))
    begin, end = median(values[:_BEGIN]), median(values[-_BEGIN:])
    return bool(end >= thresholds.growth * begin > 0)


def _spikes(run: RunHistory, norms: Norms, thresholds: Thresholds) -> Iterator[Finding]:
    loss = norms.loss
    whole = log10(norms.whole)
    usually = _usual_of_jumps(whole, norms.regular, thresholds)
    above = np.isfinite(usually)
    columns: npt.NDArray[np.int64] = np.zeros(0, np.int64)
    if not above.any():
        return
    at = np.flatnonzero(above)
    peak = int(at[np.argmax(whole[at])])
    usual = float(usually[peak])
    ratio = float(10 ** (whole[peak] - usual))
    calm = norms.whole[: at[0]][norms.regular[: at[0]]]
    calm = calm[np.isfinite(calm)]
    is_usual = len(calm) >= _FEWEST
    what, so_far = ("what is usual", "usually") if is_usual else ("what was before", "before")
    share = norms.norms[peak] / max(norms.whole[peak], 1e-300)
    columns = np.flatnonzero(np.nan_to_num(share) >= 0.3)
    culprits = names_of(run, loss, columns.tolist())
    span = span_of(loss.steps, above)
    after_is_broken = bool(np.isnan(norms.whole[at[-1] :]).any())
    held = _is_clipped(run, loss)
    severity: Severity = "warning"
    if after_is_broken:
        severity = "error"
    elif held or (len(at) < 3 and not _is_worse(loss, at)):
        severity = "info"
    yield Finding(
        kind="exploding",
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=culprits,
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} jumps {words.when(span)}: up to "
            f"{words.times(ratio)} {what} (norm {words.amount(10 ** float(whole[peak]))} "
            f"at step {loss.steps[peak]}, {so_far} {words.amount(10**usual)})"
            + (f", most of it in {words.named(culprits)}" if culprits else "")
            + (", then it is not finite any more." if after_is_broken else ".")
        ),
        advice=(
            "Clipping held it; look at the data of these steps."
            if held
            else f"Clip with gs.clip_by_global_norm at about {words.amount(_percentile(calm))}, "
            "and look at the data of these steps."
        ),
        where=where(loss.where),
        evidence={
            **thresholds.evidence("spike"),
            "ratio": ratio,
            "usual_norm": 10**usual,
            "norm": 10 ** float(whole[peak]),
            "largest_at_step": int(loss.steps[peak]),
        },
    )


def _is_worse(loss: LossHistory, at: npt.NDArray[np.int64]) -> bool:
    """Tells whether training has not got over these jumps: the loss is far above what it was."""
    values = loss.loss_values.astype(np.float64)
    before, after = values[: at[0]], values[at[-1] + 1 :]
    if len(after) < len(before):
        return False
    return float(median(after)) > _WORSE * float(np.max(np.abs(before), initial=0)) > 0


def _initial(run: RunHistory, norms: Norms, thresholds: Thresholds) -> Iterator[Finding]:
    loss = norms.loss
    first = norms.norms[: max(1, min(3, len(norms.norms) - 2))]
    later = median(norms.norms[len(first) :])
    start = median(first)
    weights = median(norms.weights[: len(first)])
    with np.errstate(all="ignore"):
        drop, relative = start / later, np.where(_have_scale(run, loss), start / weights, np.nan)
        begins = (drop >= thresholds.initial) & (relative >= thresholds.initial)
        stays = relative >= 10 * thresholds.initial
    found = np.flatnonzero(begins | stays)
    if not len(found):
        return
    worst = int(found[np.argmax(relative[found])])
    count = len(first) if begins[worst] else loss.records
    last = loss.steps[len(first) - 1] if begins[worst] else loss.steps[-1]
    pattern: Pattern = "intermittent" if begins[worst] else "all"
    span = Span(int(loss.steps[0]), int(last), pattern, count)
    may_be_scaled = loss.label.stage == "raw" and not any(
        one.has_loss_scale for one in run.optimizers
    )
    ratio = f"{words.times(float(relative[worst]))} the variable's own norm"
    if begins[worst]:
        ratio += f" and {words.times(float(drop[worst]))} what follows"
    yield Finding(
        kind="exploding",
        severity="warning",
        loss=loss.name,
        label=loss.label,
        variables=names_of(run, loss, found.tolist()),
        span=span,
        message=(
            f"The gradient of {words.loss_name(loss)} is far too large "
            f"{'in the first steps' if begins[worst] else 'from the first step on'}: for "
            f"{names_of(run, loss, [worst])[0]} {ratio}"
            + (f", and so for {len(found) - 1} more." if len(found) > 1 else ".")
        ),
        advice=(
            "Make the initial weights or the scale of the inputs and targets smaller, or warm "
            "the learning rate up." + (_SCALED if may_be_scaled and not begins[worst] else "")
        ),
        where=where(loss.where),
        evidence={
            **thresholds.evidence("initial"),
            "ratio": float(drop[worst]),
            "to_variable": float(relative[worst]),
        },
    )


def _have_scale(run: RunHistory, loss: LossHistory) -> Mask:
    """Tells which variables have a norm to compare with: biases and gains may start at zero."""
    return np.array(
        [role(run.variables[p]) not in ("bias", "normalization", "other") for p in loss.variables],
        bool,
    )


def _usual_of_jumps(logs: Values, regular: Mask, thresholds: Thresholds) -> Values:
    """Returns what was usual before each record that stands far above it; NaN of all others."""
    usually = np.full(len(logs), np.nan)
    past: list[float] = []
    least = np.log10(thresholds.spike)
    for position, value in enumerate(logs):
        recent = past[-_WINDOW:]
        # Hardly any record is: medians are only taken where one may be.
        may_be = np.isfinite(value) and value - min(recent, default=np.inf) >= least
        few = thresholds.min_records
        if may_be and len(past) >= few and value > float(np.median(past[:few])):
            usual = float(np.median(recent))
            noise = max(deviation(np.array(recent)), _LEAST_DEVIATION)
            if value - usual >= max(least, thresholds.spike_deviations * noise):
                usually[position] = usual
        if np.isfinite(value) and regular[position]:
            past.append(float(value))
    return usually


def _onset(logs: Values, early: float) -> int:
    """Returns the first record from which on the norm stays above ten times the early one."""
    below = np.flatnonzero(~(logs > early + 1))
    return int(min(below[-1] + 1, len(logs) - 1)) if len(below) else 0


def _first_half(norms: Norms) -> Values:
    whole = norms.whole[: max(2, len(norms.whole) // 2)]
    return whole[np.isfinite(whole)]


def _as_before(norms: Norms) -> str:
    return "what was usual before" if len(_first_half(norms)) >= _FEWEST else "as at first"


def _clip_at(norms: Norms) -> float:
    """Returns the 90th percentile of the first half of the norms."""
    return _percentile(_first_half(norms))


def _percentile(whole: Values) -> float:
    return float(np.percentile(whole, 90)) if len(whole) else 1.0


def _is_clipped(run: RunHistory, loss: LossHistory) -> bool:
    names = {run.variables[position].name for position in loss.variables}
    return any(
        bool(len(clip.clipped) and clip.clipped[-1] and names & set(clip.variables))
        for clip in run.clips
    )
