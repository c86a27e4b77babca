"""What losses and variables are called: as the user's own program calls them."""

from __future__ import annotations

import ast
import inspect
import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from tb_gradscope.recording.tape import place, sources

GRADIENT = frozenset({"gradient"})
_GREATEST_DEPTH = 3
_MOST_VISITED = 4000
_SKIPPED_LOCALS = ("retval_", "do_return", "fscope", "ag__", "__")
LONGEST = 300


class Names:
    """Hands out names within one recording, each to one thing only.

    Names already given stay with their variable or loss for as long as it
    lives: across steps, tapes and traces, frozen or not.
    """

    def __init__(self) -> None:
        self._variables: dict[int, tuple[weakref.ref[Any], str]] = {}
        self._bearers: dict[str, weakref.ref[Any]] = {}
        self._origins: dict[tuple[str, str], object] = {}

    def of_loss(self, candidate: str, origin: object) -> str:
        """Returns the name of a loss.

        Args:
          candidate: what it would be called were it alone.
          origin: hashable, the same for the same loss: where it comes from.
        """
        return self._claim("loss", candidate, origin)

    def of_site(self, candidate: str, origin: object) -> str:
        """Returns the name of a clip site; arguments as for `of_loss`."""
        return self._claim("clip", candidate, origin)

    def of_optimizer(self, candidate: str, origin: object) -> str:
        """Returns the name of an optimizer; arguments as for `of_loss`."""
        return self._claim("optimizer", candidate, origin)

    def of_variables(
        self,
        found: list[Any],
        caller: place.Caller,
        argument: ast.expr | None,
        otherwise: str = "variable",
    ) -> list[str]:
        """Returns the names of sources, in order.

        Args:
          found: the flat sources.
          caller: the call that names them.
          argument: the source expression they were given as, if known.
          otherwise: what to call those without a name.
        """
        spelled = _spelled_elements(argument, len(found))
        names: list[str] = []
        for position, source in enumerate(found):
            known = self._variables.get(id(source))
            if known is not None and known[0]() is source and known[1] not in names:
                names.append(known[1])
                continue
            spelling = spelled[position] if spelled else None
            candidate = _candidate(source, caller.frame, spelling) or otherwise
            names.append(self._name_of(source, candidate[:LONGEST], names))
        return names

    def of(self, source: Any) -> str | None:
        """Returns the name that a variable has, None if it was never seen."""
        known = self._variables.get(id(source))
        return known[1] if known is not None and known[0]() is source else None

    def was_variable(self, name: str) -> bool:
        """Tells whether a variable had this name at any time."""
        return name in self._bearers

    def _name_of(self, source: Any, candidate: str, used: list[str]) -> str:
        if not sources.is_variable(source):  # a tensor lives for one step, its name for all
            return _unique(candidate, lambda name: name in used)
        name = _unique(candidate, lambda name: name in used or self._is_alive(name))
        try:
            reference = weakref.ref(source)
        except TypeError:
            return name
        self._variables[id(source)] = (reference, name)
        self._bearers[name] = reference
        return name

    def _is_alive(self, name: str) -> bool:
        reference = self._bearers.get(name)
        return reference is not None and reference() is not None

    def _claim(self, kind: str, candidate: str, origin: object) -> str:
        def is_others(name: str) -> bool:
            return self._origins.get((kind, name), origin) != origin

        name = _unique(candidate[:LONGEST] or kind, is_others)
        self._origins[kind, name] = origin
        return name


def loss_candidate(target: Any, caller: place.Caller) -> str:
    """Returns what a loss is called where its gradient is taken.

    The local variable bound to that very object, else the expression in the
    source, else "loss"; "total" for a dict that is spelled out.
    """
    for name, value in caller.locals():
        if value is target:
            return name
    argument = place.argument_of(caller, GRADIENT, 0)
    if isinstance(target, Mapping) and (argument is None or _is_spelled_dict(argument)):
        return "total" if len(target) > 1 else str(next(iter(target), "total"))
    return (ast.unparse(argument) if argument is not None else "loss")[:LONGEST]


def _is_spelled_dict(argument: ast.expr) -> bool:
    is_dict_call = isinstance(argument, ast.Call) and ast.unparse(argument.func) == "dict"
    return is_dict_call or isinstance(argument, ast.Dict | ast.DictComp)


def candidate(source: Any, frame: FrameType) -> str | None:
    """Returns what the program calls a variable, None where no name leads to it."""
    return _candidate(source, frame, None)


def _unique(candidate: str, is_taken: Callable[[str], bool]) -> str:
    name, number = candidate, 1
    while is_taken(name):
        number += 1
        name = f"{candidate}_{number}"
    return name


def _candidate(source: Any, frame: FrameType, spelling: str | None) -> str | None:
    given = sources.own_name(source)
    if given is not None:
        return given
    # A helper's parameter is called the same whatever it is given.
    is_alias = spelling in place.parameters_of(frame)
    if spelling is not None and not is_alias:
        return spelling
    frames = place.outer_frames(frame)
    for scope in _scopes(frames):
        for name, value in scope.items():
            if value is source and not name.startswith(_SKIPPED_LOCALS):
                return name
    for scope in [*_selves(frames), *_scopes(frames)]:
        path = _path_to(source, scope)
        if path is not None:
            return path
    return spelling


def _selves(frames: list[FrameType]) -> Iterator[dict[str, Any]]:
    """Yields each method's own object, innermost first."""
    for frame in frames:
        yield from ({name: value} for name, value in place.locals_of(frame) if name == "self")


def _scopes(frames: list[FrameType]) -> Iterator[dict[str, Any]]:
    """Yields the outermost names first: they outlive loops, which rebind theirs."""
    seen = set()
    for frame in frames:
        if id(frame.f_globals) not in seen:
            seen.add(id(frame.f_globals))
            yield frame.f_globals
    for frame in reversed(frames):
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            yield dict(place.locals_of(frame))


def _path_to(source: Any, scope: dict[str, Any]) -> str | None:
    """Searches containers and attributes, breadth first: "self.embed", "params['w']"."""
    frontier = [
        (name, value) for name, value in scope.items() if not name.startswith(_SKIPPED_LOCALS)
    ]
    visited = 0
    seen: set[int] = set()
    for _ in range(_GREATEST_DEPTH):
        deeper = []
        for path, value in frontier:
            for inner_path, inner in _children(path, value):
                visited += 1
                if inner is source:
                    return inner_path
                if visited > _MOST_VISITED:
                    return None
                if id(inner) not in seen:
                    seen.add(id(inner))
                    deeper.append((inner_path, inner))
        frontier = deeper
    return None


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in list(value)[:500]:
            if isinstance(key, str | int):
                yield f"{path}[{key!r}]", value[key]
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value[:500]):
            yield f"{path}[{index}]", inner
    elif not isinstance(value, type) and type(value).__module__ != "builtins":
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict) and not hasattr(value, "__spec__"):
            for name in list(attributes)[:500]:
                if not name.startswith("_"):
                    yield f"{path}.{name}", attributes[name]


def _spelled_elements(argument: ast.expr | None, count: int) -> list[str | None] | None:
    """Returns how the source spells each element of a literal list, where it does."""
    if isinstance(argument, ast.List | ast.Tuple) and len(argument.elts) == count:
        plain = (ast.Name, ast.Attribute, ast.Subscript)
        return [ast.unparse(e) if isinstance(e, plain) else None for e in argument.elts]
    if isinstance(argument, ast.Attribute) and count == 1:
        return [ast.unparse(argument)]
    return None
