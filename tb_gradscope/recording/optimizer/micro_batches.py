"""Variables whose gradients are accumulated over several batches before they are applied."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from typing import Any

from tb_gradscope.format import messages

# By id: variables cannot be hashed.
_accumulated: dict[int, weakref.ref[Any]] = {}


def remember_accumulated(variables: Iterable[Any]) -> None:
    """Notes the variables of an optimizer that accumulates gradients."""
    for variable in variables:
        forget = functools.partial(_forget, id(variable))
        _accumulated[id(variable)] = weakref.ref(variable, forget)


def _forget(key: int, reference: weakref.ref[Any]) -> None:
    if _accumulated.get(key) is reference:
        del _accumulated[key]


def batch_of(variables: list[Any]) -> int:
    """Returns the `Label.Batch` of gradients that are taken of some variables."""
    are_accumulated = bool(_accumulated and variables) and all(map(_is_accumulated, variables))
    batch = messages.Label.MICRO_BATCH if are_accumulated else messages.Label.WHOLE
    return int(batch)


def _is_accumulated(variable: Any) -> bool:
    reference = _accumulated.get(id(variable))
    return reference is not None and reference() is variable
