"""`nan` and `inf`: gradients that are no numbers any more.

Seen: the first step with a NaN or Inf, and which variables had it: of those, the
last in the order of the forward pass is the first that the backward pass reached.

Usually: a logarithm or a division by zero, a square root at zero (its slope is
infinite), an overflow of float16, or weights that an earlier explosion ruined.

Try: an epsilon inside the logarithm, division or root; the `from_logits` form
of the loss; `tf.debugging.enable_check_numerics()` for the operation itself; for
float16 a loss scale.

What follows from something else is only said: a loss whose variables were ruined before its
own gradient was not finite, by the gradient of another one (see `ruined`), or by what came in
after `gradient()` (see `between`).

Not a fault, and not reported: steps that an optimizer with a loss scale left out
because the scale had overflowed (see `left_out` for those where it had not).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.between import Entry, entry_of
from tb_gradscope.diagnose.finding import Finding, Kind, Pattern, Severity, Span, where
from tb_gradscope.diagnose.nonfinite_reasons import advice
from tb_gradscope.diagnose.norms import Mask, names_of, record_at
from tb_gradscope.diagnose.ruined import (
    Culprit,
    Ruin,
    broken_records,
    culprit,
    is_exact,
    not_finite_before,
    ruined,
)
from tb_gradscope.diagnose.spans import last_stretch, span_of, spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, Place, RunHistory
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic

_STATES: tuple[tuple[State, Kind, str], ...] = (
    (State.NAN, "nan", "NaN"),
    (State.INF, "inf", "Inf"),
)

_OVERFLOW = (
    " In mixed precision it may be an overflow of the loss scale, which is no fault: "
    "gs.watch_optimizer(optimizer) tells the two apart."
)


def nonfinite(run: RunHistory, thresholds: Thresholds) -> Iterator[Finding]:
    """Yields losses whose gradients held NaN or Inf: a finding for each of the two."""
    for loss in run.losses:
        onsets = {}
        for state, kind, word in _STATES:
            if spans := spans_in(loss, state):
                onsets[state] = _Onset(state, kind, word, spans)
        for state, onset in onsets.items():
            other = next((one for each, one in onsets.items() if each != state), None)
            yield _finding(run, loss, onset, other)
        yield from _loss_alone(run, loss)


class _Onset:
    """How one of the two states began.

    Attributes:
      state: NAN or INF.
      step: the first one known.
      last: the last one known.
      columns: of the variables that were so first.
    """

    def __init__(self, state: State, kind: Kind, word: str, spans: dict[int, Span]) -> None:
        self.state, self.kind, self.word = state, kind, word
        self.step = min(span.first for span in spans.values())
        self.last = max(span.last for span in spans.values())
        self.columns = sorted(c for c, span in spans.items() if span.first == self.step)
        self.most = max(span.count for span in spans.values())


def _finding(run: RunHistory, loss: LossHistory, onset: _Onset, other: _Onset | None) -> Finding:
    names = names_of(run, loss, onset.columns)
    finite = _finite_at(loss, onset)
    span = _span(loss, onset)
    ruin = ruined(run, loss)
    severity: Severity = "warning"
    if ruin is not None or _broken_to_the_end(loss, onset.step):
        severity = "error"
    exact = is_exact(loss, onset.step)
    first = f"first {onset.word}" if exact else f"{onset.word} first seen"
    text = f"The gradient of {words.loss_name(loss)} is not finite: {first} at step {onset.step}"
    if finite:
        # The last in the order of the forward pass is what the backward pass reached first.
        text += f", in {words.named(names[::-1])} ({_others(finite)} finite)"
    else:
        text += f", in all {len(names)} variables" if len(names) > 1 else f", in {names[0]}"
    text += {
        "all": ", and in every record." if span.count > 1 else ", and there is no other record.",
        "from": ", and ever since." if span.count > 1 else ", and no record follows.",
        "once": ", and in no other record.",
        "intermittent": f", {_on_and_off(loss, span.count, onset.last)}.",
    }[span.pattern]
    if other is not None and other.step < onset.step:
        text += f" It was {other.word} before, from step {other.step} on."
    positions = not_finite_before(run, loss, onset.step)
    ill = [run.variables[position].name for position in positions]
    if cause := culprit(run, loss, onset.step) or entry_of(run, positions, onset.step):
        return _consequence(loss, names, onset.kind, span, text, cause, ill)
    text += _of_the_loss(loss, onset.step)
    ill = ill if exact else []
    if ill:
        text += f" {words.named(ill)} {_itself(ill)} not finite already."
    elif ruin is not None:
        text += f" {_since(ruin)}"
    spread = _spread(run, onset.step)
    return Finding(
        kind=onset.kind,
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=span,
        message=text + (f" {spread}" if spread else ""),
        advice=(
            advice(run, loss, onset.columns, onset.step, onset.word, bool(finite), ill)
            + (_OVERFLOW if _may_be_overflow(run, loss, onset, span) else "")
        ),
        where=where(_computed(loss, onset.step)),
        evidence={
            "threshold": None,
            "first_in_backward_order": names[-1],
            "nan_count": _count(loss, onset, Statistic.NAN_COUNT),
            "inf_count": _count(loss, onset, Statistic.INF_COUNT),
        },
    )


def _consequence(
    loss: LossHistory,
    names: tuple[str, ...],
    kind: Kind,
    span: Span,
    text: str,
    cause: Culprit | Entry,
    ill: Sequence[str],
) -> Finding:
    """Returns what follows from the gradient of another loss, or from what came in after one."""
    if isinstance(cause, Entry):
        begin, source, other = cause.span.first, cause.by, None
        place, what = cause.place, f"numbers that were not finite came in at step {begin}"
    else:
        begin, source, other = cause.step, words.loss_name(cause.loss), cause.loss.name
        place, what = _computed(cause.loss, begin), f"its gradient was not finite at step {begin}"
    return Finding(
        kind=kind,
        severity="info",
        loss=loss.name,
        label=loss.label,
        other_loss=other,
        variables=names,
        span=span,
        message=(
            f"{text} This follows from {source}: {what}, and {words.named(ill)} {_itself(ill)} "
            f"not finite any more at step {span.first}."
        ),
        advice=(
            f"Mend {source if other else 'that'} first: nothing here shows a fault of "
            f"{words.loss_name(loss)}."
        ),
        where=where(place),
        evidence={"threshold": None, "since_step": begin},
    )


def _may_be_overflow(run: RunHistory, loss: LossHistory, onset: _Onset, span: Span) -> bool:
    """Tells whether an optimizer that is not watched may just have lowered its loss scale."""
    at = record_at(loss.steps, onset.step)
    passes = span.count == 1 or not _broken_to_the_end(loss, onset.step)
    known = loss.label.stage == "unscaled" or any(one.has_loss_scale for one in run.optimizers)
    finite = at is not None and bool(np.isfinite(loss.loss_values[at]))
    return passes and finite and not known and ruined(run, loss) is None


def _itself(names: Sequence[str]) -> str:
    return "itself was" if len(names) == 1 else "themselves were"


def _since(ruin: Ruin) -> str:
    """Says since when variables are not finite, as far as records show it."""
    them = "itself is" if len(ruin.names) == 1 else "themselves are"
    seen = "from" if ruin.exact else "seen from"
    first = "" if ruin.together else "the first "
    return f"{words.named(ruin.names)} {them} not finite, {first}{seen} step {ruin.step} on."


def _on_and_off(loss: LossHistory, count: int, last: int) -> str:
    if again := last_stretch(broken_records(loss)):
        return f"and again from step {loss.steps[again]} on"
    return f"in {count} records in all, the last at step {last}"


def _of_the_loss(loss: LossHistory, step: int) -> str:
    """Says whether the loss itself was still finite."""
    at = record_at(loss.steps, step)
    if at is None:
        return ""
    value = float(loss.loss_values[at])
    known = loss.computed is not None or bool(np.isfinite(loss.loss_values).any())
    if np.isfinite(value):
        return f" The loss itself was still finite ({words.amount(value)})."
    return f" The loss itself was {words.amount(value)}." if known or np.isinf(value) else ""


def _broken_loss(loss: LossHistory) -> Mask:
    """Tells in which records the loss itself was NaN or Inf, but for steps left out."""
    values = loss.loss_values
    if not np.isfinite(values).any():  # its value may just not be known
        return np.zeros(len(values), bool)
    return ~np.isfinite(values) & ~np.isin(loss.steps, loss.skipped_steps)


def _loss_alone(run: RunHistory, loss: LossHistory) -> Iterator[Finding]:
    """Yields a loss that is not finite while its gradients are."""
    known = np.isin(loss.values[:, :, Statistic.STATE], (State.OK, State.ZERO)).any(axis=1)
    broken = broken_records(loss)
    alone = _broken_loss(loss) & ~broken & known
    if not alone.any() or broken[np.flatnonzero(alone)[-1] + 1 :].any():
        return  # or its gradients follow, and that is said
    span = span_of(loss.steps, alone)
    first = float(loss.loss_values[np.flatnonzero(alone)[0]])
    kind: Kind = "nan" if np.isnan(first) else "inf"
    name = f" {words.loss_name(loss)}"
    text = (
        f"The loss{name if name != ' loss' else ''} itself is {words.amount(first)} "
        f"{words.when(span)}, though its gradients are finite."
    )
    positions = not_finite_before(run, loss, span.first)
    ill = [run.variables[position].name for position in positions]
    if cause := culprit(run, loss, span.first) or entry_of(run, positions, span.first):
        yield _consequence(loss, (), kind, span, text, cause, ill)
        return
    yield Finding(
        kind=kind,
        severity="error" if span.pattern in ("all", "from") else "warning",
        loss=loss.name,
        label=loss.label,
        variables=(),
        span=span,
        message=text + (f" {words.named(ill)} {_itself(ill)} not finite then." if ill else ""),
        advice=(
            f"Look at what has changed {words.named(ill)} before."
            if ill
            else "Its value takes no part in the gradient, so training may look well: look for a "
            "log of what is below zero, or a division by zero, in the loss."
        ),
        where=where(loss.computed or loss.where),
        evidence={"threshold": None, "loss": str(first)},
    )


def _others(count: int) -> str:
    return "1 other was" if count == 1 else f"{count} others were"


def _computed(loss: LossHistory, step: int) -> Place | None:
    """Returns where the loss is computed if it was not finite itself, else the gradient's line."""
    at = record_at(loss.steps, step)
    if at is None or loss.computed is None:
        return loss.where
    return loss.where if np.isfinite(loss.loss_values[at]) else loss.computed


def _finite_at(loss: LossHistory, onset: _Onset) -> int:
    """Returns how many variables had finite gradients when it began."""
    at = record_at(loss.steps, onset.step)
    if at is None:
        return 0
    states = loss.values[at, :, Statistic.STATE]
    return int(np.isin(states, (State.OK, State.ZERO)).sum())


def _span(loss: LossHistory, onset: _Onset) -> Span:
    if onset.most >= loss.records:
        return Span(onset.step, onset.last, "all", onset.most)
    states = loss.values[:, :, Statistic.STATE]
    here = np.any(states == onset.state, axis=1)[loss.steps >= onset.step]
    if bool(here.size) and bool(here.all()):
        return Span(onset.step, onset.last, "from", onset.most)
    pattern: Pattern = "once" if onset.most == 1 else "intermittent"
    return Span(onset.step, onset.last, pattern, onset.most)


def _broken_to_the_end(loss: LossHistory, step: int) -> bool:
    """Tells whether no record since is finite: the weights are likely broken too."""
    after = broken_records(loss)[loss.steps >= step]
    return not after.size or bool(after.all())


def _spread(run: RunHistory, onset: int) -> str:
    """Says whether clipping carried it from some gradients into all."""
    for clip in run.clips:
        at = record_at(clip.steps, onset)
        if at is None or clip.method != "global_norm":
            continue
        before, after = clip.norms[at, :, 0], clip.norms[at, :, 1]
        there = ~is_absent(before)
        broken = there & ~np.isfinite(before)
        if 0 < broken.sum() < there.sum() and not np.isfinite(after[there]).any():
            culprits = [clip.variables[row] for row in np.flatnonzero(broken)]
            return (
                f"{clip.name} spread it to all {int(there.sum())} gradients: only "
                f"{words.named(culprits)} had it before."
            )
    return ""


def _count(loss: LossHistory, onset: _Onset, statistic: Statistic) -> int | None:
    """Returns how many elements were NaN, or Inf, when it began; None where none were counted."""
    at = record_at(loss.steps, onset.step)
    if at is None:
        return None
    counts = np.nan_to_num(loss.values[at, onset.columns])
    if not counts[:, [Statistic.NAN_COUNT, Statistic.INF_COUNT]].any(axis=1).all():
        return None  # large gradients that were not finite before
    return int(counts[:, statistic].sum())
