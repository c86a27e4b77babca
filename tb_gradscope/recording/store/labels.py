"""Labels: which gradient the numbers are of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tb_gradscope.format import messages
from tb_gradscope.recording.distribution.replica import replica_here
from tb_gradscope.recording.tape.origins import Origin

REDUCED = -1
"""In place of the number of a replica."""


def label_of(**more: Any) -> Any:
    """Returns the `Label` of a gradient that was taken here and now.

    Args:
      **more: other fields of the label.
    """
    replica = replica_here()
    if replica is None:
        return messages.Label(replicas=1, **more)
    return messages.Label(
        replicas=replica.count, replica=replica.index, reduction=messages.Label.LOCAL, **more
    )


def label_of_clipped(origins: Sequence[Origin | None]) -> Any:
    """Returns the `Label` of a clip site.

    Args:
      origins: of the gradients that go in.
    """
    label = messages.Label()
    known = [origin.label for origin in origins if origin and origin.label]
    label.CopyFrom(known[0] if known else label_of())
    label.sparse = False
    if not known:
        label.reduction = messages.Label.UNKNOWN
    return label


def is_elsewhere(label: Any) -> bool:
    """Tells whether the same numbers are recorded in another replica of this process.

    What is reduced is the same in all of them, so that the first one records it.
    """
    replica = replica_here()
    return bool(label.replica == REDUCED and replica is not None and not replica.leads)
