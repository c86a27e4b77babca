"""Which recording of a run wrote what, and what of it a later recording has replaced.

A training that is started again into the same run need not have the same losses
and variables. So a recording that begins when another has ended replaces all of
that one from its own first step on, in every series. Recordings that overlap in
time are several writers of one run, and leave each other alone.

Of a series that two have opened, the older recording may be at hand only in part,
its schema too. What lies before the first schema at hand is nobody's: whoever
begins later replaces it.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tb_gradscope.format.packing import Counts

FOREVER = int(np.iinfo(np.int64).max)


@dataclasses.dataclass(frozen=True)
class Opening:
    """A schema of a series: who wrote it, or "" if unknown, and when."""

    step: int
    wall_time: float
    session: str


@dataclasses.dataclass(frozen=True)
class Trail:
    """What a series tells of who wrote it.

    Attributes:
      openings: its schemas, by wall time.
      written: wall times of some of what else was written, the last of it among them.
    """

    openings: tuple[Opening, ...]
    written: tuple[float, ...]

    def owner(self, wall_time: float) -> int:
        """Returns the position of the opening that something belongs to, -1 if nobody's."""
        return bisect.bisect_right(self.openings, wall_time, key=_wall_time) - 1


@dataclasses.dataclass(frozen=True)
class Parts:
    """A series by who wrote it: what is nobody's, then a part for each opening.

    Attributes:
      begins: wall times at which all parts but the first begin.
      ends: the step from which on each part has been replaced, FOREVER if nowhere.
      sessions: numbers that tell apart who wrote them.
    """

    begins: tuple[float, ...]
    ends: tuple[int, ...]
    sessions: tuple[int, ...]

    def of(self, wall_times: npt.NDArray[np.float64]) -> Counts:
        """Returns which part each thing written belongs to."""
        return np.searchsorted(np.array(self.begins), wall_times, side="right").astype(np.int64)

    def valid(self, steps: Counts, wall_times: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Tells what has not been replaced."""
        here: npt.NDArray[np.bool_] = steps < np.array(self.ends)[self.of(wall_times)]
        return here

    def sessions_of(self, wall_times: npt.NDArray[np.float64]) -> Counts:
        """Returns the number of the session that wrote each thing."""
        return np.array(self.sessions, np.int64)[self.of(wall_times)]


@dataclasses.dataclass
class _Session:
    start: float = math.inf
    first_step: int = FOREVER
    last: float = -math.inf


def parts(trails: Mapping[str, Trail]) -> dict[str, Parts]:
    """Returns the parts of each series of a run."""
    sessions = _sessions(trails)
    numbers = {name: number for number, name in enumerate(sessions, 1)}
    ends = {name: _replaced(one.last, sessions) for name, one in sessions.items()}
    found = {}
    for series, trail in trails.items():
        names = [opening.session for opening in trail.openings]
        nobody, first = FOREVER, names[0] if names else ""
        if first:
            last = max((t for t in trail.written if trail.owner(t) < 0), default=-math.inf)
            nobody = _replaced(max(last, _before(sessions[first].start)), sessions)
        found[series] = Parts(
            begins=tuple(opening.wall_time for opening in trail.openings),
            ends=(nobody, *(ends.get(name, FOREVER) for name in names)),
            sessions=(-1 if first else 0, *(numbers.get(name, 0) for name in names)),
        )
    return found


def _sessions(trails: Mapping[str, Trail]) -> dict[str, _Session]:
    found: dict[str, _Session] = {}
    for trail in trails.values():
        for opening in trail.openings:
            if opening.session:
                one = found.setdefault(opening.session, _Session())
                one.start = min(one.start, opening.wall_time)
                one.first_step = min(one.first_step, opening.step)
                one.last = max(one.last, opening.wall_time)
    for trail in trails.values():
        for wall_time in trail.written:
            owner = trail.owner(wall_time)
            if owner >= 0 and trail.openings[owner].session:
                one = found[trail.openings[owner].session]
                one.last = max(one.last, wall_time)
        # Records are many, and not read for this. Where another has gone on with a series,
        # the one before it is taken to have written until that one began.
        for before, after in itertools.pairwise(trail.openings):
            if before.session and before.session != after.session:
                until = found[after.session].start if after.session else after.wall_time
                one = found[before.session]
                one.last = max(one.last, _before(until))
    return found


def _replaced(last: float, sessions: Mapping[str, _Session]) -> int:
    """Returns from which step on something is replaced whose last was written then."""
    return min((one.first_step for one in sessions.values() if one.start > last), default=FOREVER)


def _before(wall_time: float) -> float:
    return math.nextafter(wall_time, -math.inf)


def _wall_time(opening: Opening) -> float:
    return opening.wall_time
