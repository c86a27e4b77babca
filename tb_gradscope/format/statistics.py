"""What a record says of one gradient: the statistics, their order, the states."""

from __future__ import annotations

import enum


class State(enum.IntEnum):
    """What a (loss, variable) pair's gradient is, seen as a whole."""

    ABSENT = -1
    """Not asked for in this record."""
    OK = 0
    """Finite and not all zero."""
    NONE = 1
    """TensorFlow returned None: no path from the loss to the variable."""
    ZERO = 2
    """A tensor of nothing but exact zeros."""
    NAN = 3
    """At least one NaN."""
    INF = 4
    """At least one infinity, and no NaN."""


class Statistic(enum.IntEnum):
    """Position of each statistic on the last axis of `[loss, variable, statistic]`.

    All are of the true gradient, as float32. Where the state is NAN or INF they
    are of the whole gradient too, so mostly not finite themselves.

    Where the gradients of a graph are more than 16 MiB together, only STATE and NORM are
    measured of the large ones in a call that only the sentinel has chosen (its `Reason` is
    NONFINITE or SPIKE), but for those that are odd themselves. The others are NaN there, the
    counts 0.
    """

    STATE = 0
    """A `State`, as a number."""
    NORM = 1
    """L2 norm. Complex: of the magnitudes. Sparse: duplicate rows summed first."""
    MAX_ABS = 2
    """Largest magnitude of an element. NaN in state OK: not measured."""
    MEAN = 3
    """Mean of the elements. Complex: of the real parts. NaN in state OK: not measured."""
    STD = 4
    """Population standard deviation. Complex: root mean squared distance to the mean. NaN
    in state OK: not measured."""
    ZERO_FRACTION = 5
    """Fraction of elements that are exactly zero, 0 to 1. Sparse: of the whole variable. NaN
    in state OK: not measured."""
    NAN_COUNT = 6
    """Number of elements that are NaN. 0 in state NAN: not counted, as of a large gradient
    that was NaN before."""
    INF_COUNT = 7
    """Number of elements that are +Inf or -Inf."""
    VARIABLE_NORM = 8
    """L2 norm of the variable itself at that moment. NaN where it is not measured: sources that
    are no variables, large tables with sparse gradients, and those with large gradients (odd or
    not) in calls that only the sentinel has chosen."""


class Reason(enum.IntEnum):
    """Why a call was recorded in full."""

    CADENCE = 0
    """Its turn had come."""
    PATTERN = 1
    """Other gradients were None than ever before."""
    BESIDE = 2
    """The sentinel picked a loss that this one is a part of, or is compared with."""
    NONFINITE = 3
    """The sentinel saw gradients turn to NaN or Inf, or back."""
    SPIKE = 4
    """The sentinel saw a norm leave its own recent range."""


STATISTIC_COUNT = len(Statistic)

BESIDE_NORM = (
    Statistic.MAX_ABS,
    Statistic.MEAN,
    Statistic.STD,
    Statistic.ZERO_FRACTION,
    Statistic.VARIABLE_NORM,
)
"""NaN where the norm alone was measured (the NaN is `record.absent_norm()`).

That is so of large gradients (or of no known shape) that are well themselves, in calls that
only the sentinel has chosen. The norms of their variables are not measured then at all."""

STORED = (Statistic.NORM, *BESIDE_NORM)
"""The statistics that every row of a stored record holds; the rest are held only where needed."""
