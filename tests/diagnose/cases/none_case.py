"""What a program without a gradient is, and how its expected answer is written down."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

MARK = "# <--"
"""Ends the line that the cause must name. Several lines marked: any of them."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A small program that asks for a gradient and gets None.

    Attributes:
      make: given the tape class, makes everything and returns the training step. The
        first source that the step asks for is the one in question.
      cause: in eager code and in a `tf.function`.
      op: the operation to be named, if the case insists.
      modes: "e" eager, "g" in a `tf.function`.
      reported: where people met it.
    """

    make: Callable[[Any], Callable[[], Any]]
    cause: str
    op: str | None
    modes: str
    reported: str

    @property
    def name(self) -> str:
        return self.make.__name__

    def lines(self) -> set[int]:
        """Returns the lines marked, in the file of the case."""
        text, start = inspect.getsourcelines(self.make)
        return {start + i for i, line in enumerate(text) if line.rstrip().endswith(MARK)}


class Cases(list[Case]):
    """Collects the cases of a module."""

    def __call__(
        self, cause: str, reported: str, *, op: str | None = None, modes: str = "eg"
    ) -> Callable[[Any], Any]:
        def add(make: Any) -> Any:
            self.append(Case(make, cause, op, modes, reported))
            return make

        return add
