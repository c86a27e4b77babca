"""Runs as text, for a terminal: the matrix, then what happened, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.format.history import LossHistory, OptimizerHistory, RunHistory, Steps
from tb_gradscope.view import conflicts, sentences, table, updates, verdicts
from tb_gradscope.view.frame import History
from tb_gradscope.view.terminal import clean, wrapped


def report(
    history: History,
    findings: Mapping[str, Sequence[Finding]],
    width: int,
    coloured: bool = False,
) -> str:
    """Returns all of a history as text.

    Args:
      history: of a log directory.
      findings: of each run.
      width: of a line, where names allow.
      coloured: for a terminal that shows colours.
    """
    parts = [
        "\n".join(_run(run, findings[name], width, coloured)) for name, run in history.runs.items()
    ]
    if history.problems:
        parts.append("\n".join(wrapped(problem, width, "") for problem in history.problems))
    return "\n\n".join(parts) + "\n"


def _run(run: RunHistory, findings: Sequence[Finding], width: int, coloured: bool) -> Iterator[str]:
    steps = _steps([*run.losses, *run.optimizers])
    yield f"Run {clean(run.name)}"
    yield from (wrapped(line, width) for line in _head(run))
    if findings:
        yield ""
        yield "Findings"
        yield from verdicts.lines(findings, width, coloured)
    if len(steps):
        yield ""
        yield from table.lines(run, int(steps[-1]), width)
    for title, lines in (
        ("Not finite", sentences.nonfinite(run)),
        ("Spikes", sentences.spikes(run)),
        ("Clipping", map(sentences.clip, run.clips)),
        ("Optimizers", (updates.optimizer(run, one) for one in run.optimizers)),
        ("Lowest cosines of losses' gradients", conflicts.conflicts(run)),
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
    size = ", ".join(
        [
            sentences.number(len({loss.name for loss in run.losses}), "loss", "losses"),
            sentences.number(len(run.variables), "variable"),
            *([sentences.number(len(run.optimizers), "optimizer")] if run.optimizers else []),
        ]
    )
    steps = _steps([*(loss for loss in run.losses if not loss.traced_only), *run.optimizers])
    traced = [sentences.labelled(loss) for loss in run.losses if loss.traced_only]
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


def _steps(of: list[LossHistory | OptimizerHistory]) -> Steps:
    steps: Steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.steps for one in of)]))
    return steps
