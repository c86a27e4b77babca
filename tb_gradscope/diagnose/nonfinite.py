"""`nan` and `inf`: gradients that are no numbers any more.

Seen: the first step with a NaN or Inf, and which variables had it: of those, the
last in the order of the forward pass is the first that the backward pass reached.

Usually: a logarithm or a division by zero, a square root at zero (its slope is
infinite), an overflow of float16, or weights that an earlier explosion ruined.

Try: an epsilon inside the logarithm, division or root; the `from_logits` form
of the loss; `tf.debugging.enable_check_numerics()` for the operation itself; for
float16 a loss scale.

Not a fault, and not reported: steps that an optimizer with a loss scale left out
because the scale had overflowed (see `left_out` for those where it had not).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Finding, Kind, Pattern, Severity, Span, where
from tb_gradscope.diagnose.norms import Mask, last_weights, names_of, norms_of
from tb_gradscope.diagnose.roles import role
from tb_gradscope.diagnose.spans import span_of, spans_in
from tb_gradscope.diagnose.thresholds import Thresholds
from tb_gradscope.format.history import LossHistory, Place, RunHistory, Steps
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State, Statistic

_STATES: tuple[tuple[State, Kind, str], ...] = (
    (State.NAN, "nan", "NaN"),
    (State.INF, "inf", "Inf"),
)

_BEFORE = 4  # records that show a growth
_GROWN = 100
_LEAPT = 1e6  # losses of a training that still works stay far below


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
        yield from _loss_alone(loss)


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
    ruined = _ruined(run, loss)
    severity: Severity = "warning"
    if ruined or _broken_to_the_end(loss, onset.step):
        severity = "error"
    exact = loss.watched or loss.records == (loss.calls[-1] if len(loss.calls) else 0)
    first = f"first {onset.word}" if exact else f"{onset.word} first seen"
    text = f"The gradient of {words.loss_name(loss)} is not finite: {first} at step {onset.step}"
    if finite:
        # The last in the order of the forward pass is what the backward pass reached first.
        text += f", in {words.named(names[::-1])} ({_others(finite)} finite)"
    else:
        text += f", in all {len(names)} variables" if len(names) > 1 else f", in {names[0]}"
    text += {
        "all": ", and in every record.",
        "from": ", and ever since.",
        "once": ", and in no other record.",
        "intermittent": f", {_on_and_off(loss, span.count, onset.last)}.",
    }[span.pattern]
    if other is not None and other.step < onset.step:
        text += f" It was {other.word} before, from step {other.step} on."
    text += _of_the_loss(loss, onset.step)
    if ruined:
        itself = "itself is" if len(ruined) == 1 else "themselves are"
        text += f" {words.named(ruined)} {itself} not finite since."
    spread = _spread(run, onset.step)
    return Finding(
        kind=onset.kind,
        severity=severity,
        loss=loss.name,
        label=loss.label,
        variables=names,
        span=span,
        message=text + (f" {spread}" if spread else ""),
        advice=_advice(run, loss, names[-1], bool(finite), onset),
        where=where(_computed(loss, onset.step)),
        evidence={
            "threshold": None,
            "first_in_backward_order": names[-1],
            "nan_count": _count(loss, onset, Statistic.NAN_COUNT),
            "inf_count": _count(loss, onset, Statistic.INF_COUNT),
        },
    )


def _on_and_off(loss: LossHistory, count: int, last: int) -> str:
    broken = _broken(loss)
    if broken[-1] and not broken.all():
        again = int(np.flatnonzero(~broken)[-1]) + 1
        return f"and again from step {loss.steps[again]} on"
    return f"in {count} records in all, the last at step {last}"


def _record_at(steps: Steps, step: int) -> int | None:
    """Returns the index of the record of a step, None where there is none."""
    at = np.flatnonzero(steps == step)
    return int(at[0]) if len(at) else None


def _of_the_loss(loss: LossHistory, step: int) -> str:
    """Says whether the loss itself was still finite."""
    at = _record_at(loss.steps, step)
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


def _loss_alone(loss: LossHistory) -> Iterator[Finding]:
    """Yields a loss that is not finite while its gradients are."""
    known = np.isin(loss.values[:, :, Statistic.STATE], (State.OK, State.ZERO)).any(axis=1)
    broken = _broken(loss)
    alone = _broken_loss(loss) & ~broken & known
    if not alone.any() or broken[np.flatnonzero(alone)[-1] + 1 :].any():
        return  # or its gradients follow, and that is said
    span = span_of(loss.steps, alone)
    first = float(loss.loss_values[np.flatnonzero(alone)[0]])
    kind: Kind = "nan" if np.isnan(first) else "inf"
    name = f" {words.loss_name(loss)}"
    yield Finding(
        kind=kind,
        severity="error" if span.pattern in ("all", "from") else "warning",
        loss=loss.name,
        label=loss.label,
        variables=(),
        span=span,
        message=(
            f"The loss{name if name != ' loss' else ''} itself is {words.amount(first)} "
            f"{words.when(span)}, though its gradients are finite."
        ),
        advice=(
            "Its value takes no part in the gradient, so training may look well: look for a log of "
            "what is below zero, or a division by zero, in the loss."
        ),
        where=where(loss.computed or loss.where),
        evidence={"threshold": None, "loss": str(first)},
    )


def _others(count: int) -> str:
    return "1 other was" if count == 1 else f"{count} others were"


def _computed(loss: LossHistory, step: int) -> Place | None:
    """Returns where the loss is computed if it was not finite itself, else the gradient's line."""
    at = _record_at(loss.steps, step)
    if at is None or loss.computed is None:
        return loss.where
    return loss.where if np.isfinite(loss.loss_values[at]) else loss.computed


def _finite_at(loss: LossHistory, onset: _Onset) -> int:
    """Returns how many variables had finite gradients when it began."""
    at = _record_at(loss.steps, onset.step)
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


def _ruined(run: RunHistory, loss: LossHistory) -> tuple[str, ...]:
    """Names the variables that held finite numbers at first, and at last do not."""
    if not len(loss.values):
        return ()
    first, last = last_weights(loss.values[::-1]), last_weights(loss.values)
    ruined = ~np.isfinite(last) & np.isfinite(first)
    asked = loss.values[-1, :, Statistic.STATE] != State.ABSENT
    return names_of(run, loss, np.flatnonzero(ruined & asked).tolist())


def _broken_to_the_end(loss: LossHistory, step: int) -> bool:
    """Tells whether no record since is finite: the weights are likely broken too."""
    after = _broken(loss)[loss.steps >= step]
    return not after.size or bool(after.all())


def _broken(loss: LossHistory) -> Mask:
    """Tells which records held NaN or Inf, but for steps left out for their loss scale."""
    states = loss.values[:, :, Statistic.STATE]
    broken: Mask = np.any(np.isin(states, (State.NAN, State.INF)), axis=1)
    return broken & ~np.isin(loss.steps, loss.skipped_steps)


def _spread(run: RunHistory, onset: int) -> str:
    """Says whether clipping carried it from some gradients into all."""
    for clip in run.clips:
        at = _record_at(clip.steps, onset)
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
    at = _record_at(loss.steps, onset.step)
    if at is None:
        return None
    counts = np.nan_to_num(loss.values[at, onset.columns])
    if not counts[:, [Statistic.NAN_COUNT, Statistic.INF_COUNT]].any(axis=1).all():
        return None  # large gradients that were not finite before
    return int(counts[:, statistic].sum())


def _has_leapt(loss: LossHistory, step: int) -> bool:
    """Tells whether the loss was finite to the end, and far from where it began: overshot."""
    values = np.abs(loss.loss_values[loss.steps <= step].astype(np.float64))
    return len(values) > 1 and bool(0 < _LEAPT * values[0] <= values[-1] < np.inf)


def _fed(run: RunHistory, loss: LossHistory, onset: _Onset) -> str:
    """Returns the layer that was fed with it: its bias is finite, its kernel is not, else ""."""
    at = _record_at(loss.steps, onset.step)
    kernel = run.variables[loss.variables[onset.columns[-1]]]
    if at is None or not kernel.layer or role(kernel) != "kernel":
        return ""
    states = loss.values[at, :, Statistic.STATE]
    for column, position in enumerate(loss.variables.tolist()):
        one = run.variables[position]
        if one.layer == kernel.layer and role(one) == "bias" and states[column] == State.OK:
            return str(kernel.layer)
    return ""


def _advice(
    run: RunHistory, loss: LossHistory, reached: str, some_finite: bool, onset: _Onset
) -> str:
    whole = norms_of(loss).whole[loss.steps < onset.step]
    whole = whole[np.isfinite(whole) & (whole > 0)]
    grew = len(whole) >= _BEFORE and whole[-1] >= _GROWN * np.median(whole[: len(whole) // 2])
    if grew or _has_leapt(loss, onset.step):
        return (
            "The gradients had grown without bounds before, so lower the learning rate (or warm it "
            "up), and clip with gs.clip_by_global_norm."
        )
    word = onset.word
    if layer := _fed(run, loss, onset):
        return (
            f"What {layer} was given is not finite, for its bias still is: look at the data of "
            f"step {onset.step}, or at what is computed in front of that layer."
        )
    if some_finite:
        return (
            f"Look at what stands between {reached} and the loss: a log, a division, a sqrt or a "
            "power at zero; tf.debugging.enable_check_numerics() names the operation."
        )
    return (
        f"All are {word} at once, so look at the loss itself: a log, a division or a sqrt at "
        "zero, or NaN in the data; tf.debugging.enable_check_numerics() names the operation."
    )
