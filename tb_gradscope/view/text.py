"""Runs as text, for a terminal: matrix, clipping, missing gradients, problems."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.format.history import ClipHistory, RunHistory
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import answers, schema
from tb_gradscope.view.frame import History
from tb_gradscope.view.terminal import clean, left, right, shorten, wide, wrapped

_CELLS = {
    State.ABSENT: "-",
    State.NONE: "NONE",
    State.ZERO: "zero",
    State.NAN: "NaN",
    State.INF: "Inf",
}
_LEGEND = {
    "NONE": "TensorFlow returned None: no path from the loss to the variable.",
    "zero": "every element is exactly 0.",
    "NaN": "an element is not a number.",
    "Inf": "an element is infinite.",
    "-": "not asked for.",
    "*": "an earlier record; the loss's last one does not have the variable.",
}
_METHODS = {
    "norm": "clip_by_norm",
    "value": "clip_by_value",
    "global_norm": "clip_by_global_norm",
    "custom": "own clipper",
}
_GAP = "  "
_NAME_WIDTH = 60


def report(history: History, width: int) -> str:
    """Returns all of a history as text, in lines of `width` where names allow."""
    parts = ["\n".join(_run(run, width)) for run in history.runs.values()]
    if history.problems:
        parts.append("\n".join(wrapped(problem, width, "") for problem in history.problems))
    return "\n\n".join(parts) + "\n"


def _run(run: RunHistory, width: int) -> Iterator[str]:
    summary = answers.run(run, "")
    yield f"Run {clean(run.name)}"
    if not summary.steps:
        yield "  Nothing recorded yet."
    else:
        first, last = summary.steps[0], summary.steps[-1]
        yield (
            f"  steps {first} to {last}, {_number(len(summary.steps), 'step')} recorded, "
            f"{_number(len(run.losses), 'loss', 'losses')}, "
            f"{_number(len(run.variables), 'variable')}"
        )
        yield ""
        yield from _matrix(run, last, width)
    if run.clips:
        yield ""
        yield "Clipping"
        for clip in run.clips:
            yield wrapped(_clip(clip), width)
    if summary.missing:
        yield ""
        yield "Missing gradients"
        for missing in summary.missing:
            yield wrapped(_missing(missing), width)
    if run.problems:
        yield ""
        yield "Problems"
        for problem in run.problems:
            yield wrapped(problem, width)


def _matrix(run: RunHistory, step: int, width: int) -> Iterator[str]:
    values = answers.matrix(run, step)
    cells = [
        [_cell(pair, len(loss.steps)) for pair in row]
        for row, loss in zip(values, run.losses, strict=True)
    ]
    lasts = [str(loss.steps[-1]) if len(loss.steps) else "" for loss in run.losses]
    same = len(set(lasts)) == 1
    rows = _rows(run)
    label_width = min(max((wide(text) for text, _ in rows), default=0), max(16, width * 2 // 5))
    heads = [shorten(clean(loss.name), 24) for loss in run.losses]
    widths = [
        max(wide(head), wide(last) * (not same), *map(wide, column), 4)
        for head, last, column in zip(heads, lasts, cells, strict=True)
    ]
    yield f"Gradient norms at step {step}" if same else "Gradient norms at each loss's last step"
    for block in _blocks(widths, width - label_width):
        if block[0]:
            yield ""
        yield " " * label_width + "".join(_GAP + right(heads[i], widths[i]) for i in block)
        if not same:
            yield left("step", label_width) + "".join(
                _GAP + right(lasts[i], widths[i]) for i in block
            )
        for text, position in rows:
            line = left(shorten(text, label_width), label_width)
            if position is not None:
                line += "".join(_GAP + right(cells[i][position], widths[i]) for i in block)
            yield line.rstrip()
    used = {mark for column in cells for cell in column for mark in _LEGEND if cell.endswith(mark)}
    if used:
        yield ""
    for mark, meaning in _LEGEND.items():
        if mark in used:
            yield wrapped(f"{mark:<4}  {meaning}", width)


def _rows(run: RunHistory) -> list[tuple[str, int | None]]:
    """Returns label and position of each line, a layer's own line having no position."""
    layers: dict[str, list[int]] = {}
    for position, variable in enumerate(run.variables):
        layers.setdefault(variable.layer, []).append(position)
    rows: list[tuple[str, int | None]] = []
    for layer, positions in layers.items():
        if layer:
            rows.append((clean(layer), None))
        for position in positions:
            name = run.variables[position].name
            rows.append((clean("  " + name[len(layer) + 1 :] if layer else name), position))
    return rows


def _cell(pair: Floats, records: int) -> str:
    state = State(int(pair[Statistic.STATE]))
    text = _CELLS.get(state) or _amount(float(pair[Statistic.NORM]))
    return text + "*" * (state != State.ABSENT and int(pair[-1]) != records - 1)


def _clip(clip: ClipHistory) -> str:
    text = f"{_name(clip.name)}: {_METHODS[clip.method]}"
    if not len(clip.steps):
        return f"{text}, nothing recorded yet"
    threshold = float(clip.threshold[-1])
    if not np.isnan(threshold):
        text += f" to {_amount(threshold)}"
    calls, clipped = int(clip.calls[-1]), int(clip.clipped[-1])
    text += f", clipped {clipped} of {_number(calls, 'call')} ({_percent(clipped, calls)})"
    if clip.nonfinite[-1]:
        text += f", norm not finite in {int(clip.nonfinite[-1])}"
    before, after = float(clip.norm_before[-1]), float(clip.norm_after[-1])
    text += f"; at step {int(clip.steps[-1])} norm {_amount(before)} -> {_amount(after)}"
    shares = answers.shares(clip, -1)
    if shares.size and shares.any():
        most = int(shares.argmax())
        text += f", most by {_name(clip.variables[most])} ({_percent(float(shares[most]), 1)})"
    return text + (f"; after {_name(clip.after)}" if clip.after else "")


def _missing(missing: schema.Missing) -> str:
    since = f"since step {missing.first_step}"
    pattern = {
        "always": f"always, {since}",
        "from": f"ever {since}",
        "on_and_off": f"on and off, {since}, last at step {missing.last_step}",
    }[missing.pattern]
    counted = f" ({missing.count} of {_number(missing.asked, 'record')})" if missing.asked else ""
    names = ", ".join(_name(name) for name in missing.variables)
    where = f" [{clean(missing.where.file)}:{missing.where.line}]" if missing.where else ""
    return f"{_name(missing.loss)}{where}, None {pattern}{counted}: {names}"


def _name(name: str) -> str:
    return shorten(clean(name), _NAME_WIDTH)


def _blocks(widths: list[int], room: int) -> Iterator[list[int]]:
    block, used = list[int](), 0
    for column, width in enumerate(widths):
        if block and used + width + len(_GAP) > room:
            yield block
            block, used = [], 0
        block.append(column)
        used += width + len(_GAP)
    if block:
        yield block


def _amount(number: float) -> str:
    return "NaN" if np.isnan(number) else "Inf" if np.isinf(number) else f"{number:.3g}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _number(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
