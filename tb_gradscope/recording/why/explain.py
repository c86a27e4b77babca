"""Why gradients are None: asked when one is seen, answered once for each call."""

from __future__ import annotations

import ast
import dataclasses
import functools
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place, sources
from tb_gradscope.recording.why import program, rebinding, windows, world
from tb_gradscope.recording.why.blockers import line_of
from tb_gradscope.recording.why.cause import Cause
from tb_gradscope.recording.why.deduction import Missing, judge
from tb_gradscope.recording.why.lines import Line
from tb_gradscope.recording.why.unseen import judge_unseen
from tb_gradscope.recording.why.windows import TapeLog

_GRADIENT = frozenset({"gradient"})


def explain(
    target: Any,
    found: list[Any],
    names: list[str],
    positions: list[int],
    log: TapeLog,
    caller: place.Caller,
    were_variables: frozenset[str],
) -> dict[int, Cause]:
    """Returns why gradients are None.

    Adds nothing to a graph, runs nothing of the program, draws no random number.

    Args:
      target: the loss.
      found: the flat sources.
      names: what they are called.
      positions: of those whose gradient is None.
      log: what the tape was told.
      caller: who asked it.
      were_variables: names that variables had at any time.
    """
    targets = [part for part in tf.nest.flatten(target, expand_composites=True) if _is_tensor(part)]
    spelled = _spelled(caller, len(found))
    missing = []
    for position in positions:
        source = found[position]
        asked = _Asked(
            spelled[position], source, names[position], names[position] in were_variables
        )
        missing.append(Missing(source, functools.partial(_rebound, asked, caller)))
    watched = {id(variable.handle) for variable in log.watched_variables()}
    where = _loss_line_in_source(caller)
    symbolic = [part for part in targets if windows.is_symbolic(part)]
    if symbolic:
        seen = world.of_graph(symbolic)
    elif log.observer is not None and log.observer.has_seen(targets):
        seen = world.of_step(targets, log.observer)
    else:
        causes = judge_unseen(targets, missing, log, watched, where)
        return dict(zip(positions, causes, strict=True))
    makers = [maker for key in seen.losses if (maker := seen.maker(key)) is not None]
    made = line_of(makers[-1]) if makers else None
    causes = judge(seen, missing, log, watched, made or where, where)
    return dict(zip(positions, causes, strict=True))


def _is_tensor(part: Any) -> bool:
    return isinstance(part, tf.Tensor)


def _spelled(caller: place.Caller, count: int) -> list[ast.expr | None]:
    """Returns how the source spells each source."""
    argument = place.argument_of(caller, _GRADIENT, 1)
    if isinstance(argument, ast.List | ast.Tuple) and len(argument.elts) == count:
        return list(argument.elts)
    return [argument] * count


@dataclasses.dataclass(frozen=True)
class _Asked:
    """How a source was asked for.

    Attributes:
      expression: how the source code spells it, None if unknown.
      source: itself.
      name: what it is called.
      was_variable: a variable had that name at any time.
    """

    expression: ast.expr | None
    source: Any
    name: str
    was_variable: bool


def _rebound(asked: _Asked, caller: place.Caller) -> Line | None:
    """Returns where the name of a source was bound to a tensor, None if it was not."""
    expression, was_variable = asked.expression, asked.was_variable
    if sources.is_variable(asked.source):
        # Asked for by another name than the one under which it is used.
        expression, was_variable = rebinding.parsed(asked.name), True
        if expression is None or not _is_tensor(rebinding.value_of(expression, caller.frame)):
            return rebinding.stand_in(asked.source, caller.frame, caller.file, caller.line)
    if expression is None:
        return None
    return rebinding.rebound_at(expression, caller.frame, caller.file, caller.line, was_variable)


def _loss_line_in_source(caller: place.Caller) -> Line:
    """Returns where the source binds what it asks the gradient of, else where it asks."""
    asked = Line(caller.file, caller.line, caller.function, caller.code)
    argument = place.argument_of(caller, _GRADIENT, 0)
    if not isinstance(argument, ast.Name):
        return asked
    found = None
    for statement in program.statements(program.scope_at(caller.file, caller.line)):
        if statement.lineno <= caller.line and argument.id in program.binds(statement):
            found = statement
    if found is None or isinstance(found, ast.For | ast.With):
        return asked
    return Line(caller.file, found.lineno, caller.function)
