"""Terms of a sum that have no gradient at all, though they look as if they had.

`loss = cross_entropy + 0.1 * penalty` gets a gradient for every variable, and the
penalty may go through an argmax all the same: it then has no effect. Nothing is None,
so only the operations tell.

Said only of a term that depends on variables, has no gradient for any that the tape
watched, and is cut by an operation or a cast: `tf.stop_gradient` is meant so.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place
from tb_gradscope.recording.why import program, windows, world
from tb_gradscope.recording.why.blockers import line_of
from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.deduction import Missing, judge
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.reach import Reach
from tb_gradscope.recording.why.summands import Summand, may_be_sum, summands
from tb_gradscope.recording.why.windows import TapeLog
from tb_gradscope.recording.why.world import World

_FAULTS = frozenset(
    {("blocked", "no_gradient"), ("blocked", "python"), ("integer", "cast"), ("integer", "loss")}
)


@dataclasses.dataclass(frozen=True)
class Term:
    """A term without any gradient.

    Attributes:
      name: what the program calls it, or where it is made.
      where: that line.
      causes: why, for each source that it depends on, by position.
    """

    name: str
    where: Line | None
    causes: dict[int, Cause]


def dead_terms(
    target: Any,
    total: str,
    found: list[Any],
    none: tuple[bool, ...],
    log: TapeLog,
    caller: place.Caller,
) -> list[Term]:
    """Returns the terms of a loss that no gradient comes from.

    Adds nothing to a graph, runs nothing of the program.

    Args:
      target: the loss.
      total: its name.
      found: the flat sources.
      none: which of their gradients are None: why is told of the loss itself.
      log: what the tape was told.
      caller: who asked it.
    """
    targets = [part for part in tf.nest.flatten(target) if isinstance(part, tf.Tensor)]
    seen = _world(targets, log)
    if seen is None:
        return []
    sources = [Missing(source, lambda: None) for source in found]
    others = [Missing(variable, lambda: None) for variable in log.watched_variables()]
    reach = Reach(window=log.window)
    for position, one in enumerate([*sources, *others]):
        reach.seed(seen.key(one.handle), 1 << position)
    reach.run(seen.nodes)
    parts = summands(seen, lambda key: bool(reach.values.get(key)))
    if not any(reach.gradients.get(part.key) for part in parts):
        return []
    dead = [
        part for part in parts if reach.values.get(part.key) and not reach.gradients.get(part.key)
    ]
    asked = [position for position, is_none in enumerate(none) if not is_none]
    terms = []
    for part in dead:
        of_part = [p for p in asked if reach.values[part.key] >> p & 1]
        causes = _causes(seen, part, [sources[p] for p in of_part], log, caller)
        if causes and all((cause.kind, cause.detail) in _FAULTS for cause in causes):
            name, where = _called(seen, part, caller, total)
            terms.append(Term(name, where, dict(zip(of_part, causes, strict=True))))
    return terms


def _world(targets: list[Any], log: TapeLog) -> World | None:
    symbolic = [part for part in targets if windows.is_symbolic(part)]
    if symbolic:
        return world.of_graph(symbolic) if any(map(may_be_sum, symbolic)) else None
    if targets and log.observer is not None and log.observer.has_seen(targets):
        return world.of_step(targets, log.observer)
    return None


def _causes(
    seen: World, part: Summand, missing: list[Missing], log: TapeLog, caller: place.Caller
) -> list[Cause]:
    if not missing:
        return []
    alone = World(seen.nodes, [part.key], seen.observer)
    watched = {id(variable.handle) for variable in log.watched_variables()}
    asked = Line(caller.file, caller.line, caller.function, caller.code)
    return judge(alone, missing, log, watched, asked, asked)


def _called(
    seen: World, part: Summand, caller: place.Caller, total: str
) -> tuple[str, Line | None]:
    """Returns the variable bound to a term, here or where it is made, else its place."""
    maker = seen.maker(part.key)
    where = None if maker is None else line_of(maker)
    named = {
        seen.key(value): name for name, value in caller.locals() if isinstance(value, tf.Tensor)
    }
    for key in reversed(part.called):
        if key in named:
            return named[key], where
    if where is None:
        return "term", None
    bound = program.bound_at(where)
    return (f"term at line {where.line}" if bound in (None, total) else bound), where
