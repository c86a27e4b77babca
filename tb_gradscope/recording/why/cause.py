"""Why a gradient is None: one answer for all variables that share it."""

from __future__ import annotations

import dataclasses

from tb_gradscope.recording.why.lines import Line


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why gradients of one loss are None. Kinds and details as in gradscope.proto.

    Attributes:
      kind: "blocked", "unused", ...
      where: the line to look at.
      op: TensorFlow's name of the operation there, or of the custom gradient; or "".
      detail: which of the ways to be of this kind.
      other: a second line that belongs to it: what was run there, or where the value was read.
      is_final: observing another step would not tell more.
    """

    kind: str
    where: Line | None = None
    op: str = ""
    detail: str = ""
    other: Line | None = None
    is_final: bool = True
