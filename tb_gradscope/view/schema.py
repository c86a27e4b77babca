"""What the plugin's routes answer: the one definition of the HTTP interface.

Names travel as JSON, one frozen dataclass for each object; numbers travel as
little-endian float32, since JSON has no NaN. The page's types are generated
from this file by `schema_ts`. Steps, calls and counts are whole numbers.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from tb_gradscope.diagnose import thresholds
from tb_gradscope.format.record import absent_norm
from tb_gradscope.format.statistics import State, Statistic

STATES = {state.name.lower(): int(state) for state in State}
"""What the first statistic may be, by name."""

STATISTICS = tuple(statistic.name.lower() for statistic in Statistic)
"""Names of the statistics, in the order of the numbers' last axis."""

CLIP_STATISTICS = ("threshold", "norm_before", "norm_after", "scale")
"""Names of a clip site's own numbers, in the order that `clip` answers them."""

OPTIMIZER_STATISTICS = ("loss_scale", "learning_rate")
"""Names of an optimizer's own numbers, in the order that `optimizer` answers them."""

NOTHING = -1.0
"""In place of the norm of a whole gradient: every gradient asked for was None."""

TRACED = -2.0
"""In place of the norm of a whole gradient: only tracing was seen, and no number ever came."""

UNMEASURED = int(absent_norm().view("u4"))
"""The bits of the NaN in place of a statistic that was not measured: of large gradients the
norm alone is, in records that only the sentinel has chosen."""

MarkKind = Literal["nonfinite", "spike", "skipped"]


@dataclasses.dataclass(frozen=True)
class Place:
    """A line of the user's program. `code` is empty where it is not to be had."""

    file: str
    line: int
    function: str
    code: str


@dataclasses.dataclass(frozen=True)
class Label:
    """Which gradient the numbers are of.

    `text` says it in words, `subtitle` only what tells it from others of its name:
    "replica 0 of 2", "accumulated", mostly nothing. `replica` is -1 for what is
    reduced over all.
    """

    stage: Literal["raw", "unscaled"]
    batch: Literal["whole", "micro_batch", "accumulated"]
    replicas: int
    replica: int
    sparse: bool
    step_source: Literal["user", "calls"]
    text: str
    subtitle: str


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run in few words. Steps are -1 where nothing is recorded; `missing` counts pairs."""

    name: str
    losses: int
    variables: int
    clips: int
    optimizers: int
    cosines: int
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
    """A loss: a column of the matrix.

    `id` is unique in the run and names it in queries and links: its name, and
    what of its label tells it from others of that name. `total` is the position of
    the loss that this one is a summand of, -1 if there is none.

    `variables` are positions in the run's variables. `steps` and `calls` have one
    entry for each record at hand; `records` also counts those that sampling
    dropped. `traced_only`: tracing was seen, but no number ever came. `watched`:
    a sentinel looked at all calls that are not recorded. `nonfinite`: calls known
    with NaN or Inf. `loss_scales`: of each record, -1 where not finite; none where
    all are 1. `skipped_steps`: where an optimizer left out the update because the
    loss scale had overflowed, so that NaN and Inf there are no fault.
    """

    id: str
    name: str
    part_of: str
    total: int
    where: Place | None
    label: Label
    variables: tuple[int, ...]
    steps: tuple[int, ...]
    calls: tuple[int, ...]
    records: int
    traced_only: bool
    watched: bool
    nonfinite: int
    loss_scales: tuple[float, ...]
    skipped_steps: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """An optimizer: a column of the matrix, behind the losses.

    `id`, `variables` and `steps` as a loss's. `calls`, `applied` and `skipped` are
    cumulative, one entry for each record. `skipped_steps`: where the update was
    left out because the loss scale had overflowed. `accumulation`: micro-batches
    to one update.
    """

    id: str
    name: str
    class_name: str
    where: Place | None
    label: Label
    accumulation: int
    has_loss_scale: bool
    variables: tuple[int, ...]
    steps: tuple[int, ...]
    calls: tuple[int, ...]
    applied: tuple[int, ...]
    skipped: tuple[int, ...]
    skipped_steps: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Two losses, by their ids, whose gradients were compared on the `variables` they share."""

    one: str
    other: str
    variables: tuple[int, ...]
    steps: tuple[int, ...]


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

    They are of all calls if `counts_every_call`, else of those recorded.
    `after` names the clip site whose output is clipped again here, or is empty.
    `id` as a loss's. The label's `text` says in sentences where among all that
    happens to gradients this is, or is empty.
    """

    id: str
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
    counts_every_call: bool


@dataclasses.dataclass(frozen=True)
class Missing:
    """Gradients that were None: the variables of one loss that share one fate.

    `loss` is its id. `count` of the `asked` records had None. `pattern`: "always", "from" a step on
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

    `loss` is its id. `count` of the `asked` records were so, `first_step` and
    `last_step` the first and the last of them. `exact`: the sentinel watched, so that
    none can have been before. `pattern`: "always", "from" a step on and ever since,
    "on_and_off", or "once" where only one record was and others came after it. A
    gradient that holds both is "nan". What an optimizer skipped is no such entry.
    """

    loss: str
    variables: tuple[str, ...]
    state: Literal["nan", "inf"]
    first_step: int
    last_step: int
    pattern: Literal["always", "from", "on_and_off", "once"]
    count: int
    asked: int
    exact: bool
    where: Place | None


@dataclasses.dataclass(frozen=True)
class Overflow:
    """A loss whose gradients were not finite at steps that an optimizer skipped: no fault.

    `loss` is its id. `records` is how many records of any one variable were so, at most.
    """

    loss: str
    variables: int
    records: int
    steps: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Mark:
    """A record that the sentinel made, because something began at its step.

    `loss` is its id. `kind`: a gradient became "nonfinite", a norm made a "spike", or
    the loss scale overflowed, so that the step was "skipped". `direction`: where the norm
    of a spike went, empty where it is not known, and of others. Of the variables it is
    about, the first few are named, those that went farthest first; `more` counts the
    others.
    """

    step: int
    kind: MarkKind
    direction: Literal["up", "down", ""]
    loss: str
    variables: tuple[str, ...]
    more: int


@dataclasses.dataclass(frozen=True)
class Run:
    """All of a run but its numbers. `steps` are those of any loss or optimizer, sorted.

    `nonfinite` is ordered by first step, `marks` by step.
    """

    name: str
    token: str
    statistics: tuple[str, ...]
    steps: tuple[int, ...]
    losses: tuple[Loss, ...]
    variables: tuple[Variable, ...]
    clips: tuple[Clip, ...]
    optimizers: tuple[Optimizer, ...]
    cosines: tuple[Cosine, ...]
    missing: tuple[Missing, ...]
    nonfinite: tuple[Nonfinite, ...]
    overflows: tuple[Overflow, ...]
    marks: tuple[Mark, ...]
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong with a run, or worth knowing.

    `loss` is its id, empty where it is of none; `other_loss` the id of the second loss
    of a conflict or domination, of one that reaches variables that this one does not,
    or whose NaN or Inf this one follows from. `cause`: kind "none" only, else empty.
    `message` says all of it in a sentence, `advice` what to try. `op`: the operation at
    that line that matters, or empty. `threshold`: what its numbers passed, by its name
    in THRESHOLDS, or empty, and `limit` the value that it had.
    """

    severity: Literal["error", "warning", "info"]
    kind: str
    cause: str
    loss: str
    other_loss: str
    variables: tuple[str, ...]
    first_step: int
    last_step: int
    message: str
    advice: str
    where: Place | None
    op: str
    threshold: str
    limit: str


@dataclasses.dataclass(frozen=True)
class Findings:
    """All that is wrong with a run, worst first."""

    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What findings compare numbers with; a parameter of `findings`.

    `meaning`: the kinds of finding it is for, and what is compared with it. `high`: null
    where there is no bound. `whole`: only whole numbers make sense.
    """

    name: str
    default: float
    unit: str
    meaning: str
    low: float
    high: float | None
    whole: bool


THRESHOLDS = tuple(
    Threshold(
        name=one.name,
        default=one.default,
        unit=one.unit,
        meaning=one.meaning,
        low=one.low,
        high=one.high if math.isfinite(one.high) else None,
        whole=one.is_whole,
    )
    for one in thresholds.THRESHOLDS
)
"""All thresholds, in the order of the report's flags."""


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
    "findings": Route(
        {"run": str, **{f"{one.name}?": float for one in THRESHOLDS}},
        Findings,
        "What is wrong with one run, judged by the thresholds given and the defaults of the rest.",
    ),
    "matrix": Route(
        {"run": str, "step": int},
        None,
        "[loss or optimizer, variable, statistic + 1] over the run's losses, then its optimizers, "
        "of the latest record at or before the step that has the variable. Behind the statistics: "
        "that record's position in the steps of the loss or optimizer, or -1. Absent pairs: state "
        "-1, the rest NaN. A NaN of the bits UNMEASURED: not measured.",
    ),
    "series": Route(
        {"run": str, "variable": str},
        None,
        "For each loss that has the variable, then each optimizer, in the run's order: "
        "[record, statistic]. A NaN of the bits UNMEASURED: not measured.",
    ),
    "loss": Route(
        {"run": str, "loss": str},
        None,
        "[record]: L2 norm of the loss's whole gradient; NaN or Inf where any part is. "
        "-1 where every gradient asked for was None, -2 where only tracing was seen.",
    ),
    "reached": Route(
        {"run": str, "optimizer": str},
        None,
        "[record]: as `loss`, of all that reached an optimizer.",
    ),
    "clip": Route(
        {"run": str, "site": str},
        None,
        "[record, CLIP_STATISTICS], then [record, variable, 2]: L2 norms before and after, "
        "NaN where the gradient was None or is not in the record.",
    ),
    "optimizer": Route(
        {"run": str, "optimizer": str},
        None,
        "[record, OPTIMIZER_STATISTICS], then [record, variable, 2]: L2 norm of the update and "
        "of the variable before it; NaN where not known. A variable's of the bits UNMEASURED: "
        "neither was measured.",
    ),
    "cosines": Route(
        {"run": str},
        None,
        "For each entry of the run's cosines: [record], cosine of the two gradients over all "
        "variables they share; NaN where not known.",
    ),
    "cosine": Route(
        {"run": str, "one": str, "other": str},
        None,
        "[record, variable]: cosine of two losses' gradients; NaN where not known.",
    ),
}
