"""The order of losses: of one name side by side, parts of a sum right behind their total."""

from __future__ import annotations

from collections.abc import Sequence

from tb_gradscope.format.history import Label, LossHistory, identity

_BATCHES = ("micro_batch", "whole", "accumulated")


def arranged(losses: Sequence[LossHistory]) -> tuple[LossHistory, ...]:
    """Returns the losses in the run's order.

    As gradients flow: micro-batches before their accumulation, replicas before
    their reduction.

    Args:
      losses: in the order first seen.
    """
    names = {loss.name: None for loss in losses}
    position = {name: i for i, name in enumerate(names)}
    side_by_side = sorted(losses, key=lambda loss: (position[loss.name], *_flow(loss.label)))
    parts: dict[int, list[LossHistory]] = {}
    for loss in side_by_side:
        parts.setdefault(total_of(loss, side_by_side), []).append(loss)
    found: list[LossHistory] = []
    waiting = parts.get(-1, [])[::-1]
    while waiting:
        loss = waiting.pop()
        found.append(loss)
        waiting += parts.get(_position(loss, side_by_side), [])[::-1]
    # Only losses that are parts of each other in a circle are left.
    missed = [loss for loss in side_by_side if not any(loss is one for one in found)]
    return (*found, *missed)


def total_of(loss: LossHistory, losses: Sequence[LossHistory]) -> int:
    """Returns the position of the loss that this one is a summand of, -1 if there is none."""
    if not loss.part_of:
        return -1
    wanted = (loss.part_of, identity(loss.label))
    for position, other in enumerate(losses):
        if (other.name, identity(other.label)) == wanted and other is not loss:
            return position
    return -1


def _position(loss: LossHistory, losses: Sequence[LossHistory]) -> int:
    return next(position for position, other in enumerate(losses) if other is loss)


def _flow(label: Label) -> tuple[int, float, int, str]:
    batch = _BATCHES.index(label.batch)
    replica = float("inf") if label.replica < 0 else label.replica
    return batch, replica, label.replicas, label.stage
