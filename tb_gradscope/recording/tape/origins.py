"""Which gradient a tensor is: from the tape that made it to the clip that takes it."""

from __future__ import annotations

import dataclasses
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tb_gradscope.recording.why.internals import function_graph

if TYPE_CHECKING:
    from tb_gradscope.recording.store.recorder import Recorder

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
      seen_by: the recorder whose sentinel looks at it, before or after that; None where none
        does.
    """

    names: tuple[str, ...]
    position: int
    site: str = ""
    recorder: weakref.ref[Recorder] | None = None
    taken: Taken | None = None
    seen_by: weakref.ref[Recorder] | None = None

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
        """Returns the origin of a tensor, None if unknown.

        In a graph also that of what a called function returns, where it is a gradient
        taken in there.
        """
        found = self._known.get(id(tensor))
        if found is not None and found[0]() is tensor:
            return found[1]
        inner = _returned(tensor)
        return None if inner is None else self.of(inner)


def _returned(tensor: Any) -> Any | None:
    """Returns the tensor that a tensor of a graph is the same as, one step further back."""
    op: Any = getattr(tensor, "op", None)  # eager tensors have none
    kind = getattr(op, "type", "")
    if kind == "Identity":
        return op.inputs[0]
    if kind not in ("PartitionedCall", "StatefulPartitionedCall"):
        return None
    called = function_graph(op.graph, op.get_attr("f").name)
    outputs = [] if called is None else called.outputs
    return outputs[tensor.value_index] if tensor.value_index < len(outputs) else None


ORIGINS = Origins()
