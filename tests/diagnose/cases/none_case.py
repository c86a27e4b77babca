"""What a program without a gradient is, and how its expected answer is written down."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

MARK = "# <--"
"""Ends the line that the cause must name. Several lines marked: any of them."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A small program that asks for a gradient and gets None.

    The last `.gradient(loss, sources)` in its text is the one in question, and the first
    source: their names in the program are those that the finding must use.

    Attributes:
      make: given the tape class, makes everything and returns the training step.
      cause: in eager code and in a `tf.function`.
      op: the operation to be named, if the case insists.
      modes: "e" eager, "g" in a `tf.function`.
      reported: where people met it.
      variable: a word in the name of the source in question, where the text of the call
        does not say it.
      first: the step at which it turns None.
    """

    make: Callable[[Any], Callable[[], Any]]
    cause: str
    op: str | None
    modes: str
    reported: str
    variable: str = ""
    first: int = 0

    @property
    def name(self) -> str:
        return self.make.__name__

    def lines(self) -> set[int]:
        """Returns the lines marked, in the file of the case."""
        text, start = inspect.getsourcelines(self.make)
        return {start + i for i, line in enumerate(text) if line.rstrip().endswith(MARK)}

    def asked(self) -> tuple[str, str]:
        """Returns the loss in the program's own words, and a word in the source's name."""
        calls = [
            node
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(self.make))))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "gradient"
        ]
        loss, sources = max(calls, key=lambda call: call.lineno).args
        return ast.unparse(loss), self.variable or _word(sources)


def _word(sources: ast.expr) -> str:
    """Returns the word that names the first source."""
    while not isinstance(sources, ast.Name | ast.Attribute):
        match sources:
            case ast.List(elts=[first, *_]):
                sources = first
            case ast.Subscript(value=inner) | ast.BinOp(left=inner):
                sources = inner
            case _:
                raise ValueError(f"no name in {ast.unparse(sources)}")
    if isinstance(sources, ast.Name):
        return sources.id
    return "kernel" if sources.attr == "trainable_variables" else sources.attr


class Cases(list[Case]):
    """Collects the cases of a module."""

    def __call__(
        self,
        cause: str,
        reported: str,
        *,
        op: str | None = None,
        modes: str = "eg",
        variable: str = "",
        first: int = 0,
    ) -> Callable[[Any], Any]:
        def add(make: Any) -> Any:
            self.append(Case(make, cause, op, modes, reported, variable, first))
            return make

        return add
