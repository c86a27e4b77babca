"""What the plugin's routes answer: the one definition of the HTTP interface.

Names travel as JSON, one frozen dataclass for each object; numbers travel as
little-endian float32, since JSON has no NaN. The page's types are generated
from this file by `schema_ts`. Steps, calls and counts are whole numbers.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from tb_gradscope.format.statistics import State, Statistic

STATES = {state.name.lower(): int(state) for state in State}
"""What the first statistic may be, by name."""

STATISTICS = tuple(statistic.name.lower() for statistic in Statistic)
"""Names of the statistics, in the order of the numbers' last axis."""

CLIP_STATISTICS = ("threshold", "norm_before", "norm_after", "scale")
"""Names of a clip site's own numbers, in the order that `clip` answers them."""


NOTHING = -1.0
"""In place of the norm of a whole gradient: every gradient asked for was None."""

TRACED = -2.0
"""In place of the norm of a whole gradient: only tracing was seen, and no number ever came."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A line of the user's program. `code` is empty where it is not to be had."""

    file: str
    line: int
    function: str
    code: str


@dataclasses.dataclass(frozen=True)
class Label:
    """Which gradient the numbers are of. `text` says it in words."""

    stage: Literal["raw", "unscaled"]
    batch: Literal["whole", "micro_batch", "accumulated"]
    replicas: int
    replica: int
    sparse: bool
    step_source: Literal["user", "calls"]
    text: str


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run in few words. Steps are -1 where nothing is recorded; `missing` counts pairs."""

    name: str
    losses: int
    variables: int
    clips: int
    first_step: int
    last_step: int
    missing: int
    last_wall_time: float


@dataclasses.dataclass(frozen=True)
class Index:
    """All runs. `unchanged` and no runs where `since` is still the current token."""

    token: str
    unchanged: bool
    runs: tuple[RunSummary, ...]


@dataclasses.dataclass(frozen=True)
class Loss:
    """A row of the matrix.

    `variables` are positions in the run's variables. `steps` and `calls` have one
    entry for each record at hand; `records` also counts those that sampling
    dropped. `traced_only`: tracing was seen, but no number ever came.
    """

    name: str
    where: Place | None
    label: Label
    variables: tuple[int, ...]
    steps: tuple[int, ...]
    calls: tuple[int, ...]
    records: int
    traced_only: bool


@dataclasses.dataclass(frozen=True)
class Variable:
    """What gradients were asked for. `size` is -1 where a dimension is unknown."""

    name: str
    layer: str
    dtype: str
    shape: tuple[int, ...]
    kind: Literal["variable", "tensor"]
    trainable: bool
    size: int


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip site. `calls`, `clipped` and `nonfinite` are cumulative, one entry for each record.

    `after` names the clip site whose output is clipped again here, or is empty.
    """

    name: str
    method: Literal["norm", "value", "global_norm", "custom"]
    after: str
    where: Place | None
    label: Label
    variables: tuple[str, ...]
    steps: tuple[int, ...]
    calls: tuple[int, ...]
    clipped: tuple[int, ...]
    nonfinite: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Missing:
    """Gradients that were None: the variables of one loss that share one fate.

    `count` of the `asked` records had None. `pattern`: "always", "from" a step on
    and ever since, or "on_and_off".
    """

    loss: str
    variables: tuple[str, ...]
    first_step: int
    last_step: int
    pattern: Literal["always", "from", "on_and_off"]
    count: int
    asked: int
    where: Place | None


@dataclasses.dataclass(frozen=True)
class Nonfinite:
    """Gradients that held NaN or Inf: the variables of one loss that share one fate.

    `count` of the `asked` records were so, `first_step` and `last_step` the first
    and the last of them. `pattern`: "always", "from" a step on and ever since,
    "on_and_off", or "once" where only one record was and others came after it. A
    gradient that holds both is "nan".
    """

    loss: str
    variables: tuple[str, ...]
    state: Literal["nan", "inf"]
    first_step: int
    last_step: int
    pattern: Literal["always", "from", "on_and_off", "once"]
    count: int
    asked: int
    where: Place | None


@dataclasses.dataclass(frozen=True)
class Run:
    """All of a run but its numbers. `steps` are those of any loss, sorted.

    `nonfinite` is ordered by first step.
    """

    name: str
    token: str
    statistics: tuple[str, ...]
    steps: tuple[int, ...]
    losses: tuple[Loss, ...]
    variables: tuple[Variable, ...]
    clips: tuple[Clip, ...]
    missing: tuple[Missing, ...]
    nonfinite: tuple[Nonfinite, ...]
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Route:
    """A route of the plugin, relative to `data/plugin/gradscope/`.

    Attributes:
      query: the parameters and their types; "?" behind a name: may be left out.
      answer: the dataclass answered as JSON, None where float32 numbers are.
      meaning: one sentence, with the axes where the answer is numbers.
    """

    query: dict[str, type]
    answer: type | None
    meaning: str


ROUTES: dict[str, Route] = {
    "index": Route({"since?": str}, Index, "All runs."),
    "run": Route({"run": str}, Run, "One run, all but its numbers."),
    "matrix": Route(
        {"run": str, "step": int},
        None,
        "[loss, variable, statistic + 1] over the run's losses and variables, of the latest "
        "record at or before the step that has the variable. Behind the statistics: that "
        "record's position in the loss's steps, or -1. Absent pairs: state -1, the rest NaN.",
    ),
    "series": Route(
        {"run": str, "variable": str},
        None,
        "For each loss that has the variable, in the run's order: [record, statistic].",
    ),
    "loss": Route(
        {"run": str, "loss": str},
        None,
        "[record]: L2 norm of the loss's whole gradient; NaN or Inf where any part is. "
        "-1 where every gradient asked for was None, -2 where only tracing was seen.",
    ),
    "clip": Route(
        {"run": str, "site": str},
        None,
        "[record, CLIP_STATISTICS], then [record, variable, 2]: L2 norms before and after, "
        "NaN where the gradient was None or is not in the record.",
    ),
}
