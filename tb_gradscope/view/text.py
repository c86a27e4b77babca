"""Runs as text, for a terminal: matrix, what was not finite, clipping, what was missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import answers, sentences
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
    "-": "not asked.",
    "*": "an earlier record; the loss's last one does not have the variable.",
}
_TRACED = "traced"
_GAP = "  "


def report(history: History, width: int) -> str:
    """Returns all of a history as text, in lines of `width` where names allow."""
    parts = ["\n".join(_run(run, width)) for run in history.runs.values()]
    if history.problems:
        parts.append("\n".join(wrapped(problem, width, "") for problem in history.problems))
    return "\n\n".join(parts) + "\n"


def _run(run: RunHistory, width: int) -> Iterator[str]:
    summary = answers.run(run, "")
    yield f"Run {clean(run.name)}"
    yield from (wrapped(line, width) for line in _head(run))
    if summary.steps:
        yield ""
        yield from _matrix(run, summary.steps[-1], width)
    for title, lines in (
        ("Not finite", sentences.nonfinite(run)),
        ("Clipping", map(sentences.clip, run.clips)),
        ("Missing gradients", sentences.missing(run)),
        ("Problems", run.problems),
    ):
        texts = [wrapped(line, width) for line in lines]
        if texts:
            yield ""
            yield title
            yield from texts


def _head(run: RunHistory) -> Iterator[str]:
    """Yields what of a run is there."""
    size = (
        f"{sentences.number(len(run.losses), 'loss', 'losses')}, "
        f"{sentences.number(len(run.variables), 'variable')}"
    )
    steps = np.unique(
        np.concatenate(
            [np.zeros(0, np.int64), *(loss.steps for loss in run.losses if not loss.traced_only)]
        )
    )
    traced = [sentences.name(loss.name) for loss in run.losses if loss.traced_only]
    if len(steps):
        recorded = sentences.number(len(steps), "step")
        yield f"steps {steps[0]} to {steps[-1]}, {recorded} recorded, {size}"
        if traced:
            yield f"Of {', '.join(traced)} only tracing was seen: no number came."
    elif traced:
        yield (
            f"{size}; only tracing was seen: the program ended before its first step. "
            "What is None is known all the same."
        )
    elif any(len(clip.steps) for clip in run.clips):
        yield "No gradients recorded; clipping only."
    else:
        yield "Nothing recorded yet."


def _matrix(run: RunHistory, step: int, width: int) -> Iterator[str]:
    values = answers.matrix(run, step)
    cells = [
        [_cell(pair, len(loss.steps)) for pair in row]
        for row, loss in zip(values, run.losses, strict=True)
    ]
    lasts = [_last(loss) for loss in run.losses]
    numbers = not set(lasts) <= {_TRACED, ""}
    same = len(set(lasts)) == 1 or not numbers
    rows = _rows(run)
    label_width = min(max((wide(text) for text, _ in rows), default=0), max(16, width * 2 // 5))
    label_width = max(label_width, 0 if same else wide("step"))
    heads = [shorten(clean(loss.name), 24) for loss in run.losses]
    widths = [
        max(wide(head), wide(last) * (not same), *map(wide, column), 4)
        for head, last, column in zip(heads, lasts, cells, strict=True)
    ]
    if not numbers:
        yield "Gradients, as far as tracing tells"
    elif not same:
        yield "Gradient norms at each loss's last step"
    else:
        yield f"Gradient norms at step {step}"
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
            text = _absent(run, cells) if mark == "-" else meaning
            yield wrapped(f"{mark:<4}  {text}", width)


def _absent(run: RunHistory, cells: list[list[str]]) -> str:
    """Says what is the matter with pairs that have no record."""
    kinds = {
        loss.traced_only or not len(loss.steps)
        for loss, column in zip(run.losses, cells, strict=True)
        if _CELLS[State.ABSENT] in column
    }
    if kinds == {True}:
        return "traced, but never run."
    return "not asked, or traced but never run." if True in kinds else _LEGEND["-"]


def _last(loss: LossHistory) -> str:
    if loss.traced_only:
        return _TRACED
    return str(loss.steps[-1]) if len(loss.steps) else ""


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
    text = _CELLS.get(state) or sentences.amount(float(pair[Statistic.NORM]))
    return text + "*" * (state != State.ABSENT and int(pair[-1]) != records - 1)


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
