"""Source text as it was when it was loaded: a file that was edited since says nothing."""

from __future__ import annotations

import functools
import linecache
import sys
import time
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

_STARTED = time.time()


def lines(file: str, module_globals: dict[str, Any] | None = None) -> list[str]:
    """Returns the lines of a file; none where it is not to be had, or is another by now.

    Args:
      file: as code objects name it: a path, also into a zip, or a notebook's cell.
      module_globals: of a frame of that file, which know of loaders.
    """
    found = linecache.getlines(file, module_globals)
    entry = linecache.cache.get(file)
    # A cell, or what a loader gave, has no time.
    written = entry[1] if entry is not None and len(entry) == 4 else None
    if written is not None and written > _STARTED and _is_edited(file, "".join(found)):
        return []
    return found


def line(file: str, number: int, module_globals: dict[str, Any] | None = None) -> str:
    """Returns a line without its indentation, "" where it is not to be had."""
    found = lines(file, module_globals)
    return found[number - 1].strip() if 1 <= number <= len(found) else ""


@functools.lru_cache(maxsize=64)
def _is_edited(file: str, text: str) -> bool:
    """Tells whether the functions that were loaded from a file are not those of its text."""
    try:
        now = set(_inside(compile(text, file, "exec", dont_inherit=True)))
    except (SyntaxError, ValueError):
        return True
    loaded = set(_loaded(file))
    return not loaded or not loaded <= now


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


def _loaded(file: str) -> Iterator[CodeType]:
    """Yields the code of functions of the modules that are of a file."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})  # any other attribute may load a lazy module
        if names.get("__file__") != file:
            continue
        for value in list(names.values()):
            for member in list(vars(value).values()) if isinstance(value, type) else [value]:
                function = member
                if type(member).__module__.startswith("tensorflow."):  # a tf.function
                    function = getattr(member, "python_function", None)
                if isinstance(function, FunctionType) and function.__code__.co_filename == file:
                    yield function.__code__
