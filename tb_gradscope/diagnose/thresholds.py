"""What numbers are compared with: every threshold, its unit and where it comes from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tb_gradscope.format.errors import GradscopeError


class ThresholdError(GradscopeError):
    """A threshold has an unknown name or a value that makes no sense."""


def _threshold(default: float, meaning: str, low: float = 0, high: float = math.inf) -> Any:
    metadata = {"meaning": meaning, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The thresholds of all rules. Each field's metadata says what it means.

    Magnitudes are always compared with the variable's own past or with its peers,
    never with a number that would hold for every model: published constants for
    the same fault differ by four orders of magnitude.
    """

    min_records: int = _threshold(
        5, "fewer records than this are not judged, except for None, NaN and Inf", low=1
    )
    spike: float = _threshold(
        100.0, "exploding: a norm so many times the median of the records before it", low=1
    )
    spike_deviations: float = _threshold(
        8.0, "exploding: and so many deviations (of the logarithm) above it", low=0
    )
    growth: float = _threshold(
        100.0, "exploding: a norm that has grown so many times, and still grows", low=1
    )
    initial: float = _threshold(
        1e3, "exploding: first norms so many times what follows and the variable's own", low=1
    )
    vanishing: float = _threshold(
        1e3, "vanishing: kernels near the input have so many times less than near the loss", low=1
    )
    vanished: float = _threshold(
        1e-9, "vanishing: root mean square of all gradients below this (Adam's epsilon is 1e-7)"
    )
    clip_saturated: float = _threshold(
        0.5, "clip_saturated: fraction of steps clipped (Google's Tuning Playbook)", high=1
    )
    clip_scale: float = _threshold(
        0.01, "clip_saturated: a warning where clipping leaves less than this of the norm", high=1
    )
    clip_never: float = _threshold(
        0.1, "clip_never: the largest norm stays below this fraction of the threshold", high=1
    )
    clip_never_calls: int = _threshold(100, "clip_never: not before so many calls", low=1)
    conflict: float = _threshold(
        -0.3, "conflict: cosine of two losses below this (PCGrad: below 0)", low=-1, high=0
    )
    conflict_fraction: float = _threshold(
        0.8, "conflict, domination: in at least this fraction of the records", high=1
    )
    domination: float = _threshold(
        1e3, "domination: a loss's norm so many times the other's on shared variables", low=1
    )
    update_large: float = _threshold(
        0.1, "update_ratio: updates above this fraction of the variable's norm (CS231n: 1e-3)"
    )
    update_small: float = _threshold(
        1e-7, "update_ratio: updates below this fraction of the variable's norm (CS231n: 1e-3)"
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            low, high = field.metadata["low"], field.metadata["high"]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or math.isnan(value) or not low <= value <= high:
                raise ThresholdError(
                    f"Threshold {field.name} is {value!r}, expected a number "
                    + (f"from {low:g} to {high:g}" if high < math.inf else f"of {low:g} or more")
                    + f": {field.metadata['meaning']}."
                )

    def changed(self, changes: Mapping[str, object], source: str) -> Thresholds:
        """Returns these thresholds with some of them changed.

        Args:
          changes: by name.
          source: where they come from, for the message.

        Raises:
          ThresholdError: a name is unknown, or a value makes no sense.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise ThresholdError(
                    f"{source} names the threshold {name!r}, which does not exist; "
                    f"there are: {', '.join(known)}."
                )
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
