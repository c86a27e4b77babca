"""What a log directory tells, as arrays: the input of every view and every rule."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.packing import Counts, Floats

Steps = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

PENALTIES = ("add_loss", "regularization")
"""Losses in `model.fit` of what layers add by `add_loss`, and of their regularizers."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A line of the user's program."""

    file: str
    line: int
    function: str
    code: str


@dataclasses.dataclass(frozen=True)
class Variable:
    """A source that gradients were asked for; the same one in all losses of a run.

    Attributes:
      name: unique within the run.
      layer: `name` without its last part; what the page groups by.
      dtype: TensorFlow's name of it, such as "float32".
      shape: -1 where unknown.
      kind: "variable" or "tensor".
      trainable: as the variable says.
    """

    name: str
    layer: str
    dtype: str
    shape: tuple[int, ...]
    kind: str
    trainable: bool


@dataclasses.dataclass(frozen=True)
class Label:
    """Which gradient the numbers are of. See `Label` in gradscope.proto.

    Attributes:
      stage: "raw" or "unscaled".
      batch: "whole", "micro_batch" or "accumulated".
      replicas: number of replicas, 1 without distribution.
      replica: which one; -1 for the gradient reduced over all; 0 without distribution.
      sparse: some gradients were IndexedSlices.
      step_source: "user" for the program's own step, "calls" for counted calls.
      reduction: how it was reduced over the replicas: "local" for not at all, "sum",
        "mean", or "unknown"; "" without distribution.
      clipped: name of the clip site that it passed before it was reduced, or "".
    """

    stage: str
    batch: str
    replicas: int
    replica: int
    sparse: bool
    step_source: str
    reduction: str = ""
    clipped: str = ""


Identity = tuple[str, str, int, int, str, str]


def identity(label: Label) -> Identity:
    """Returns what of a label tells gradients of one name apart; the rest may change in a run."""
    reduced = (label.reduction, label.clipped)
    return (label.stage, label.batch, label.replicas, label.replica, *reduced)


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why gradients of a loss are None: one answer for all variables that share it.

    Attributes:
      kind: "unused", "blocked", "integer", "not_watched", "outside_tape", "state",
        "overwritten", "stopped" or "unknown".
      variables: positions in `RunHistory.variables`.
      where: the line to look at.
      op: TensorFlow's name of the operation there, or "".
      detail: which of the ways to be of this kind, see `diagnose.causes`.
      other: a second line that belongs to it, such as where the value is read.
      first_step: when it was first found so.
    """

    kind: str
    variables: tuple[int, ...]
    where: Place | None
    op: str
    detail: str
    other: Place | None
    first_step: int


@dataclasses.dataclass(frozen=True, repr=False)
class LossHistory:
    """All that was recorded of one loss.

    A loss may be recorded by several series (other variables asked for, frozen
    ones gone): `values` is State.ABSENT (-1) where a record lacks a variable.

    Losses of one name whose labels differ (replicas, micro-batches) stay apart.

    Attributes:
      name: unique within the run together with `identity(label)`.
      where: the call that was recorded, None if unknown.
      label: which gradient this is.
      variables: int64 `[variable]`, positions in `RunHistory.variables`.
      steps: int64 `[record]`, strictly increasing.
      wall_times: float64 `[record]`, seconds since the epoch.
      values: float32 `[record, variable, statistic]`; where `is_absent`, the NaN stands for
        what was not measured, see `Statistic`.
      calls: int64 `[record]`, calls so far.
      records: records made so far in all, also those that sampling dropped.
      state_counts: int64 `[variable, COUNTED]` of all those records.
      asked: int64 `[variable]`, records so far that asked for the variable.
      first_seen: int64 `[variable, COUNTED]`, first step known to be in each of
        those states, -1 if never. Exact even where records were sampled.
      last_seen: int64 `[variable, COUNTED]`, last step known to be in each of
        those states, -1 if never.
      skipped_steps: int64 `[skip]`, steps whose update an optimizer of this run
        left out because the loss scale had overflowed, as it says, or as the scale
        shows that was lower right after; none unless the label's stage is "unscaled".
        NaN and Inf there are no fault: they are in `values`, but not in
        `state_counts`, `first_seen` and `last_seen`.
      overflowed: int64 `[variable]`, records with NaN or Inf at those steps.
      traced_only: True where only tracing was seen, and no number ever came
        (the program ended before the first step did).
      part_of: name of the loss that this one is a summand of, or "".
      watched: the sentinel watched all calls between the records, so that the
        first step at which a gradient was not finite is exact.
      nonfinite: int64 `[record]`, calls so far with NaN or Inf, of those recorded
        or watched.
      reasons: int64 `[record]`, see `Reason`.
      loss_scales: float32 `[record]`, divided out of all numbers; 1 for none.
      loss_values: float32 `[record]`, the loss itself, the sum of its elements; NaN
        also where it is not known.
      spikes: int64 `[spike, 2]`, steps at which the sentinel saw a norm leave its
        recent range, and the positions of its variables in `RunHistory.variables`.
      causes: why gradients are None, as far as it was found out; each variable
        is in one of them at most.
      unrequested: variables that the tape of this loss watched, and that no
        `gradient()` of the program asked for.
      computed: the last line that computes the loss, None where it is not known (in
        eager code).
    """

    name: str
    where: Place | None
    label: Label
    variables: Counts
    steps: Steps
    wall_times: Times
    values: Floats
    calls: Counts
    records: int
    state_counts: Counts
    asked: Counts
    first_seen: Steps
    last_seen: Steps
    skipped_steps: Steps
    overflowed: Counts
    traced_only: bool
    part_of: str
    watched: bool
    nonfinite: Counts
    reasons: Counts
    loss_scales: Floats
    loss_values: Floats
    spikes: Counts
    causes: tuple[Cause, ...] = ()
    unrequested: tuple[Variable, ...] = ()
    computed: Place | None = None

    def __repr__(self) -> str:
        what = "only traced" if self.traced_only else _steps(self.steps)
        return f"<LossHistory {self.name!r}: {what}, {_number(len(self.variables), 'variable')}>"


@dataclasses.dataclass(frozen=True, repr=False)
class ClipHistory:
    """All that was recorded of one clip site.

    Attributes:
      name: unique within the run together with `identity(label)`.
      method: "norm", "value", "global_norm" or "custom".
      after: name of the clip site whose output was clipped again here, or "".
      where: the call.
      label: which gradient this is.
      variables: names, in the order of `norms`.
      steps: int64 `[record]`, strictly increasing.
      wall_times: float64 `[record]`.
      norms: float32 `[record, variable, 2]`, before and after; `is_none` where None,
        `is_absent` also where the record lacks the variable.
      calls, clipped, nonfinite: int64 `[record]`, cumulative; see `ClipRecord`.
      counts_every_call: those three count all calls; else only those recorded.
      threshold, norm_before, norm_after, scale: float32 `[record]`.
    """

    name: str
    method: str
    after: str
    where: Place | None
    label: Label
    variables: tuple[str, ...]
    steps: Steps
    wall_times: Times
    norms: Floats
    calls: Counts
    clipped: Counts
    nonfinite: Counts
    counts_every_call: bool
    threshold: Floats
    norm_before: Floats
    norm_after: Floats
    scale: Floats

    def __repr__(self) -> str:
        count = _number(len(self.variables), "variable")
        return f"<ClipHistory {self.name!r}: {self.method}, {_steps(self.steps)}, {count}>"


@dataclasses.dataclass(frozen=True, repr=False)
class OptimizerHistory:
    """All that was recorded of one optimizer.

    Attributes:
      name: unique within the run together with `identity(label)`.
      class_name: such as "Adam".
      where: the call that applies the gradients, None if unknown.
      label: which gradients reach it.
      accumulation: micro-batches to one update, 1 for none.
      has_loss_scale: True with mixed-precision loss scaling.
      variables: int64 `[variable]`, positions in `RunHistory.variables`.
      steps: int64 `[record]`, strictly increasing.
      wall_times: float64 `[record]`.
      values: float32 `[record, variable, statistic]` of the gradients as they
        reached it: unscaled, reduced and accumulated, before its own clipping.
        State.ABSENT (-1) where a record lacks the variable; else as a loss's.
      update_norms: float32 `[record, variable]`, L2 norm of what was added; NaN
        where unknown, absent, or not measured (and then the variable's norm is not
        either), 0 where the update was left out.
      calls, applied, skipped: int64 `[record]`, cumulative; see `OptimizerRecord`.
      loss_scales, learning_rates: float32 `[record]`.
      skipped_steps: int64 `[skip]`, steps known to have been left out.
    """

    name: str
    class_name: str
    where: Place | None
    label: Label
    accumulation: int
    has_loss_scale: bool
    variables: Counts
    steps: Steps
    wall_times: Times
    values: Floats
    update_norms: Floats
    calls: Counts
    applied: Counts
    skipped: Counts
    loss_scales: Floats
    learning_rates: Floats
    skipped_steps: Steps

    def __repr__(self) -> str:
        count = _number(len(self.variables), "variable")
        return f"<OptimizerHistory {self.name!r}: {_steps(self.steps)}, {count}>"


@dataclasses.dataclass(frozen=True, repr=False)
class CosineHistory:
    """How the gradients of two losses lie to each other on the variables they share.

    Attributes:
      losses: names of the two, in the run's order.
      label: which gradients of theirs.
      variables: int64 `[variable]`, positions in `RunHistory.variables`.
      steps: int64 `[record]`, strictly increasing.
      cosines: float32 `[record, variable]`, -1 to 1; NaN where either gradient is
        missing, zero or not finite, and where it was not measured (large gradients in
        calls that only the sentinel has chosen).
    """

    losses: tuple[str, str]
    label: Label
    variables: Counts
    steps: Steps
    cosines: Floats

    def __repr__(self) -> str:
        one, other = self.losses
        return f"<CosineHistory {one!r} and {other!r}: {_steps(self.steps)}>"


@dataclasses.dataclass(frozen=True, repr=False)
class RunHistory:
    """One run: one folder of event files.

    Attributes:
      name: as TensorBoard names it.
      variables: in the order first seen, which is the order of the sources.
      losses: in the order first seen; those of one name side by side, and the parts
        of a sum right behind it.
      clips: in the order first seen.
      optimizers: in the order first seen.
      cosines: one for each pair of losses that share variables.
      problems: one sentence for each thing that could not be read.
    """

    name: str
    variables: tuple[Variable, ...]
    losses: tuple[LossHistory, ...]
    clips: tuple[ClipHistory, ...]
    optimizers: tuple[OptimizerHistory, ...]
    cosines: tuple[CosineHistory, ...]
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        losses = ", ".join(dict.fromkeys(loss.name for loss in self.losses)) or "none"
        counts = [
            _number(len(self.variables), "variable"),
            _number(len(self.clips), "clip site"),
            *([_number(len(self.optimizers), "optimizer")] if self.optimizers else []),
            *([_number(len(self.problems), "problem")] if self.problems else []),
        ]
        return f"<RunHistory {self.name!r}: losses {losses}; {', '.join(counts)}>"


def _steps(steps: Steps) -> str:
    if not len(steps):
        return "no records"
    span = f"step {steps[0]}" if len(steps) == 1 else f"steps {steps[0]} to {steps[-1]}"
    return f"{_number(len(steps), 'record')} of {span}"


def _number(count: int, one: str) -> str:
    return f"{count} {one}{'s' * (count != 1)}"
