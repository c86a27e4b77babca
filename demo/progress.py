"""The progress bar of a training loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

_T = TypeVar("_T")


def progress(items: Sequence[_T], name: str) -> Iterable[_T]:
    """Yields the items and draws how far that is, unless the output goes to a file."""
    return tqdm(items, desc=f"  {name}", unit=" steps", leave=False, disable=None)
