"""Where the name of a variable was bound to a tensor instead."""

from __future__ import annotations

import ast
import contextlib
import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any

import tensorflow as tf

from tb_gradscope.recording.tape import place, sources
from tb_gradscope.recording.why import program
from tb_gradscope.recording.why.lines import Line

_MAKERS = ("variable", "add_weight", "get_variable", "parameter")
_DEEPEST, _MOST = 3, 500
_FIRST = ("__init__", "build", "setUp", "__new__")


def rebound_at(
    expression: ast.expr, frame: FrameType, file: str, line: int, was_variable: bool
) -> Line | None:
    """Returns where what an expression names was rebound, None where the source shows none.

    Args:
      expression: how the source spells what was asked for: `w`, `self.w`, `weights[0]`.
      frame: in which it stands.
      file: the user's source.
      line: where it stands there.
      was_variable: what had the name was a variable once.
    """
    if isinstance(expression, ast.Subscript):
        expression = expression.value
    if isinstance(expression, ast.Name):
        return _of_name(expression.id, frame, file, line, was_variable)
    if isinstance(expression, ast.Attribute):
        owner = value_of(expression.value, frame)
        return _of_attribute(expression, owner, file, was_variable)
    return None


def stand_in(variable: Any, frame: FrameType, file: str, line: int) -> Line | None:
    """Returns where a name that once held a variable was bound to a tensor of its shape.

    For variables that are used under another name than they have themselves. None
    where the source shows no such line, or several.
    """
    found: set[Line] = set()
    named = [*frame.f_globals.items(), *place.locals_of(frame)]
    if any(value is variable for _, value in named):
        return None  # its name holds it still
    for name, value in named:
        if _is_like(value, variable):
            rebound = _of_name(name, frame, file, line, was_variable=False)
            found |= {rebound} if rebound is not None else set()
    for owner, attribute in _attributes(frame, variable):
        expression = ast.Attribute(ast.Name("self", ast.Load()), attribute, ast.Load())
        rebound = _of_attribute(expression, owner, file, was_variable=False)
        found |= {rebound} if rebound is not None else set()
    return found.pop() if len(found) == 1 else None


def _attributes(frame: FrameType, variable: Any) -> Iterator[tuple[Any, str]]:
    """Yields objects within reach of a frame, and which attribute is like the variable."""
    waiting = [value for _, value in [*frame.f_globals.items(), *place.locals_of(frame)]]
    seen: set[int] = set()
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for value in waiting[:_MOST]:
            held = value.__dict__ if _is_object(value) else None
            if not isinstance(held, dict) or id(value) in seen:
                continue
            seen.add(id(value))
            for name, inner in list(held.items())[:_MOST]:
                if _is_like(inner, variable):
                    yield value, name
                deeper += inner if isinstance(inner, list | tuple) else [inner]
        waiting = deeper


def _is_object(value: Any) -> bool:
    return (
        not isinstance(value, type)
        and hasattr(value, "__dict__")
        and not hasattr(value, "__spec__")
        and not isinstance(value, tf.Tensor | tf.Variable)
        and type(value).__module__ != "builtins"
    )


def _is_like(value: Any, variable: Any) -> bool:
    return (
        isinstance(value, tf.Tensor)
        and value.dtype == variable.dtype
        and value.shape == variable.shape
    )


def _of_name(name: str, frame: FrameType, file: str, line: int, was_variable: bool) -> Line | None:
    for scope in program.around(file, line):
        bound = [
            statement
            for statement in program.statements(scope)
            if name in program.binds(statement)
            and isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign)
        ]
        first = [s for s in bound if _makes_variables(s) or _is_of_variables(s, frame)]
        again = [s for s in bound if s not in first]
        if again and (first or was_variable):
            return Line(file, again[-1].lineno, _name_of(scope))
    return None


def _is_of_variables(statement: ast.stmt, frame: FrameType) -> bool:
    """Tells whether a statement binds a variable that exists, or a list of some."""
    value = getattr(statement, "value", None)
    parts = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    return any(
        isinstance(part, ast.Name | ast.Attribute) and sources.is_variable(value_of(part, frame))
        for part in parts
    )


def _of_attribute(
    expression: ast.Attribute, owner: Any, file: str, was_variable: bool
) -> Line | None:
    files = [file]
    if owner is not None:
        with contextlib.suppress(TypeError, OSError):
            files.append(inspect.getsourcefile(type(owner)) or file)
    made, again = False, list[Line]()
    for path in dict.fromkeys(files):
        for scope in (*program.functions(path), program.tree_of(path)):
            for statement in program.statements(scope):
                target = _stored(statement, expression.attr)
                if target is None or not _is_of(target, scope, expression, owner):
                    continue
                if _name_of(scope) in _FIRST or _makes_variables(statement):
                    made = True
                else:
                    again.append(Line(path, statement.lineno, _name_of(scope)))
    return again[-1] if again and (made or was_variable) else None


def _is_of(target: ast.Attribute, scope: ast.AST, expression: ast.Attribute, owner: Any) -> bool:
    """Tells whether what binds an attribute can be the owner's, rather than another object's."""
    if ast.unparse(target.value) == ast.unparse(expression.value):
        return True
    is_own = isinstance(target.value, ast.Name) and target.value.id == "self"
    return is_own and (owner is None or hasattr(type(owner), _name_of(scope)))


def _makes_variables(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Call)
        and any(maker in program.called(node).lower() for maker in _MAKERS)
        for node in program.expressions(statement)
    ) or any(
        isinstance(node, ast.Attribute) and node.attr.endswith(("variables", "weights"))
        for node in program.expressions(statement)
        if isinstance(getattr(node, "ctx", None), ast.Load)
    )


def _stored(statement: ast.stmt, attribute: str) -> ast.Attribute | None:
    """Returns what of a statement binds an attribute."""
    for node in program.expressions(statement):
        if not isinstance(node, ast.Attribute) or node.attr != attribute:
            continue
        if isinstance(node.ctx, ast.Store):
            return node
    return None


def parsed(name: str) -> ast.expr | None:
    """Returns a name such as `self.w` as an expression, None where it is none."""
    try:
        return ast.parse(name, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def value_of(expression: ast.expr, frame: FrameType) -> Any | None:
    """Looks up `a` or `a.b` in a frame, without running anything of the program."""
    if isinstance(expression, ast.Name):
        for name, value in place.locals_of(frame):
            if name == expression.id:
                return value
        return frame.f_globals.get(expression.id)
    if isinstance(expression, ast.Attribute):
        owner = value_of(expression.value, frame)
        held = getattr(owner, "__dict__", None)
        return held.get(expression.attr) if isinstance(held, dict) else None
    return None


def _name_of(scope: ast.AST) -> str:
    return str(getattr(scope, "name", "<module>"))
