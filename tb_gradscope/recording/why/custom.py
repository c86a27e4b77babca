"""Functions with a gradient of the program's own, as far as the source shows them."""

from __future__ import annotations

import ast

from tb_gradscope.recording.why import program
from tb_gradscope.recording.why.lines import Line

_DECORATOR = "custom_gradient"


def called_at(line: Line) -> program.Function | None:
    """Returns the `tf.custom_gradient` function that is called at a line."""
    statement = program.statement_at(line.file, line.line)
    if statement is None:
        return None
    names = {
        program.called(node)
        for node in program.expressions(statement)
        if isinstance(node, ast.Call)
    }
    found = program.functions(line.file)
    return next((f for f in found if f.name in names and _is_decorated(f)), None)


def may_return_none(function: program.Function) -> bool:
    """Tells whether the gradient function inside of it spells a None among its results."""
    for node in ast.walk(function):
        if isinstance(node, ast.Lambda):
            values = [node.body]
        elif isinstance(node, ast.FunctionDef) and node is not function:
            values = [s.value for s in ast.walk(node) if isinstance(s, ast.Return) and s.value]
        else:
            continue
        for value in values:
            if any(isinstance(n, ast.Constant) and n.value is None for n in ast.walk(value)):
                return True
    return False


def _is_decorated(function: program.Function) -> bool:
    return any(
        getattr(decorator, "attr", getattr(decorator, "id", "")) == _DECORATOR
        for decorator in function.decorator_list
    )
