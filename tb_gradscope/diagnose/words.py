"""The phrases that findings are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tb_gradscope.diagnose.finding import SEVERITIES, Severity, Span
from tb_gradscope.format.history import ClipHistory, Label, LossHistory, Place

_NAMED = 3


def named(variables: Sequence[str]) -> str:
    """Names variables, a whole stack of them by its layers: "enc/kernel and 12 more of enc"."""
    if len(variables) <= _NAMED:
        return joined(variables)
    prefix = _common(variables)
    rest = f"{len(variables) - 1} more"
    return f"{variables[0]} and {rest}" + (f" of {prefix}" if prefix else "")


def joined(names: Sequence[str]) -> str:
    """Joins names: "a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def when(span: Span) -> str:
    """Says when: "at every step", "from step 40 on", "at step 7 only", "7 times, steps 3 to 90"."""
    if span.pattern == "all":
        if span.count <= 1:
            return f"at step {span.first}"
        return f"at every recorded step ({span.first} to {span.last})"
    if span.pattern == "from" and span.count <= 1:
        return f"at step {span.first}, the last one recorded"
    if span.pattern == "from":
        return f"from step {span.first} on"
    if span.pattern == "once":
        return f"at step {span.first} only"
    return f"in {span.count} records, steps {span.first} to {span.last}"


def amount(value: float) -> str:
    """Returns a number in three digits."""
    return "NaN" if np.isnan(value) else "Inf" if np.isinf(value) else f"{value:.3g}"


def times(ratio: float) -> str:
    """Returns a ratio: "12 times", "2e+05 times"."""
    if not np.isfinite(ratio):
        return "infinitely many times"
    return f"{ratio:.0f} times" if ratio < 1e5 else f"{ratio:.0e} times"


def percent(fraction: float) -> str:
    """Returns a fraction in per cent."""
    return f"{100 * fraction:.0f} %"


def line(place: Place) -> str:
    """Names a line of the program: "train.py:36"."""
    return f"{place.file.replace(chr(92), '/').rpartition('/')[2]}:{place.line}"


def loss_name(loss: LossHistory) -> str:
    """Names a loss, and which of its gradients where there are several."""
    return f"{loss.name}{_which(loss.label)}"


def site_name(clip: ClipHistory) -> str:
    """Names a clip site, and which gradients it clips where there are several."""
    return f"{clip.name}{_which(clip.label)}"


def faults(severities: Iterable[Severity]) -> str:
    """Says how many of each there are: "1 error, 2 warnings"; "" where there is neither."""
    found = list(severities)
    counts = [(found.count(severity), severity) for severity in SEVERITIES[:2]]
    return ", ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count)


def replica(label: Label) -> str:
    """Names the replica of a gradient: "replica 0", "reduced over replicas"."""
    return "reduced over replicas" if label.replica < 0 else f"replica {label.replica}"


def replicas(numbers: Sequence[int], count: int) -> str:
    """Names several replicas: "all 4 replicas", "replicas 0, 1 and 3 of 4"."""
    if len(numbers) == count:
        return f"all {count} replicas"
    return f"replicas {joined([str(number) for number in numbers])} of {count}"


def _which(label: Label) -> str:
    parts = []
    if label.replicas > 1:
        parts.append(replica(label))
    if label.batch != "whole":
        parts.append(label.batch.replace("_", "-"))
    return f" ({', '.join(parts)})" if parts else ""


def _common(names: Sequence[str]) -> str:
    parts = [name.replace(".", "/").split("/")[:-1] for name in names]
    common = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return "/".join(common)
