"""A stored event, and when."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Event:
    """A stored event, and when.

    Attributes:
      step: that of the training.
      message: the `Event` message.
    """

    step: int
    message: Any
