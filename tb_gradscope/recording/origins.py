"""Which gradient a tensor is: from the tape that made it to the clip that takes it."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tb_gradscope.recording.recorder import Recorder

_PRUNE_AT = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Taken:
    """A gradient as the recorder saw it come from a tape, or out of a reduction over replicas.

    Attributes:
      schema: of the series it is recorded in.
      row: which of that schema's variables it is of.
      source: returns that variable, None for a tensor and where it is gone.
    """

    schema: Any
    row: int
    source: Callable[[], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """Where a tensor comes from. Made once for each call site, hence equal only to itself.

    Attributes:
      names: of all variables whose gradients were made together with it.
      position: its own among them.
      site: name of the clip site that made it, "" for a tape.
      recorder: the one given to that tape, if one was.
      taken: the gradient it was before any clipping, None if unknown.
    """

    names: tuple[str, ...]
    position: int
    site: str = ""
    recorder: weakref.ref[Recorder] | None = None
    taken: Taken | None = None

    @property
    def label(self) -> Any | None:
        """Which gradient it is, None if unknown."""
        return None if self.taken is None else self.taken.schema.label


class Origins:
    """Remembers the origin of live tensors, and keeps none of them alive."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], Origin]] = {}
        self._lock = threading.Lock()
        self._prune_at = _PRUNE_AT

    def remember(self, tensors: list[Any], origins: list[Origin]) -> None:
        """Notes the origin of each tensor; None is passed over."""
        with self._lock:
            for tensor, origin in zip(tensors, origins, strict=True):
                if tensor is not None:
                    self._known[id(tensor)] = (weakref.ref(tensor), origin)
            if len(self._known) > self._prune_at:
                alive = {key: it for key, it in self._known.items() if it[0]() is not None}
                self._known = alive
                self._prune_at = max(_PRUNE_AT, 2 * len(alive))

    def of(self, tensor: Any) -> Origin | None:
        """Returns the origin of a tensor, None if unknown."""
        found = self._known.get(id(tensor))
        return found[1] if found is not None and found[0]() is tensor else None


ORIGINS = Origins()
