"""Where a value leaves TensorFlow, as far as the source tells: `np.mean(y)`, `y.numpy()`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from tb_gradscope.recording.why import program
from tb_gradscope.recording.why.lines import Line

_METHODS = frozenset({"numpy", "item", "tolist", "convert_to_numpy", "predict", "predict_on_batch"})
_FUNCTIONS = frozenset({"float", "int", "bool", "complex", "numpy_function", "py_function"})
_MODULES = frozenset({"np", "numpy", "onp", "math", "scipy", "sklearn", "cv2"})
_DEEPEST = 3  # functions within functions
_CALLED_UNNAMED = frozenset({"call", "__call__"})
_LAMBDA = "<lambda>"
_PRINTS = frozenset(
    {"print", "write", "log", "debug", "info", "warning", "error", "exception", "critical"}
    | {"set_postfix", "set_description", "scalar"}
)


def exit_after(start: Line, loss: Line) -> Line | None:
    """Returns where a value left TensorFlow on its way to the loss.

    Args:
      start: the line at which the value was last seen in TensorFlow.
      loss: where the loss is bound.

    Returns:
      None where the source shows no such line.
    """
    scope = program.scope_at(start.file, start.line)
    after = (s for s in program.statements(scope) if (s.end_lineno or s.lineno) >= start.line)

    def is_start(statement: ast.stmt) -> bool:
        return statement.lineno <= start.line <= (statement.end_lineno or 0)

    def arrives(statement: ast.stmt) -> bool:
        if loss.file == start.file and _at(statement, loss):
            return True
        return isinstance(statement, ast.Return) and _is_used(scope, loss)

    return _exit_among(after, start, set(), _DEEPEST, is_start, arrives)


def _exit_among(
    statements: Iterable[ast.stmt],
    here: Line,
    own: set[str],
    depth: int,
    is_start: Callable[[ast.stmt], bool],
    arrives: Callable[[ast.stmt], bool],
) -> Line | None:
    """Returns where a value leaves TensorFlow, if what becomes of it arrives.

    Args:
      statements: in order.
      here: a line of theirs.
      own: names of the value, and of what is computed from it within TensorFlow.
      depth: of the functions to look into.
      is_start: tells whether a statement has the value, under whatever name.
      arrives: tells whether what a statement reads is where it should get to.
    """
    found: Line | None = None
    left = set[str]()
    for statement in statements:
        names, targets = program.reads(statement), program.binds(statement)
        has_value = is_start(statement) or bool(names & own)
        is_exit = False
        if found is None and has_value and not _is_print(statement):
            found = _exit_at(statement, here, None if is_start(statement) else own, depth)
            is_exit = found is not None
        if is_exit or names & left:
            left |= targets
            if arrives(statement):
                return found
        elif has_value:
            own = own | targets
    return None


def _exit_at(statement: ast.stmt, here: Line, names: set[str] | None, depth: int) -> Line | None:
    """Returns where a value leaves TensorFlow in a statement, or in what that calls."""
    if names is not None:
        names = names | program.comprehended(statement, names)
    # What a helper returns to `np.stack(helper(y))` has left TensorFlow within it.
    inner = _exit_in_calls(statement, here.file, names, depth) if depth > 0 else None
    call = _exit_in(statement, names)
    if inner is not None or call is None:
        return inner
    return Line(here.file, call.lineno, here.function)


def _exit_in_calls(
    statement: ast.stmt, file: str, names: set[str] | None, depth: int
) -> Line | None:
    """Returns where a value leaves TensorFlow in a function of the same file that returns it."""
    for node in program.expressions(statement):
        if not isinstance(node, ast.Call):
            continue
        function = program.only_function(file, program.called(node))
        if function is None:
            continue
        given = [
            name
            for name, value in program.bound_arguments(node, function)
            if names is None or program.names_in(value) & names
        ]
        found = _exit_of_function(function, file, set(given), depth - 1) if given else None
        if found is not None:
            return found
    return None


def _exit_of_function(
    function: program.Function, file: str, own: set[str], depth: int
) -> Line | None:
    """Returns where arguments leave TensorFlow in a function that returns what becomes of them."""
    here = Line(file, function.lineno, function.name)
    return _exit_among(
        program.statements(function),
        here,
        own,
        depth,
        is_start=lambda statement: False,
        arrives=lambda statement: isinstance(statement, ast.Return),
    )


def _is_used(scope: ast.AST, loss: Line) -> bool:
    """Tells whether what a function returns goes into the loss."""
    name = getattr(scope, "name", "")
    for statement in program.statements(program.scope_at(loss.file, loss.line)):
        calls = (n for n in program.expressions(statement) if isinstance(n, ast.Call))
        if any(program.called(call) == name for call in calls) or (
            name in _CALLED_UNNAMED and _at(statement, loss)
        ):
            line = Line(loss.file, statement.lineno, "")
            if flows((line,), loss):
                return True
    return False


def flows(stack: tuple[Line, ...], loss: Line) -> bool:
    """Tells whether what a line computes goes into the loss, by the names that it binds.

    Args:
      stack: the line, and those that called it.
      loss: where the loss is bound.
    """
    scope = program.scope_at(loss.file, loss.line)
    start = next(
        (line for line in stack if line.file == loss.file and _spans(scope, line.line)), None
    )
    if start is None:
        return False
    bound = set[str]()
    for statement in program.statements(scope):
        is_start = _at(statement, start)
        if not (is_start or program.reads(statement) & bound):
            continue
        bound |= program.binds(statement)
        if _at(statement, loss) or isinstance(statement, ast.Return):
            return True
    return False


def is_handed_on(line: Line) -> bool:
    """Tells whether what leaves TensorFlow in a function may get out of that function.

    It may by `return` and `yield`, within an object or a container, through a name of
    the scope around, and by a method that takes it: `queue.put(y.numpy())`.
    """
    if _LAMBDA in line.function:  # it returns whatever it computes
        return not _is_shown_by_lambda(line)
    scope = program.scope_at(line.file, line.line)
    outer = {
        name
        for statement in program.statements(scope)
        if isinstance(statement, ast.Global | ast.Nonlocal)
        for name in statement.names
    }
    bound = set[str]()
    for statement in program.statements(scope):
        is_here = statement.lineno <= line.line <= (statement.end_lineno or statement.lineno)
        if not (is_here or program.reads(statement) & bound):
            continue
        targets = program.binds(statement)
        if targets & outer or _gives_away(statement) or _is_taken(statement, is_here, bound):
            return True
        bound |= targets
    return False


def _is_shown_by_lambda(line: Line) -> bool:
    """Tells whether the lambdas of a line do nothing but print or log."""
    statement = program.statement_at(line.file, line.line)
    nodes = () if statement is None else program.expressions(statement)
    bodies = [node.body for node in nodes if isinstance(node, ast.Lambda)]
    return bool(bodies) and all(_is_print(ast.Expr(body)) for body in bodies)


def _gives_away(statement: ast.stmt) -> bool:
    """Tells whether a statement returns or yields something, or puts it into an object."""
    return isinstance(statement, ast.Return) or any(
        isinstance(node, ast.Yield | ast.YieldFrom)
        or (isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store))
        for node in program.expressions(statement)
    )


def _is_taken(statement: ast.stmt, is_here: bool, bound: set[str]) -> bool:
    """Tells whether a statement calls a method with the value, not only to show it.

    Args:
      statement: whichever.
      is_here: the value leaves TensorFlow in it: any of its arguments may be the value.
      bound: names of the value.
    """
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Await):
        call = call.value
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return False
    if _is_print(statement):
        return False
    given = (*call.args, *(keyword.value for keyword in call.keywords))
    names = {name for argument in given for name in program.names_in(argument)}
    return bool(names if is_here else names & bound)


def decides(line: Line, loss: Line) -> bool:
    """Tells whether a condition at a line chooses what the loss is computed from."""
    statement = program.statement_at(line.file, line.line)
    if statement is None or loss.file != line.file:
        return False
    if not isinstance(statement, ast.If | ast.While):
        return any(isinstance(node, ast.IfExp) for node in program.expressions(statement))
    bound = set[str]()
    for inner in program.statements(statement):
        bound |= program.binds(inner)
        if _at(inner, loss):
            return True
    at_loss = program.statement_at(loss.file, loss.line)
    return at_loss is not None and bool(bound & (program.reads(at_loss) | program.binds(at_loss)))


def is_only_shown(line: Line) -> bool:
    """Tells whether a value left TensorFlow only to be printed or logged."""
    statement = program.statement_at(line.file, line.line)
    return statement is not None and _is_print(statement)


def is_condition(line: Line) -> bool:
    """Tells whether a value left TensorFlow to decide what runs."""
    statement = program.statement_at(line.file, line.line)
    if isinstance(statement, ast.Assert):
        return True
    return isinstance(statement, ast.If | ast.While)


def _exit_in(statement: ast.stmt, names: set[str] | None) -> ast.Call | None:
    """Returns the call by which one of `names` leaves TensorFlow, of any value for None."""
    for node in program.expressions(statement):
        if not isinstance(node, ast.Call):
            continue
        name, start = program.called(node), program.root(node.func)
        is_exit = (
            (name in _METHODS and isinstance(node.func, ast.Attribute))
            or name in _FUNCTIONS
            or (start in _MODULES and isinstance(node.func, ast.Attribute))
        )
        if not is_exit:
            continue
        read = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        if names is None or read & names:
            return node
    return None


def _is_print(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and program.called(call) in _PRINTS


def _spans(scope: ast.AST, line: int) -> bool:
    if isinstance(scope, ast.Module):
        return True
    first, last = getattr(scope, "lineno", 0), getattr(scope, "end_lineno", 0)
    return bool(first <= line <= last)


def _at(statement: ast.stmt, line: Line) -> bool:
    return statement.lineno <= line.line <= (statement.end_lineno or statement.lineno) and not (
        isinstance(getattr(statement, "body", None), list)
    )
