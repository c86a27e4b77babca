"""Which eager calls will need a second tape, known before the forward pass.

At the first call from a place nobody knows yet whether it has parts of a sum, so
that it gets a second tape; from then on those get one that had parts, in calls
that are expected to be recorded, or in all where a sentinel may pick any of them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Hashable

from tb_gradscope.recording.store import cadence
from tb_gradscope.recording.store.recorder import Recorder
from tb_gradscope.recording.tape import place


@dataclasses.dataclass
class _Known:
    """What is known of the tapes entered at one place.

    Attributes:
      has_parts: at least one of them had parts of a sum.
      counters: of the totals that had.
    """

    has_parts: bool = False
    counters: set[str] = dataclasses.field(default_factory=set)


def place_of_tape() -> Hashable:
    """Returns the place in the program at which a tape is entered here."""
    frame = place.outer_frame(sys._getframe(1))
    return None if frame is None else ("tape", frame.f_code, frame.f_lasti)


def needs_second_tape(recorder: Recorder, where: Hashable) -> bool:
    """Tells whether a tape that is entered needs a second one beside it."""
    known: _Known | None = recorder.seen.get(where)
    if known is None:
        return True
    return known.has_parts and (
        recorder.has_sentinel
        or any(
            cadence.is_due(recorder.counter(name).now(), recorder.every) for name in known.counters
        )
    )


def learn(recorder: Recorder, where: Hashable, counter: str | None) -> None:
    """Notes what came of a tape.

    Args:
      recorder: that it recorded to.
      where: `place_of_tape`.
      counter: of a total that had parts, None for what had none.
    """
    known = recorder.seen.get(where)
    if known is None:
        known = _Known()
        recorder.remember(where, known)
    if counter is not None:
        known.has_parts = True
        known.counters.add(counter)
