"""Small real trainings. Each says in its first lines which finding must appear.

`python -m demo` trains them all and opens TensorBoard; each module reads on its own:

    from demo import vae
    vae.train("logs/vae", steps=200)
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any


@dataclasses.dataclass(frozen=True)
class Demo:
    """One demo.

    Attributes:
      name: also the name of its run.
      module: where it is written down.
      steps: how many show what is to be seen.
      crashes: it ends with an exception, so that it needs a process of its own:
        `python -m demo.MODULE LOGDIR OPTIONS`.
      options: of that process.
    """

    name: str
    module: str
    steps: int = 240
    crashes: bool = False
    options: tuple[str, ...] = ()

    def train(self, logdir: str, steps: int) -> list[Any]:
        """Trains, records into `logdir` and returns the weights."""
        weights: list[Any] = self._import().train(logdir, steps)
        return weights

    @property
    def finding(self) -> str:
        """Which finding must appear, as the module says it."""
        paragraphs = (inspect.getdoc(self._import()) or "").split("\n\n")
        return " ".join(paragraphs[0].removeprefix("Finding: ").split())

    def _import(self) -> Any:
        return importlib.import_module(f"demo.{self.module}")


DEMOS = {
    demo.name: demo
    for demo in (
        Demo("separate_weights", "separate_weights"),
        Demo("extra_update", "extra_update"),
        Demo("summed_clipped", "summed_clipped"),
        Demo("summed_crash", "summed_crash", crashes=True),
        Demo("summed_crash_traced", "summed_crash", crashes=True, options=("--traced",)),
        Demo("gan", "gan"),
        Demo("vae", "vae"),
        Demo("codebook", "codebook"),
        Demo("half_precision", "half_precision"),
        Demo("keras_fit", "keras_fit"),
        Demo("vanishing", "vanishing"),
        Demo("exploding", "exploding"),
        Demo("healthy", "healthy"),
    )
}
"""All demos by name, in the order in which they are trained."""
