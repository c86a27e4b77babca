"""Labels in words: which gradient the numbers are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tb_gradscope.format.history import Label


class Labelled(Protocol):
    """What of gradients bears a name."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def label(self) -> Label:
        """Which of that name it is."""


def ids(things: Sequence[Labelled]) -> tuple[str, ...]:
    """Returns a unique name of each: its own, and what of its label tells it from others."""
    found: dict[str, None] = {}
    for thing in things:
        name = thing.name + _suffix(thing.label)
        while name in found:  # somebody has named a loss as we would
            name += "'"
        found[name] = None
    return tuple(found)


def sentence(label: Label) -> str:
    """Says which gradient the numbers are of, to stand after "gradient"."""
    parts = ["mixed-precision loss scale removed" if label.stage == "unscaled" else "raw"]
    if label.batch == "micro_batch":
        parts.append("of one micro-batch")
    elif label.batch == "accumulated":
        parts.append("accumulated over micro-batches")
    if label.replicas > 1:
        reduced = {"sum": "summed", "mean": "averaged"}.get(label.reduction, "reduced")
        which = f"{reduced} over {label.replicas} replicas"
        parts.append(which if label.replica < 0 else f"of {_replica(label)}")
    if label.clipped:
        parts.append(f"each clipped by {label.clipped} before")
    if label.sparse:
        parts.append("rows of the same index summed")
    return ", ".join(parts)


def subtitle(label: Label, stage: bool = True) -> str:
    """Says in a few words what tells a gradient from others of its name; mostly nothing.

    Args:
      label: which gradient it is.
      stage: False where it goes without saying, as with what reaches an optimizer.
    """
    parts = []
    if label.replicas > 1:
        parts.append(_reduced(label) if label.replica < 0 else _replica(label))
    if label.clipped:
        parts.append("clipped before")
    if label.batch != "whole":
        parts.append("micro-batch" if label.batch == "micro_batch" else "accumulated")
    if stage and label.stage == "unscaled":
        parts.append("unscaled")
    return ", ".join(parts)


def clipping(label: Label) -> str:
    """Says where among all that happens to gradients they were clipped."""
    parts = []
    if label.replicas > 1:
        if label.replica < 0:
            parts.append(f"after the all-reduce over {label.replicas} replicas")
        else:
            is_known = label.reduction != "unknown"
            when = "before the all-reduce" if is_known else "before or after the all-reduce"
            parts.append(f"{when}, on {_replica(label)}")
    if label.batch == "micro_batch":
        parts.append("before accumulation, each micro-batch by itself")
    elif label.batch == "accumulated":
        parts.append("after accumulation")
    return ", ".join(parts)


def of_clipping(label: Label) -> str:
    """Says in sentences what numbers of a clip site are of; mostly nothing."""
    where = clipping(label)
    said = [f"Clipped {where}."] if where else []
    if label.stage == "unscaled":
        said.append("Norms are without the mixed-precision loss scale.")
    return " ".join(said)


def _reduced(label: Label) -> str:
    is_known = label.reduction in ("sum", "mean")
    return f"{label.reduction} of {label.replicas} replicas" if is_known else "reduced"


def _replica(label: Label) -> str:
    return f"replica {label.replica} of {label.replicas}"


def _suffix(label: Label) -> str:
    """Returns what is put behind a name to tell gradients of that name apart, mostly nothing."""
    parts = []
    if label.replicas > 1:
        reduced = label.reduction if label.reduction in ("sum", "mean") else "reduced"
        which = reduced if label.replica < 0 else f"replica{label.replica}"
        parts.append(f"{which}/{label.replicas}")
    if label.clipped:
        parts.append("clipped")
    if label.batch != "whole":
        parts.append(label.batch)
    if label.stage != "raw":
        parts.append(label.stage)
    return "".join(f"@{part}" for part in parts)
