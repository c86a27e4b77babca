"""What numbers are compared with: every threshold, its unit, its range and its source."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from tb_gradscope.format.errors import GradscopeError


class ThresholdError(GradscopeError):
    """A threshold has an unknown name or a value that makes no sense."""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """What there is to know of a threshold.

    Attributes:
      name: a field of `Thresholds`, and so a flag, a query parameter, a line of a TOML file.
      default: its value where nobody says otherwise; an int for what is counted.
      unit: what it is in: "times", "records"; "" for a plain number.
      meaning: the kinds of finding it is for, and what is compared with it.
      low: the smallest value that makes sense.
      high: the largest one.
    """

    name: str
    default: float
    unit: str
    meaning: str
    low: float
    high: float

    @property
    def is_whole(self) -> bool:
        """Whether it counts things."""
        return isinstance(self.default, int)

    def problem(self, value: object) -> str:
        """Says what is wrong with a value, to stand behind its name; "" if nothing is."""
        if self._is_number(value) and self.low <= value <= self.high:  # type: ignore[operator]
            return ""
        number = "a whole number" if self.is_whole else "a number"
        span = f"from {self.low:g} to {self.high:g}"
        allowed = span if self.high < math.inf else f"of {self.low:g} or more"
        return f"is {value!r}, expected {number} {allowed} ({self.meaning})."

    def _is_number(self, value: object) -> bool:
        if isinstance(value, float):
            return value.is_integer() or not self.is_whole
        # Larger ones are no numbers to NumPy.
        is_int = isinstance(value, int) and not isinstance(value, bool)
        return is_int and value.bit_length() < 64  # type: ignore[attr-defined]


def _number(text: str) -> float | str:
    """Returns the number that a text says; the text itself where it says none."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _threshold(
    default: float, unit: str, meaning: str, low: float = 0, high: float = math.inf
) -> Any:
    metadata = {"unit": unit, "meaning": meaning, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The values of all rules' thresholds; `THRESHOLDS` says what each means.

    Magnitudes are always compared with the variable's own past or with its peers,
    never with a number that would hold for every model: published constants for
    the same fault differ by four orders of magnitude.
    """

    min_records: int = _threshold(
        5, "records", "fewer records than this are not judged, except for None, NaN and Inf", low=1
    )
    spike: float = _threshold(
        100.0, "times", "exploding: a norm so many times the median of the records before it", low=1
    )
    spike_deviations: float = _threshold(
        8.0, "deviations", "exploding: and so many deviations (of the logarithm) above it", low=0
    )
    growth: float = _threshold(
        100.0, "times", "exploding: a norm that has grown so many times, and still grows", low=1
    )
    initial: float = _threshold(
        1e3,
        "times",
        "exploding: first norms so many times what follows and the variable's own",
        low=1,
    )
    vanishing: float = _threshold(
        1e3,
        "times",
        "vanishing: kernels near the input have so many times less than near the loss",
        low=1,
    )
    vanished: float = _threshold(
        1e-9, "", "vanishing: root mean square of all gradients below this (Adam's epsilon is 1e-7)"
    )
    zero_records: int = _threshold(
        10, "records", "zero: a warning from so many records in a row on where it may pass", low=1
    )
    clip_saturated: float = _threshold(
        0.5, "of 1", "clip_saturated: fraction of steps clipped (Google's Tuning Playbook)", high=1
    )
    clip_scale: float = _threshold(
        0.01,
        "of 1",
        "clip_saturated: a warning where clipping leaves less than this of the norm",
        high=1,
    )
    clip_never: float = _threshold(
        0.1,
        "of 1",
        "clip_never: the largest norm stays below this fraction of the threshold",
        high=1,
    )
    clip_never_calls: int = _threshold(100, "calls", "clip_never: not before so many calls", low=1)
    conflict: float = _threshold(
        -0.3, "", "conflict: cosine of two losses below this (PCGrad: below 0)", low=-1, high=0
    )
    conflict_fraction: float = _threshold(
        0.8, "of 1", "conflict, domination: in at least this fraction of the records", high=1
    )
    domination: float = _threshold(
        1e3,
        "times",
        "domination: a loss's norm so many times the other's on shared variables",
        low=1,
    )
    update_large: float = _threshold(
        0.1,
        "of 1",
        "update_ratio: updates above this fraction of the variable's norm (CS231n: 1e-3)",
    )
    update_small: float = _threshold(
        1e-7,
        "of 1",
        "update_ratio: updates below this fraction of the variable's norm (CS231n: 1e-3)",
    )

    def __post_init__(self) -> None:
        for threshold in THRESHOLDS:
            value = getattr(self, threshold.name)
            if problem := threshold.problem(value):
                raise ThresholdError(f"The threshold {threshold.name} {problem}")
            if threshold.is_whole:
                object.__setattr__(self, threshold.name, int(value))

    def evidence(self, name: str) -> dict[str, float | int | str | None]:
        """Returns what a finding's evidence says of the threshold that it has passed."""
        return {"threshold": getattr(self, name), "threshold_name": name}

    def changed(self, changes: Mapping[str, object], source: str) -> Thresholds:
        """Returns these thresholds with some of them changed.

        Args:
          changes: by name.
          source: where they come from, for the message.

        Raises:
          ThresholdError: a name is unknown, or a value makes no sense.
        """
        known = {threshold.name: threshold for threshold in THRESHOLDS}
        for name, value in changes.items():
            if name not in known:
                raise ThresholdError(
                    f"{source} names the threshold {name!r}, which does not exist; "
                    f"there are: {', '.join(known)}."
                )
            if problem := known[name].problem(value):
                raise ThresholdError(f"{source}: {name} {problem}")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]

    def read(
        self, texts: Mapping[str, str | None], called: Callable[[Threshold], str]
    ) -> Thresholds:
        """Returns these thresholds with those changed that texts give a number for.

        Args:
          texts: by name; what is no threshold is passed over, and so is None.
          called: returns what the user knows a threshold by, for the message.

        Raises:
          ThresholdError: a text is no number, or one that makes no sense.
        """
        changes: dict[str, Any] = {}
        for threshold in THRESHOLDS:
            text = texts.get(threshold.name)
            if text is None:
                continue
            value = changes[threshold.name] = _number(text)
            if problem := threshold.problem(value):
                raise ThresholdError(f"{called(threshold)} {problem}")
        return dataclasses.replace(self, **changes)


THRESHOLDS: tuple[Threshold, ...] = tuple(
    Threshold(field.name, field.default, **field.metadata)  # type: ignore[arg-type]
    for field in dataclasses.fields(Thresholds)
)
"""All of them."""
