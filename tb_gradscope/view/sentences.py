"""What was clipped, missing or not finite, in a sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.diagnose.spikes import Spike, spikes
from tb_gradscope.format.history import ClipHistory, LossHistory, Place, RunHistory
from tb_gradscope.format.record import is_absent
from tb_gradscope.format.statistics import State
from tb_gradscope.view import labels, numbers
from tb_gradscope.view.fates import Fate
from tb_gradscope.view.terminal import clean, place, shorten

_METHODS = {
    "norm": "clip_by_norm",
    "value": "clip_by_value",
    "global_norm": "clip_by_global_norm",
    "custom": "own clipper",
}
_ONE_BY_ONE = ("norm", "value")
_NAME_WIDTH = 60
_FEW = 3


def nonfinite(found: Sequence[Fate]) -> Iterator[str]:
    """Yields when gradients stopped being finite: a sentence for each loss and state."""
    groups: dict[tuple[int, State], list[Fate]] = {}
    for fate in found:
        groups.setdefault((id(fate.loss), fate.state), []).append(fate)
    for group in groups.values():
        group.sort(key=lambda fate: (fate.first_step, fate.columns[0]))
    for group in sorted(groups.values(), key=lambda group: group[0].first_step):
        yield f"{labelled(group[0].loss)}: {_onset(group)}"


def overflows(run: RunHistory, findings: Sequence[Finding]) -> Iterator[str]:
    """Yields losses that were not finite at steps which an optimizer left out.

    Args:
      run: of these losses.
      findings: of the run; some may say that the loss scale was not to blame.
    """
    for loss in run.losses:
        if loss.overflowed.any():
            doubted = any(
                (one.kind, one.loss) in (("nan", loss.name), ("inf", loss.name))
                and one.span.last in loss.skipped_steps
                for one in findings
            )
            yield _overflowed(loss, doubted)


def departures(run: RunHistory) -> Iterator[str]:
    """Yields where the sentinel saw norms leave their recent range: a sentence for each loss."""
    for loss in run.losses:
        found = spikes(loss)
        if not found:
            continue
        parts = [f"step {one.step}: {_departure(run, one)}" for one in found[:_FEW]]
        if len(found) > _FEW:
            parts.append(f"{len(found) - _FEW} more, last at step {found[-1].step}")
        yield f"{labelled(loss)}{_at(loss.where)}, {'; '.join(parts)}"


def missing(found: Sequence[Fate]) -> Iterator[str]:
    """Yields which gradients were None, and when."""
    for fate in found:
        since = f"since step {fate.first_step}"
        pattern = {
            "always": f"always, {since}",
            "from": f"ever {since}",
            "once": f"at step {fate.first_step} only",
            "on_and_off": f"on and off, {since}, last at step {fate.last_step}",
        }[fate.pattern]
        loss = f"{labelled(fate.loss)}{_at(fate.loss.where)}"
        often = f" ({counted(fate)})" if fate.asked else ""
        yield f"{loss}, None {pattern}{often}: {_names(fate)}"


def clip(of: ClipHistory) -> str:
    """Says what a clip site did, and to whom."""
    method = _METHODS[of.method]
    known = re.fullmatch(rf"{method}(_\d+)?", of.name) is not None
    text = name(of.name) if known else f"{name(of.name)}: {method}"
    where = labels.clipping(of.label)
    said = [*([where] if where else []), *(["loss scale removed"] * (of.label.stage == "unscaled"))]
    text += f" ({', '.join(said)})" if said else ""
    if not len(of.steps):
        return f"{text}, nothing recorded yet"
    norms = of.norms[-1][~is_absent(of.norms[-1, :, 0])]
    several = of.method in _ONE_BY_ONE and len(of.variables) > 1
    if several:
        text += f"{':' if known else ','} {number(len(norms), 'gradient')}, each"
    threshold = float(of.threshold[-1])
    if not np.isnan(threshold):
        text += f" to {'at most ' * (of.method == 'value')}{amount(threshold)}"
    calls, clipped = int(of.calls[-1]), int(of.clipped[-1])
    what = "call" if of.counts_every_call else "recorded call"
    text += f", clipped {clipped} of {number(calls, what)} ({_percent(clipped, calls)})"
    if of.nonfinite[-1]:
        text += f", norm not finite in {int(of.nonfinite[-1])},"
    text += f" up to step {int(of.steps[-1])}, there {_largest(of) if several else _whole(of)}"
    return text + (f"; after {name(of.after)}" if of.after else "")


def onsets(found: Sequence[Fate]) -> str:
    """Says of each when it stopped being finite: "w from step 7; head at step 8 only"."""
    parts = []
    for fate in found:
        when = f"at step {fate.first_step}" if fate.pattern == "once" else _from(fate)
        parts.append(f"{_names(fate)} {when}{_manner(fate)}")
    return "; ".join(parts)


def counted(fate: Fate) -> str:
    """Says how often, of how many times that somebody asked: "5 of 10 records"."""
    # Who is in two series of a loss is counted in both, though it may be in one record.
    about = "about " * (fate.asked > fate.loss.records)
    return f"{about}{fate.count} of {number(fate.asked, 'record')}"


def name(text: str) -> str:
    """Returns a name that fits into a sentence."""
    return shorten(clean(text), _NAME_WIDTH)


def labelled(of: labels.Labelled) -> str:
    """Returns a name, and which of that name where there may be several."""
    subtitle = labels.subtitle(of.label)
    return f"{name(of.name)} ({subtitle})" if subtitle else name(of.name)


def amount(value: float) -> str:
    """Returns a number in three digits."""
    return "NaN" if np.isnan(value) else "Inf" if np.isinf(value) else f"{value:.3g}"


def number(count: int, one: str, many: str = "") -> str:
    """Returns a number of things."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _onset(found: list[Fate]) -> str:
    first, word = found[0], "NaN" if found[0].state is State.NAN else "Inf"
    where = f"in {_names(first)}{_at(first.loss.where)}"
    final, last = _last_step(first.loss), max(fate.last_step for fate in found)
    if len(found) == 1 and first.pattern == "once":
        return f"{word} at step {first.first_step} only, {where}"
    seen = "" if first.exact else "seen "
    parts = [f"first {word} {seen}at step {first.first_step} {where}{_manner(first)}"]
    parts += [onsets(found[1:])] if len(found) > 1 else []
    if last == final:
        parts.append(f"still {word} at step {last}" if last > first.first_step else "the last step")
    else:
        parts.append(f"last at step {last}")
    return "; ".join(parts)


def _departure(run: RunHistory, spike: Spike) -> str:
    """Says whose norm left its range and how far: "w rose to 40, usually 1; so did b"."""
    first, *others = [name(run.variables[position].name) for position in spike.variables]
    what = {"up": "rose", "down": "fell", "": "left its recent range"}[spike.direction]
    text = f"{first} {what}"
    if np.isfinite(spike.norm):
        text += f"{' to' if spike.direction else ', norm'} {amount(spike.norm)}"
    if np.isfinite(spike.usual):
        text += f", usually {amount(spike.usual)}"
    return f"{text} (and {len(others)} more)" if others else text


def _overflowed(loss: LossHistory, doubted: bool) -> str:
    steps = np.intersect1d(loss.skipped_steps, loss.steps)
    if not len(steps):
        steps = loss.skipped_steps
    records = number(int(loss.overflowed.max()), "record")
    when = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
    text = f"{labelled(loss)}: not finite in {records} ({when})"
    if doubted:
        return f"{text}, which the optimizer took for overflows of its loss scale: see the findings"
    return f"{text}, no fault: the loss scale had overflowed, and the optimizer left the update out"


def _from(fate: Fate) -> str:
    return f"from step {fate.first_step}"


def _manner(fate: Fate) -> str:
    return {
        "always": ", in every record" if fate.asked > 1 else "",
        "from": "",
        "once": " only",
        "on_and_off": f", on and off ({counted(fate)})",
    }[fate.pattern]


def _whole(of: ClipHistory) -> str:
    before, after = float(of.norm_before[-1]), float(of.norm_after[-1])
    text = f"norm {amount(before)} -> {amount(after)}"
    broken = _broken(of)
    if broken:
        return f"{text}, not finite in {broken}"
    shares = numbers.shares(of, -1)
    if shares.size and shares.any():
        most = int(shares.argmax())
        text += f", most by {name(of.variables[most])} ({_percent(float(shares[most]), 1)})"
    return text


def _largest(of: ClipHistory) -> str:
    before = np.where(np.isfinite(of.norms[-1, :, 0]), of.norms[-1, :, 0], -1)
    parts, most = list[str](), int(before.argmax())
    if before[most] >= 0:
        after = float(of.norms[-1, most, 1])
        largest = f"{amount(float(before[most]))} -> {amount(after)}"
        parts.append(f"largest {largest} ({name(of.variables[most])})")
    broken = _broken(of)
    if broken:
        parts.append(f"not finite in {broken}")
    return ", ".join(parts) or "no gradient but None"


def _broken(of: ClipHistory) -> str:
    """Names those whose norm is not finite at the last step."""
    norms = of.norms[-1, :, 0]
    return ", ".join(
        name(of.variables[i]) for i in np.flatnonzero(~np.isfinite(norms) & ~is_absent(norms))
    )


def _last_step(loss: LossHistory) -> int:
    return int(loss.steps[-1]) if len(loss.steps) else -1


def _names(fate: Fate) -> str:
    return ", ".join(name(variable) for variable in fate.variables)


def _at(where: Place | None) -> str:
    return f" [{place(where.file, where.line)}]" if where else ""


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
