"""What a series is of, and how the numbers of one call lie in memory until they are written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

from tb_gradscope.format import messages, tags
from tb_gradscope.format.statistics import STATISTIC_COUNT

CLIP_HEADER = 6  # threshold, norm before, norm after, scale, clipped, not finite
OPTIMIZER_HEADER = 3  # loss scale, learning rate, skipped
OPTIMIZER_ROW = STATISTIC_COUNT + 1  # and the norm of the update

NONE_MARK = -1.0  # in place of the norm of a gradient that is None
ABSENT_MARK = -2.0  # in place of a cosine that there is not, or that was not measured
UNMEASURED_MARK = -1.0  # in place of a largest magnitude, and of a variable's norm

# Positions in the tallies, which count over all calls, recorded or not.
NONFINITE = 0  # GRADIENT: calls with NaN or Inf that the sentinel saw
CLIPPED, CLIP_NONFINITE = 0, 1  # CLIP: calls clipped, calls with a norm that is not finite
APPLIED, SKIPPED = 0, 1  # OPTIMIZER: updates made, updates left out

_TALLIES = {
    messages.Schema.GRADIENT: 1,
    messages.Schema.CLIP: 2,
    messages.Schema.OPTIMIZER: 2,
    messages.Schema.COSINE: 0,
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a series is of: enough to open it again in another log directory.

    The payload of one call is one float32 vector, by `schema.kind`:

        GRADIENT   [value of the loss, loss scale]; the scale only if the label says UNSCALED
                   variables x statistics
        CLIP       `CLIP_HEADER`, variables x [norm before, norm after]
        OPTIMIZER  `OPTIMIZER_HEADER`, variables x (statistics, norm of the update)
        COSINE     losses x variables

    Where a sentinel looks, one float for each variable follows: 1 for a spike.

    Attributes:
      schema: the `Schema` message.
      none: bool `[variable]`, gradients known to be None while tracing.
      counted_as: name of the counter of its calls: series with the same one are of
        the same calls (a loss and its parts). Empty for one of its own.
    """

    schema: Any
    none: tuple[bool, ...] = ()
    counted_as: str = ""

    @functools.cached_property
    def series(self) -> str:
        """Name of the series: the same for the same loss, variables and label."""
        schema = self.schema
        identity = [str(schema.kind), schema.name, schema.label.SerializeToString().hex()]
        for variable in schema.variables:
            identity += [variable.name, str(variable.kind)]
        identity += schema.losses
        return tags.series_id(identity)

    @property
    def counter(self) -> str:
        """Name of the counter of its calls."""
        return self.counted_as or self.series

    @property
    def kind(self) -> int:
        """The `Schema.Kind`."""
        return int(self.schema.kind)

    @property
    def is_unscaled(self) -> bool:
        """Tells whether the payload begins with the loss scale that was divided out."""
        is_gradient = self.schema.kind == messages.Schema.GRADIENT
        return bool(is_gradient and self.schema.label.stage == messages.Label.UNSCALED)

    @property
    def header(self) -> int:
        """GRADIENT: number of floats before the statistics."""
        return 1 + self.is_unscaled

    @property
    def width(self) -> int:
        """Number of floats in the payload of one call."""
        count = len(self.schema.variables)
        if self.schema.kind == messages.Schema.CLIP:
            return CLIP_HEADER + 2 * count
        if self.schema.kind == messages.Schema.OPTIMIZER:
            return OPTIMIZER_HEADER + OPTIMIZER_ROW * count
        if self.schema.kind == messages.Schema.COSINE:
            return len(self.schema.losses) * count
        return self.header + STATISTIC_COUNT * count

    @property
    def tallies(self) -> int:
        """Number of counts that are kept over all calls."""
        return _TALLIES[self.schema.kind]

    @property
    def is_watched(self) -> bool:
        """Tells whether a sentinel looks at the calls of this series."""
        return bool(self.schema.watched)

    @functools.cached_property
    def with_sentinel(self) -> Description:
        """The same series, watched."""
        schema = messages.Schema()
        schema.CopyFrom(self.schema)
        schema.watched = True
        return dataclasses.replace(self, schema=schema)

    def beside(
        self, kind: int, stage: int, rows: Sequence[int] | None = None, **more: Any
    ) -> Description:
        """Returns the description of another series of the same calls.

        Args:
          kind: `Schema.Kind` of the other one.
          stage: `Label.Stage` of its gradients.
          rows: which variables it is of, None for all.
          **more: other fields of its schema.
        """
        schema = messages.Schema()
        schema.CopyFrom(self.schema)
        schema.watched = False
        schema.ClearField("computed")
        schema.label.stage = stage
        if rows is not None:
            more["variables"] = [schema.variables[row] for row in rows]
        for field in more:
            schema.ClearField(field)
        schema.MergeFrom(messages.Schema(**more))
        schema.kind = kind
        return dataclasses.replace(self, schema=schema, none=())
