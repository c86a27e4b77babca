"""Runs as text, for a terminal: findings, the matrix, then what else happened, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tb_gradscope.diagnose.finding import Finding
from tb_gradscope.format.history import LossHistory, OptimizerHistory, RunHistory, Steps
from tb_gradscope.format.statistics import State
from tb_gradscope.view import conflicts, sentences, table, updates, verdicts
from tb_gradscope.view.details import Details
from tb_gradscope.view.frame import History
from tb_gradscope.view.terminal import bold, clean, wrapped


def report(
    history: History,
    findings: Mapping[str, Sequence[Finding]],
    width: int,
    coloured: bool = False,
    root: str = ".",
) -> str:
    """Returns all of a history as text.

    Args:
      history: of a log directory.
      findings: of each run.
      width: of a line, where names allow.
      coloured: for a terminal that shows colours.
      root: what to call the run that is the log directory itself.
    """
    parts = []
    for name, run in history.runs.items():
        title = f"Run {clean(root if name == '.' else name)}"
        lines = _run(run, findings[name], width, coloured)
        parts.append("\n".join([bold(title, coloured), *lines]))
    if history.problems:
        parts.append("\n".join(wrapped(problem, width, "") for problem in history.problems))
    return "\n\n".join(parts) + "\n"


def _run(run: RunHistory, findings: Sequence[Finding], width: int, coloured: bool) -> Iterator[str]:
    steps = _steps([*run.losses, *run.optimizers])
    details = Details(run, findings)
    yield from (wrapped(line, width) for line in _head(run))
    missing = list(sentences.missing(details.unsaid(State.NONE)))
    nonfinite = list(sentences.nonfinite(details.unsaid(State.INF, State.NAN)))
    if len(steps) and not (findings or missing or nonfinite):
        yield ""
        yield "No fault found."
    if findings:
        yield ""
        yield bold("Findings", coloured)
        yield from verdicts.lines(findings, details, width, coloured)
    if len(steps):
        yield ""
        yield from table.lines(run, int(steps[-1]), width, coloured)
    for title, lines in (
        ("Missing gradients", missing),
        ("Not finite", nonfinite),
        ("Skipped steps", sentences.overflows(run, findings)),
        ("Norms that left their recent range", sentences.departures(run)),
        ("Clipping", map(sentences.clip, run.clips)),
        ("Optimizers", (updates.optimizer(run, one) for one in run.optimizers)),
        ("Lowest cosines of losses' gradients", conflicts.conflicts(run)),
        ("Problems", run.problems),
    ):
        texts = [wrapped(line, width) for line in lines]
        if texts:
            yield ""
            yield bold(title, coloured)
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
    # A term of a sum is never differentiated by itself.
    traced = [
        sentences.labelled(loss) for loss in run.losses if loss.traced_only and not loss.part_of
    ]
    if len(steps):
        span = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
        recorded = sentences.number(len(steps), "step")
        yield f"{span}, {recorded} recorded{_watched(run, len(steps))}, {size}"
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


def _watched(run: RunHistory, recorded: int) -> str:
    """Says how many calls were looked at, where that is more than were recorded."""
    # The parts of a sum are watched with it.
    losses = [loss for loss in run.losses if not loss.traced_only and not loss.part_of]
    calls = max((int(loss.calls.max(initial=0)) for loss in losses), default=0)
    if calls <= recorded or not all(loss.watched for loss in losses):
        return ""
    return f", {sentences.number(calls, 'call')} watched"


def _steps(of: list[LossHistory | OptimizerHistory]) -> Steps:
    steps: Steps = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.steps for one in of)]))
    return steps
