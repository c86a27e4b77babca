"""The user's source: statements, and which names they read and bind.

Source is never run again. What it says is used where TensorFlow cannot tell: where a
name was rebound, or where a value went through NumPy.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from tb_gradscope.recording import source
from tb_gradscope.recording.why.lines import Line

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def tree_of(file: str) -> ast.Module:
    """Returns the syntax tree of a file, an empty one where there is no source."""
    return _parsed("".join(source.lines(file)))


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def functions(file: str) -> list[Function]:
    """Returns all functions of a file, each after those around it."""
    return _functions("".join(source.lines(file)))


@functools.lru_cache(maxsize=16)
def _functions(text: str) -> list[Function]:
    walked = ast.walk(_parsed(text))  # goes inwards
    return [n for n in walked if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def around(file: str, line: int) -> list[Function | ast.Module]:
    """Returns the functions around a line and the module, the innermost first."""
    spanning: list[Function | ast.Module] = [
        function
        for function in functions(file)
        if function.lineno <= line <= (function.end_lineno or function.lineno)
    ]
    return [*spanning[::-1], tree_of(file)]


def scope_at(file: str, line: int) -> Function | ast.Module:
    """Returns the innermost function at a line, else the module."""
    return around(file, line)[0]


def statements(scope: ast.AST) -> Iterator[ast.stmt]:
    """Yields the statements of a scope in order, those of blocks too, of inner functions not."""
    for name in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(scope, name, ()):
            if isinstance(node, ast.stmt):
                yield node
            if not isinstance(node, _SCOPES):
                yield from statements(node)


def statement_at(file: str, line: int) -> ast.stmt | None:
    """Returns the statement at a line; of a block its head alone."""
    found = None
    for statement in statements(scope_at(file, line)):
        if statement.lineno <= line <= _end(statement):
            found = statement
    return found


def bound_at(line: Line) -> str | None:
    """Returns the one name that the statement at a line binds, None for none or several."""
    statement = statement_at(line.file, line.line)
    names = set() if statement is None or isinstance(statement, ast.For) else binds(statement)
    return names.pop() if len(names) == 1 else None


def calls(line: Line, name: str) -> bool:
    """Tells whether the statement at a line calls a function or method of this name."""
    statement = statement_at(line.file, line.line)
    return statement is not None and any(
        isinstance(node, ast.Call) and called(node) == name for node in expressions(statement)
    )


def expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yields what a statement computes: of a block only its head."""
    for name, value in ast.iter_fields(statement):
        if name in ("body", "handlers", "orelse", "finalbody", "cases"):
            continue
        for node in value if isinstance(value, list) else (value,):
            if isinstance(node, ast.AST):
                yield from ast.walk(node)


def reads(statement: ast.stmt) -> set[str]:
    """Returns the names that a statement reads."""
    found = {
        node.id
        for node in expressions(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        found.add(statement.target.id)
    return found


def binds(statement: ast.stmt) -> set[str]:
    """Returns the names that a statement binds; `a.append(x)` and `a[i] = x` bind `a`."""
    found = {
        node.id
        for node in expressions(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    for target in targets:
        if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            found.add(target.value.id)
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        owner = call.func.value
        if call.func.attr in ("append", "extend", "add", "insert") and isinstance(owner, ast.Name):
            found.add(owner.id)
    return found


def sharpened(line: Line, op: str) -> Line:
    """Returns the line of the call within a statement of several lines.

    In converted code a whole statement has the number of its first line.
    """
    statement = statement_at(line.file, line.line)
    if statement is None or _end(statement) == statement.lineno != line.line:
        return line
    wanted = _letters(op)
    found = {
        node.func.end_lineno or node.lineno
        for node in expressions(statement)
        if isinstance(node, ast.Call) and _letters(called(node)) == wanted
    }
    if not found or line.line in found:
        return line
    return Line(line.file, min(found), line.function)


def called(call: ast.Call) -> str:
    """Returns the last part of the name of what is called."""
    return str(getattr(call.func, "attr", None) or getattr(call.func, "id", ""))


def only_function(file: str, name: str) -> Function | None:
    """Returns the function of a file that has this name, None for none or several."""
    found = [function for function in functions(file) if function.name == name]
    return found[0] if len(found) == 1 else None


def bound_arguments(call: ast.Call, function: Function) -> Iterator[tuple[str, ast.expr]]:
    """Yields which parameter of a function takes which argument of a call, as far as it shows."""
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    if names[:1] == ["self"] and isinstance(call.func, ast.Attribute):
        names = names[1:]
    yield from zip(names, call.args, strict=False)
    for keyword in call.keywords:
        if keyword.arg is not None:
            yield keyword.arg, keyword.value


def comprehended(statement: ast.stmt, names: set[str]) -> set[str]:
    """Returns what comprehensions in a statement call the elements of what has these names."""
    found = set[str]()
    for node in expressions(statement):
        if isinstance(node, ast.comprehension) and names_in(node.iter) & (names | found):
            found |= names_in(node.target)
    return found


def names_in(expression: ast.AST) -> set[str]:
    """Returns the names within an expression."""
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def root(node: ast.AST) -> str:
    """Returns the first name of `a.b.c(...)[...]`, "" where there is none."""
    while True:
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return node.id if isinstance(node, ast.Name) else ""


def _letters(name: str) -> str:
    return name.replace("_", "").lower()


def _end(statement: ast.stmt) -> int:
    """Returns the last line of a statement, of a block the last of its head."""
    body = getattr(statement, "body", None)
    if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
        return max(statement.lineno, body[0].lineno - 1)
    return statement.end_lineno or statement.lineno
