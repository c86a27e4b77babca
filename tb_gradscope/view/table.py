"""The matrix as text: variables down; losses, then optimizers, across."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tb_gradscope.format.history import LossHistory, OptimizerHistory, RunHistory
from tb_gradscope.format.packing import Floats
from tb_gradscope.format.statistics import State, Statistic
from tb_gradscope.view import labels, numbers, sentences
from tb_gradscope.view.terminal import (
    bold,
    clean,
    left,
    painted,
    right,
    shorten,
    stacked,
    wide,
    wrapped,
)

_CELLS = {
    State.ABSENT: "-",
    State.NONE: "NONE",
    State.ZERO: "zero",
    State.NAN: "NaN",
    State.INF: "Inf",
}
_SKIPPED = "skip"
_LEGEND = {
    "NONE": "TensorFlow returned None: no path from the loss to the variable.",
    "zero": "every element is exactly 0.",
    "NaN": "an element is not a number.",
    "Inf": "an element is infinite.",
    _SKIPPED: "skipped step: the loss scale had overflowed, the update was left out.",
    "-": "not asked.",
    "*": "an earlier record; the last one of this column does not have the variable.",
}
_COLOURS = {"NONE": "33", "NaN": "31", "Inf": "31", "zero": "33"}
_TRACED = "traced"
_GAP = "  "
_WIDEST, _HIGHEST = 24, 3
_MOST = 60
"""Variables shown of a large model: a terminal is no place for thousands."""


@dataclasses.dataclass(frozen=True)
class _Column:
    """A loss or an optimizer: what stands above its cells, and the cells."""

    of: LossHistory | OptimizerHistory
    head: list[str]
    subtitle: list[str]
    last: str
    cells: list[str]

    def width(self, same: bool) -> int:
        texts = [*self.head, *self.subtitle, *self.cells, *([] if same else [self.last])]
        return max(4, *map(wide, texts))


def lines(run: RunHistory, step: int, width: int, coloured: bool = False) -> Iterator[str]:
    """Yields the matrix of a run at a step, in lines of a width where names allow.

    Of a large model, those whose gradient is not well go first, then the first ones.
    """
    everything: numbers.Columns = (*run.losses, *run.optimizers)
    matrix = numbers.matrix(run, step)
    columns = [_column(one, row) for one, row in zip(everything, matrix, strict=True)]
    lasts = {column.last for column in columns}
    numbered = not lasts <= {_TRACED, ""}
    same = len(lasts) == 1 or not numbered
    kept = _kept(matrix)
    rows = _rows(run, kept)
    label_width = min(max((wide(text) for text, _ in rows), default=0), max(16, width * 2 // 5))
    label_width = max(label_width, 0 if same else wide("step"))
    widths = [column.width(same) for column in columns]
    title = f"Gradient norms at step {step}"
    if not same:
        title = "Gradient norms at each loss's last step"
    if not numbered:
        title = "Gradients, as far as tracing tells"
    yield bold(title, coloured)
    for block in _blocks(widths, width - label_width):
        if block[0]:
            yield ""

        def line(label: str, texts: list[str], block: list[int] = block) -> str:
            cells = (
                _GAP + right(text, widths[i]).replace(text, _painted(text, coloured))
                for i, text in zip(block, texts, strict=True)
            )
            return (left(label, label_width) + "".join(cells)).rstrip()

        here = [columns[i] for i in block]
        yield from (line("", texts) for texts in _heads(here))
        if not same:
            yield line("step", [column.last for column in here])
        for text, position in rows:
            texts = [] if position is None else [column.cells[position] for column in here]
            yield line(shorten(text, label_width), texts) if texts else shorten(text, label_width)
    if len(kept) < len(run.variables):
        more = len(run.variables) - len(kept)
        yield ""
        yield wrapped(f"{more} more variables: {_summary(matrix, kept)}", width)
    yield from _legend(columns, width)


def _kept(matrix: Floats) -> list[int]:
    """Returns the positions of the variables to show, increasing."""
    states = matrix[:, :, Statistic.STATE]
    is_well = np.isin(states, (State.OK, State.ABSENT)).all(axis=0)
    return sorted(np.argsort(is_well, kind="stable")[:_MOST].tolist())


def _summary(matrix: Floats, kept: list[int]) -> str:
    """Says what those that are not shown are like."""
    rest = np.delete(matrix, kept, axis=1)
    states, norms = rest[:, :, Statistic.STATE], rest[:, :, Statistic.NORM]
    ailing = ~np.isin(states, (State.OK, State.ABSENT)).all(axis=0)
    norms = norms[states == State.OK]
    said = []
    if norms.size:
        low, high = (sentences.amount(float(norm)) for norm in (norms.min(), norms.max()))
        said.append(f"norms {low} to {high}")
    if count := int(ailing.sum()):
        said.append(f"{count} of them None, zero or not finite")
    said.append("gs.load(LOGDIR).to_pandas() has them all")
    return "; ".join(said)


def _column(of: LossHistory | OptimizerHistory, row: Floats) -> _Column:
    subtitle = labels.subtitle(of.label, stage=isinstance(of, LossHistory))
    before = "reached it" if isinstance(of, OptimizerHistory) else of.part_of and f"in {of.part_of}"
    subtitle = ", ".join(filter(None, [before, subtitle]))
    return _Column(
        of=of,
        head=stacked(clean(of.name), _WIDEST, _HIGHEST),
        subtitle=stacked(clean(subtitle), _WIDEST + 16, _HIGHEST),
        last=_last(of),
        cells=[_cell(pair, of) for pair in row],
    )


def _heads(columns: list[_Column]) -> Iterator[list[str]]:
    """Yields the lines above the cells: heads end together, and subtitles begin so."""
    height = max(len(column.head) for column in columns)
    for row in range(height):
        at = [row - height + len(column.head) for column in columns]
        yield [one.head[i] if i >= 0 else "" for one, i in zip(columns, at, strict=True)]
    for row in range(max(len(column.subtitle) for column in columns)):
        yield ["".join(column.subtitle[row : row + 1]) for column in columns]


def _legend(columns: list[_Column], width: int) -> Iterator[str]:
    cells = {cell for column in columns for cell in column.cells}
    used = {mark for cell in cells for mark in _LEGEND if cell.endswith(mark)}
    if used:
        yield ""
    for mark, meaning in _LEGEND.items():
        if mark in used:
            text = _absent(columns) if mark == "-" else meaning
            yield wrapped(f"{mark:<4}  {text}", width)


def _absent(columns: list[_Column]) -> str:
    """Says what is the matter with pairs that have no record."""
    kinds = {
        _traced(column.of) or not len(column.of.steps)
        for column in columns
        if _CELLS[State.ABSENT] in column.cells
    }
    if kinds == {True}:
        return "traced, but never run."
    return "not asked, or traced but never run." if True in kinds else _LEGEND["-"]


def _last(of: LossHistory | OptimizerHistory) -> str:
    if _traced(of):
        return _TRACED
    return str(of.steps[-1]) if len(of.steps) else ""


def _traced(of: LossHistory | OptimizerHistory) -> bool:
    return isinstance(of, LossHistory) and of.traced_only


def _rows(run: RunHistory, kept: list[int]) -> list[tuple[str, int | None]]:
    """Returns label and position of each line, a layer's own line having no position."""
    layers: dict[str, list[int]] = {}
    for position in kept:
        layers.setdefault(run.variables[position].layer, []).append(position)
    rows: list[tuple[str, int | None]] = []
    for layer, positions in layers.items():
        if layer:
            rows.append((clean(layer), None))
        for position in positions:
            name = run.variables[position].name
            rows.append((clean("  " + name[len(layer) + 1 :] if layer else name), position))
    return rows


def _cell(pair: Floats, of: LossHistory | OptimizerHistory) -> str:
    state, record = State(int(pair[Statistic.STATE])), int(pair[-1])
    text = _CELLS.get(state) or sentences.amount(float(pair[Statistic.NORM]))
    if state in (State.NAN, State.INF) and of.steps[record] in of.skipped_steps:
        text = _SKIPPED
    return text + "*" * (state != State.ABSENT and record != len(of.steps) - 1)


def _painted(text: str, coloured: bool) -> str:
    colour = _COLOURS.get(text.rstrip("*"), "")
    return painted(text, colour, coloured and bool(colour))


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
