"""Why a gradient is exactly zero, as far as the pattern shows it."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tb_gradscope.diagnose import words
from tb_gradscope.diagnose.finding import Span
from tb_gradscope.diagnose.norms import Values, last_weights
from tb_gradscope.diagnose.roles import role
from tb_gradscope.format.history import LossHistory, RunHistory
from tb_gradscope.format.statistics import State, Statistic


@dataclasses.dataclass(frozen=True)
class Zeros:
    """Variables of one loss whose gradients are zero for good, since the same step.

    Attributes:
      run: of the loss.
      loss: whose gradients.
      columns: of the variables, in the loss.
      span: since when.
    """

    run: RunHistory
    loss: LossHistory
    columns: list[int]
    span: Span

    @property
    def asked(self) -> int:
        """How many variables the last record has."""
        return int(np.count_nonzero(self.loss.values[-1, :, Statistic.STATE] != State.ABSENT))

    @property
    def is_whole(self) -> bool:
        """Whether these are all variables of the loss."""
        return len(self.columns) == self.asked

    @functools.cached_property
    def losses(self) -> Values:
        """Values of the loss while its gradient was zero, as far as known."""
        values = self.loss.loss_values[self.loss.steps >= self.span.first].astype(np.float64)
        return values[np.isfinite(values)]

    @property
    def value(self) -> float | None:
        """The last of them, None if none is known."""
        return float(self.losses[-1]) if len(self.losses) else None

    @property
    def is_constant(self) -> bool:
        """Whether the loss is the very same number at all of these steps."""
        return len(self.losses) > 1 and float(np.ptp(self.losses)) == 0

    @functools.cached_property
    def deaf(self) -> str:
        """The first layer that gets nothing but zeros: its bias still learns, its kernel not."""
        zeros = {int(self.loss.variables[column]) for column in self.columns}
        learning = {
            self.run.variables[position].layer
            for position in self.loss.variables.tolist()
            if position not in zeros and role(self.run.variables[position]) == "bias"
        }
        for position in sorted(zeros):
            variable = self.run.variables[position]
            if variable.layer in learning and role(variable) == "kernel":
                return variable.layer
        return ""

    @property
    def has_dead_layer(self) -> bool:
        """Whether all of the layers in front of that one are cut off, and not its input alone."""
        layers = {self.run.variables[self.loss.variables[column]].layer for column in self.columns}
        return bool(self.deaf) and len(layers) > 1

    @functools.cached_property
    def behind(self) -> list[str]:
        """Kernels that are all zero and may stand between these variables and the loss."""
        return [self.run.variables[self.loss.variables[column]].name for column in self._behind]

    @functools.cached_property
    def opens(self) -> bool:
        """Whether those learn themselves, as a head does that starts at zero."""
        states = self.loss.values[-1, :, Statistic.STATE]
        return all(states[column] == State.OK for column in self._behind)

    @functools.cached_property
    def _behind(self) -> list[int]:
        if self.span.pattern != "all":
            return []
        norms = last_weights(self.loss.values)
        between = range(max(self.columns), len(self.loss.variables))
        return [
            column
            for column in between
            if norms[column] == 0
            and len(self.run.variables[self.loss.variables[column]].shape) >= 2
        ]

    @functools.cached_property
    def cancel_out(self) -> bool:
        """Whether these are biases and gains of layers whose kernels do learn.

        What is the same for all examples may cancel out: the last bias of a critic
        whose loss is a difference of means, or one in front of a normalisation.
        """
        zeros = {int(self.loss.variables[column]) for column in self.columns}
        variables = self.run.variables
        if any(role(variables[position]) not in ("bias", "normalization") for position in zeros):
            return False
        alive = {
            variables[position].layer
            for position in self.loss.variables.tolist()
            if position not in zeros
        }
        return {variables[position].layer for position in zeros} <= alive


def of(zeros: Zeros) -> tuple[str, str]:
    """Returns what the pattern shows, to stand behind the finding, and what to try."""
    if zeros.behind:
        return (
            f": {words.named(zeros.behind)} is all zero, so nothing flows back through it",
            "Start that kernel with random numbers (glorot_uniform) rather than zeros.",
        )
    if zeros.is_whole:
        return _of_the_whole(zeros)
    if zeros.cancel_out:
        return (
            ", though the layer learns: what is the same for all examples cancels out",
            "Nothing is wrong where the loss is a difference, or a normalisation or a softmax "
            "takes it away again; use_bias=False would spare the variable.",
        )
    if zeros.deaf:
        return (
            f", though {zeros.deaf}'s bias learns: all that enters {zeros.deaf} is zero",
            "The units before it are dead (ReLUs below zero for every example: look at their "
            "initial weights and bias, try leaky_relu or, if they died while training, a smaller "
            "learning rate), or what they give is masked out.",
        )
    last = zeros.run.variables[zeros.loss.variables[max(zeros.columns)]]
    layer = f"{last.layer}: " if last.layer else ""
    return (
        f": nothing flows back past {last.layer or last.name}",
        f"{layer}look at the activation behind it (dead ReLUs: a smaller learning rate, "
        "leaky_relu, a bias above zero), or at a mask or multiplication by zero.",
    )


def _of_the_whole(zeros: Zeros) -> tuple[str, str]:
    if zeros.is_constant and zeros.value == 0:
        return (
            ": the loss itself is 0 at each of them",
            "Fine where all is learned, or nothing is to be learned yet. Else look for a mask that "
            "leaves nothing over, or a weight of zero on the loss.",
        )
    if zeros.is_constant and zeros.value is not None:
        return (
            f": the loss is {words.amount(zeros.value)} at each of them, whatever the batch, "
            "so it has no slope at all",
            "Look for a clip, a floor (tf.maximum) or a rounding that the whole loss goes through, "
            "or a softmax over one unit, which is always 1.",
        )
    if len(zeros.losses) > 1:
        return (
            ": the loss changes from batch to batch, but has no slope",
            "Look for a sigmoid or softmax that is saturated (scale the inputs, use the "
            "from_logits form of the loss), for dead units in all of a layer, or a rounding.",
        )
    return (
        ": the loss has no slope at all",
        "Look for a clip, round, mask or tf.maximum that the whole loss goes through, and "
        "whether its condition is always met.",
    )
