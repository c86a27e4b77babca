"""What a whole training program is in which a gradient is missing, or in which all is well."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from tests.diagnose.cases.none_case import MARK


@dataclasses.dataclass(frozen=True)
class Program:
    """A training, as people write it, and what a user must be told of it.

    Attributes:
      run: trains; it may die of the missing gradient. What it takes is the list of
        Keras callbacks.
      cause: of the finding that must be there; several where each is right. None: a
        healthy program, in which nothing above info may be found.
      kind: of the finding.
      op: the operation to be named, if the program insists.
      severity: of the finding.
      loss: its loss.
      variables: words: each is in the name of a variable found, and each name has one.
      by: how it is recorded: "patch" (an unmodified program), "tape" (`gs.GradientTape`)
        or "fit" (`gs.KerasCallback`).
      reported: where people met it.
    """

    run: Callable[[list[Any]], None]
    cause: tuple[str, ...]
    kind: str
    op: str | None
    severity: str
    loss: str
    variables: tuple[str, ...]
    by: str
    reported: str

    @property
    def name(self) -> str:
        return self.run.__name__

    def lines(self) -> set[int]:
        """Returns the lines marked, in the file of the program."""
        text, start = inspect.getsourcelines(self.run)
        return {start + i for i, line in enumerate(text) if line.rstrip().endswith(MARK)}


class Programs(list[Program]):
    """Collects the programs of a module."""

    def __call__(
        self,
        reported: str,
        cause: str | tuple[str, ...] = (),
        variables: tuple[str, ...] = (),
        *,
        loss: str = "loss",
        severity: str = "error",
        kind: str = "none",
        op: str | None = None,
        by: str = "patch",
    ) -> Callable[[Any], Any]:
        causes = (cause,) if isinstance(cause, str) else cause

        def add(run: Any) -> Any:
            self.append(Program(run, causes, kind, op, severity, loss, variables, by, reported))
            return run

        return add
