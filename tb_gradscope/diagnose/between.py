"""`nan` and `inf` that come in between `gradient()` and the weights: by hands that follow it.

Seen: gradients that were finite before a clip site and not after it; that were finite as
`gradient()` returned them, and not where they reached a clip site or a watched optimizer; or
updates that were not finite though gradients and variables were.

Usually: a clipper of one's own that divides by a norm of zero, a mean over nothing, a
learning rate of a schedule that divides by zero.

Try: what the finding names: the line of the clip site, what the program does with its
gradients, the learning rate.

Only said where records of that very step show it. What a loss scale has left out is none of
it, nor micro-batches, which are summed before they get there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Kind, Pattern, Span, where
from tb_gradscope.diagnose.norms import Mask, Values
from tb_gradscope.diagnose.ruined import broken_weights, finite_weights, is_ruined
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import (
    ClipHistory,
    LossHistory,
    OptimizerHistory,
    Place,
    RunHistory,
)
from tb_gradscope.format.packing import Counts
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic

_CAME = (
    "The gradient of {names} was finite as gradient() returned it, and {word} where it reached "
    "{site} {when}"
)
_LOOK_BETWEEN = (
    "Look at what the program does with it between the two: a clipper, a division, a scale, a "
    "mean. gs.record_clipping shows what a clipper of your own does."
)
_LARGE = 1e15  # norms whose square has room in float32


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where numbers that are not finite came in.

    Attributes:
      by: name of the clip site or optimizer.
      span: the steps at which records show it.
      positions: of the variables at the first, in `RunHistory.variables`.
      kind: which of the two.
      what: one sentence without its end.
      advice: what to look at.
      place: the line of the clip site, or where the optimizer is called.
      is_last: no record of that site or optimizer follows.
    """

    by: str
    span: Span
    positions: tuple[int, ...]
    kind: Kind
    what: str
    advice: str
    place: Place | None
    is_last: bool


def between(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields where gradients stopped being finite after `gradient()`."""
    for entry in entries(run):
        names = [run.variables[position].name for position in entry.positions]
        ill = [run.variables[at].name for at in entry.positions if is_ruined(run, at)]
        be = "is" if len(ill) == 1 else "are"
        yield Finding(
            kind=entry.kind,
            severity="error" if ill or entry.is_last else "warning",
            loss=None,
            variables=tuple(names),
            span=entry.span,
            message=entry.what + (f"; {words.named(ill)} {be} not finite since." if ill else "."),
            advice=entry.advice,
            where=where(entry.place),
            evidence={"threshold": None, "by": entry.by},
        )


def entries(run: RunHistory) -> list[Entry]:
    """Returns where numbers that are not finite came in: the first of each variable."""
    found = [entry for clip in run.clips for entry in _by_clip(run, clip)]
    found += [entry for optimizer in run.optimizers for entry in _by_optimizer(run, optimizer)]
    kept = list[Entry]()
    for entry in sorted(found, key=lambda one: one.span.first):  # clip sites stay before optimizers
        if not any(set(entry.positions) & set(one.positions) for one in kept):
            kept.append(entry)
    return kept


def entry_of(run: RunHistory, positions: Counts, step: int) -> Entry | None:
    """Returns where it came in that variables were not finite at a step; None if not by this."""
    if not len(positions):
        return None
    ill = set(positions.tolist())
    before = (one for one in entries(run) if one.span.first < step and ill & set(one.positions))
    return next(before, None)


def broken_updates(of: OptimizerHistory) -> Mask:
    """Tells which updates were made of finite numbers and not finite, `[record, variable]`.

    A NaN also stands for what could not be had, so one is believed only of a variable whose
    updates were measured before.
    """
    updates = of.update_norms
    known = np.logical_or.accumulate(np.isfinite(updates), axis=0)
    states = of.values[:, :, Statistic.STATE]
    finite = np.isin(states, (State.OK, State.ZERO)) & finite_weights(of)
    # An optimizer's own clipping carries what is in one gradient into all.
    finite &= ~np.isin(states, (State.NAN, State.INF)).any(axis=1, keepdims=True)
    broken: Mask = finite & (np.isinf(updates) | (np.isnan(updates) & known))
    return broken


def broken_rates(of: OptimizerHistory) -> Mask:
    """Tells in which records the learning rate was not finite, `[record]`.

    A NaN also stands for a rate that is not known, so one is believed only after numbers.
    """
    rates = of.learning_rates
    known = np.logical_or.accumulate(np.isfinite(rates))
    broken: Mask = np.isinf(rates) | (np.isnan(rates) & known)
    return broken


def _by_clip(run: RunHistory, clip: ClipHistory) -> Iterator[Entry]:
    positions = {variable.name: at for at, variable in enumerate(run.variables)}
    rows = [row for row, name in enumerate(clip.variables) if name in positions]
    of = np.array([positions[clip.variables[row]] for row in rows], np.int64)
    before, after = clip.norms[:, rows, 0], clip.norms[:, rows, 1]
    there = ~is_absent(before) & ~is_absent(after)
    site = words.site_name(clip)
    all_finite = np.all(np.isfinite(before) | ~there, axis=1)
    made = there & ~np.isfinite(after) & all_finite[:, None]
    if made.any():
        yield _entry(
            run,
            clip,
            of,
            made,
            np.isnan(after),
            "{site} made {word} of finite gradients {when}: of {names}",
            "Look at how it clips: a division by a norm of 0, or a norm that overflows.",
            site,
        )
    norms = _norms_before(run, clip, of)
    # The norm of large numbers is infinite where it is taken as TensorFlow does.
    came = there & ((np.isnan(before) & ~np.isnan(norms)) | (np.isinf(before) & (norms < _LARGE)))
    if came.any():
        yield _entry(run, clip, of, came, np.isnan(before), _CAME, _LOOK_BETWEEN, site)


def _by_optimizer(run: RunHistory, of: OptimizerHistory) -> Iterator[Entry]:
    taken = ~np.isin(of.steps, of.skipped_steps)[:, None]
    states = of.values[:, :, Statistic.STATE]
    came = np.isin(states, (State.NAN, State.INF)) & finite_weights(of) & taken
    came &= ~np.isnan(_norms_before(run, of, of.variables))
    if came.any():
        advice = _passed(run, of, came) + _LOOK_BETWEEN
        yield _entry(run, of, of.variables, came, states == State.NAN, _CAME, advice, of.name)
    made = broken_updates(of) & taken
    if not made.any():
        return
    at = int(np.flatnonzero(made.any(axis=1))[0])
    why, advice = "", "Look at its epsilon, its own state and its learning rate."
    if broken_rates(of)[at]:
        rate = words.amount(float(of.learning_rates[at]))
        why = f", for its learning rate was {rate}"
        advice = f"Look at what sets the learning rate of {of.name}."
    what = "{site} made an update of {word} out of finite gradients {when}" + why + ": of {names}"
    yield _entry(run, of, of.variables, made, np.isnan(of.update_norms), what, advice, of.name)


def _passed(run: RunHistory, of: OptimizerHistory, came: Mask) -> str:
    """Names clip sites that gradients pass on their way to an optimizer, but for its own."""
    names = {run.variables[position].name for position in of.variables[came.any(axis=0)]}
    sites = [
        clip.name + (f" ({words.line(clip.where)})" if clip.where else "")
        for clip in run.clips
        if names & set(clip.variables) and not clip.name.startswith(f"{of.name}.")
    ]
    return f"It may have passed {words.joined(sites)}. " if sites else ""


def _entry(
    run: RunHistory,
    of: ClipHistory | OptimizerHistory,
    positions: Counts,
    here: Mask,
    is_nan: Mask,
    what: str,
    advice: str,
    site: str,
) -> Entry:
    """Makes one of what records show, `here` `[record, variable]`."""
    records = np.flatnonzero(here.any(axis=1))
    first = here[records[0]]
    nan = bool(is_nan[records[0]][first].any())
    pattern: Pattern = "once" if len(records) == 1 else "intermittent"
    span = Span(int(of.steps[records[0]]), int(of.steps[records[-1]]), pattern, len(records))
    found = tuple(int(position) for position in positions[first])
    when = f"at step {span.first}"
    if len(records) > 1:
        when = f"in {len(records)} records, first {when}"
    names = words.named([run.variables[position].name for position in found])
    return Entry(
        by=of.name,
        span=span,
        positions=found,
        kind="nan" if nan else "inf",
        what=what.format(site=site, word="NaN" if nan else "Inf", when=when, names=names),
        advice=advice,
        place=of.where,
        is_last=bool(records[-1] == len(of.steps) - 1),
    )


def _norms_before(run: RunHistory, of: ClipHistory | OptimizerHistory, positions: Counts) -> Values:
    """Returns the largest norm with which losses gave the gradients that got to `of`.

    Args:
      run: of these losses.
      of: what got the gradients.
      positions: of its variables.

    Returns:
      float64 `[record, variable]`: infinite where it is not known, but known to be finite;
      NaN where not even that is.
    """
    shape = (len(of.steps), len(positions))
    norms, seen = np.full(shape, np.nan), np.zeros(len(positions), bool)
    for loss in run.losses:
        here = np.isin(positions, loss.variables)
        if loss.traced_only or not here.any():
            continue
        columns = [int(np.flatnonzero(loss.variables == at)[0]) for at in positions[here]]
        given = _norms_given(loss, of)[:, columns]
        norms[:, here] = np.where(seen[here], np.maximum(norms[:, here], given), given)
        seen |= here
    return norms


def _norms_given(loss: LossHistory, of: ClipHistory | OptimizerHistory) -> Values:
    """Returns the norms of a loss at the steps of `of`, as `_norms_before` does."""
    unknown = np.full((len(of.steps), len(loss.variables)), np.nan)
    whole = all(one.batch == "whole" and one.replicas == 1 for one in (loss.label, of.label))
    if not whole or not len(loss.steps):
        return unknown
    states = loss.values[:, :, Statistic.STATE]
    broken: Mask = np.any(np.isin(states, (State.NAN, State.INF)), axis=1)
    by_itself = broken & ~broken_weights(loss).any(axis=1)
    # Steps that are counted by calls need not be the same ones.
    if by_itself.any() and not loss.label.step_source == of.label.step_source == "user":
        return unknown
    after = np.searchsorted(loss.steps, of.steps, side="right")
    at, following = np.maximum(after - 1, 0), np.minimum(after, len(loss.steps) - 1)
    exact: Mask = np.equal(loss.steps[at], of.steps)
    # What was not recorded was counted.
    unseen = loss.nonfinite[following] - loss.nonfinite[at] - broken[following]
    known = (after > 0) & ~broken[at] & (exact | loss.watched)
    known &= np.equal(after, len(loss.steps)) | (unseen <= 0)
    norms = np.where(exact[:, None], loss.values[at, :, Statistic.NORM].astype(np.float64), np.inf)
    return np.where(known[:, None], norms, unknown)
