"""One series: its schema, records and events, out of what its tags hold."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import messages
from tb_gradscope.format.batch import Errors
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.packing import Counts
from tb_gradscope.format.tags import PLUGIN_NAME, split_tag
from tb_gradscope.view import meaning, sessions
from tb_gradscope.view.provider import EMPTY, Column, Source, Stamp
from tb_gradscope.view.sessions import Opening, Parts, Trail

_RESTART_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Event:
    """A stored event, and when."""

    step: int
    message: Any


@dataclasses.dataclass(frozen=True)
class _Rare:
    """All that is stored of a series but its records, as it is stored."""

    schemas: Column
    events: tuple[Column | Exception, ...]
    record_tag: str
    stamp: Stamp

    def trail(self) -> Trail:
        openings = []
        for step, wall_time, value in _rows(self.schemas):
            with contextlib.suppress(FormatError):
                session = meaning.parse(messages.Schema, value).session
                openings.append(Opening(step, wall_time, session))
        written = list[float]()
        for column in self.events:
            if isinstance(column, Column):
                written += column.wall_times.tolist()
        if self.record_tag:
            written.append(self.stamp[1])
        return Trail(tuple(sorted(openings, key=lambda one: one.wall_time)), tuple(written))


@dataclasses.dataclass(frozen=True)
class Series:
    """What is rare of a series: all but its records.

    Attributes:
      schema: the latest one that can be read.
      first_step: of the first schema at hand.
      first_seen: wall time of that.
      last_seen: wall time of the latest schema or event.
      parts: who wrote what of it, and what of that counts.
      events: in the order of their steps.
      record_tag: empty where there are no records.
      stamp: of that tag.
    """

    id: str
    schema: Any
    first_step: int
    first_seen: float
    last_seen: float
    parts: Parts
    events: tuple[Event, ...]
    record_tag: str
    stamp: Stamp

    @property
    def title(self) -> str:
        """What the user calls it, for messages."""
        return title(self.schema)

    def counts(self, step: int, wall_time: float) -> bool:
        """Tells whether something written has not been replaced by a later recording."""
        return bool(self.parts.valid(np.array([step]), np.array([wall_time]))[0])

    def records(self, source: Source, run: str) -> Column:
        """Reads the records, none where there are none yet."""
        if not self.record_tag:
            return EMPTY
        column = source.column(run, self.record_tag, PLUGIN_NAME)
        return _chosen(column, self.parts.valid(column.steps, column.wall_times))


def title(schema: Any) -> str:
    """Returns what a message calls the series of this schema."""
    kind = "Clip site" if schema.kind == messages.Schema.CLIP else "Loss"
    return f"{kind} {schema.name!r}"


def read_series(
    source: Source, run: str, tags: Mapping[str, Stamp], problems: list[str]
) -> list[Series]:
    """Reads all series of a run, in the order first seen, without their records.

    Args:
      source: where from.
      run: name of the run.
      tags: all tags of that run.
      problems: gets a sentence for each thing that cannot be read.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for tag in tags:
        part, identity = split_tag(tag) or ("", "")
        groups.setdefault(identity, {}).setdefault(part, []).append(tag)
    rare = {tag: stamp for tag, stamp in tags.items() if (split_tag(tag) or " ")[0] != "record"}
    columns = source.events(run, rare)
    stored = {
        identity: one
        for identity, parts in groups.items()
        if (one := _rare(identity, parts, tags, columns, problems)) is not None
    }
    by_writer = sessions.parts({identity: one.trail() for identity, one in stored.items()})
    found = []
    for identity, one in stored.items():
        series = _one(identity, one, by_writer[identity], problems)
        if series is not None:
            found.append(series)
    return sorted(found, key=lambda one: (one.first_seen, one.first_step, one.id))


def _rare(
    identity: str,
    parts: Mapping[str, list[str]],
    tags: Mapping[str, Stamp],
    columns: Mapping[str, Column | Exception],
    problems: list[str],
) -> _Rare | None:
    tagged = parts.get("schema", [])
    schemas = list(
        _readable((columns[tag] for tag in tagged), f"The schema of series {identity}", problems)
    )
    if not schemas:
        if not tagged:
            problems.append(
                f"Series {identity} has no schema, so nobody knows what its numbers are of; the "
                "beginning of its event file is missing."
            )
        return None
    record = parts.get("record", [""])[0]
    events = tuple(columns[tag] for tag in parts.get("event", []))
    return _Rare(schemas[0], events, record, tags.get(record, (-1, 0.0)))


def _one(identity: str, rare: _Rare, parts: Parts, problems: list[str]) -> Series | None:
    """Returns the series, None where nothing of it counts or can be read."""
    schemas = _chosen(rare.schemas, parts.valid(rare.schemas.steps, rare.schemas.wall_times))
    if not len(schemas.steps):
        return None
    schema = None
    for value in reversed(schemas.values):
        try:
            schema = meaning.parse(messages.Schema, value)
            break
        except FormatError as error:
            problems.append(f"Series {identity} cannot be read. {error}")
    if schema is None:
        return None
    name = title(schema)
    events = [
        _chosen(column, parts.valid(column.steps, column.wall_times))
        for column in _readable(rare.events, f"{name}: its events", problems)
    ]
    return Series(
        id=identity,
        schema=schema,
        first_step=int(schemas.steps[0]),
        first_seen=float(schemas.wall_times[0]),
        last_seen=max(float(one.wall_times.max(initial=0)) for one in (schemas, *events)),
        parts=parts,
        events=tuple(_events(schemas, events, name, problems)),
        record_tag=rare.record_tag,
        stamp=rare.stamp,
    )


def _readable(
    columns: Iterable[Column | Exception], what: str, problems: list[str]
) -> Iterator[Column]:
    for column in columns:
        if isinstance(column, Exception):
            problems.append(f"{what} could not be read: {first_line(column)}")
        elif len(column.steps):
            yield column


def _events(
    schemas: Column, columns: list[Column], name: str, problems: list[str]
) -> Iterator[Event]:
    rows = [row for column in columns for row in _rows(column)]
    bad: list[tuple[int, FormatError]] = []
    for step, wall_time, value in sorted(rows, key=lambda row: row[:2]):
        if _overtaken(schemas, step, wall_time):
            continue
        try:
            event = meaning.parse(messages.Event, value)
            if len(event.variables) != len(event.states):
                raise FormatError(
                    f"A stored Event names {len(event.variables)} variables and "
                    f"{len(event.states)} states; the event file is damaged."
                )
            yield Event(step, event)
        except FormatError as error:
            bad.append((step, error))
    problems.extend(describe_errors(name, "events", len(rows), bad))


def _rows(column: Column) -> Iterator[tuple[int, float, Any]]:
    return zip(column.steps.tolist(), column.wall_times.tolist(), column.values, strict=True)


def _chosen(column: Column, here: npt.NDArray[np.bool_]) -> Column:
    if here.all():
        return column
    return dataclasses.replace(
        column,
        steps=column.steps[here],
        wall_times=column.wall_times[here],
        values=tuple(column.values[i] for i in np.flatnonzero(here)),
    )


def _overtaken(schemas: Column, step: int, wall_time: float) -> bool:
    """Tells whether a restart of the training has gone back behind this event.

    A restarted training writes its schema again, but an event only where
    something happens; an old event with a later step would stay for good.
    """
    return bool(
        (
            (schemas.steps[1:] <= step) & (schemas.wall_times[1:] > wall_time + _RESTART_SECONDS)
        ).any()
    )


def describe_errors(
    name: str, what: str, total: int, errors: list[tuple[int, FormatError]]
) -> Iterator[str]:
    """Yields one sentence, if there are errors; they come as pairs of step and error."""
    if errors:
        step, error = errors[0]
        yield f"{name}: {len(errors)} of {total} {what} left out, the first at step {step}. {error}"


def at_steps(errors: Errors, steps: Counts) -> list[tuple[int, FormatError]]:
    """Replaces positions by steps."""
    return [(int(steps[position]), error) for position, error in errors]


def first_line(error: Exception) -> str:
    """Returns an exception's type and the first line of its text."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def carried(counts: Counts, sessions: Counts) -> tuple[Counts, list[int]]:
    """Makes counters go on where a restarted training began anew.

    Args:
      counts: int64 `[record, counter]`. The first tells of a new beginning: it grows with
        every record of one process.
      sessions: int64 `[record]`, the number of who wrote it; each has counters of its own.

    Returns:
      The counters, and the positions of the last records of each process.
    """
    result, ends = np.zeros_like(counts), list[int]()
    for session in np.unique(sessions):
        rows = np.flatnonzero(sessions == session)
        begins = np.flatnonzero(np.diff(counts[rows, 0]) <= 0) + 1
        own = np.concatenate([np.zeros_like(counts[:1]), counts[rows]])
        for begin in begins:
            own[begin + 1 :] += counts[rows[begin - 1]]
        # What others have counted until then counts too, whether they have ended or not.
        result += own[np.searchsorted(rows, np.arange(len(counts)), side="right")]
        ends += [*rows[begins - 1].tolist(), int(rows[-1])]
    return result, sorted(ends)
