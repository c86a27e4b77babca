"""One series: its schema, records and events, out of what its tags hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tb_gradscope.format import messages
from tb_gradscope.format.batch import Errors
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.packing import Counts
from tb_gradscope.format.tags import PLUGIN_NAME, split_tag
from tb_gradscope.view import meaning
from tb_gradscope.view.provider import EMPTY, Column, Source, Stamp

_RESTART_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Event:
    """A stored event, and when."""

    step: int
    message: Any


@dataclasses.dataclass(frozen=True)
class Series:
    """What is rare of a series: all but its records.

    Attributes:
      schema: the latest one that can be read.
      first_step: of the first schema at hand.
      first_seen: wall time of that.
      last_seen: wall time of the latest schema or event.
      events: in the order of their steps.
      record_tag: empty where there are no records.
      stamp: of that tag.
    """

    id: str
    schema: Any
    first_step: int
    first_seen: float
    last_seen: float
    events: tuple[Event, ...]
    record_tag: str
    stamp: Stamp

    @property
    def title(self) -> str:
        """What the user calls it, for messages."""
        return title(self.schema)

    def records(self, source: Source, run: str) -> Column:
        """Reads the records, none where there are none yet."""
        if not self.record_tag:
            return EMPTY
        return source.column(run, self.record_tag, PLUGIN_NAME)


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
        part, series = split_tag(tag) or ("", "")
        groups.setdefault(series, {}).setdefault(part, []).append(tag)
    rare = {tag: stamp for tag, stamp in tags.items() if (split_tag(tag) or " ")[0] != "record"}
    columns = source.events(run, rare)
    found = []
    for identity, parts in groups.items():
        one = _one(identity, parts, tags, columns, problems)
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: (one.first_seen, one.first_step, one.id))


def _one(
    identity: str,
    parts: Mapping[str, list[str]],
    tags: Mapping[str, Stamp],
    columns: Mapping[str, Column | Exception],
    problems: list[str],
) -> Series | None:
    schemas = _columns(
        parts.get("schema", []), columns, f"The schema of series {identity}", problems
    )
    if not schemas:
        if not parts.get("schema"):
            problems.append(
                f"Series {identity} has no schema, so nobody knows what its numbers are of; the "
                "beginning of its event file is missing."
            )
        return None
    schema = None
    for value in reversed(schemas[0].values):
        try:
            schema = meaning.parse(messages.Schema, value)
            break
        except FormatError as error:
            problems.append(f"Series {identity} cannot be read. {error}")
    if schema is None:
        return None
    name = title(schema)
    events = _columns(parts.get("event", []), columns, f"{name}: its events", problems)
    record = parts.get("record", [""])[0]
    return Series(
        id=identity,
        schema=schema,
        first_step=int(schemas[0].steps[0]),
        first_seen=float(schemas[0].wall_times[0]),
        last_seen=max(float(one.wall_times.max()) for one in (schemas[0], *events)),
        events=tuple(_events(schemas[0], events, name, problems)),
        record_tag=record,
        stamp=tags.get(record, (-1, 0.0)),
    )


def _columns(
    tags: list[str], columns: Mapping[str, Column | Exception], what: str, problems: list[str]
) -> list[Column]:
    found = []
    for tag in tags:
        column = columns[tag]
        if isinstance(column, Exception):
            problems.append(f"{what} could not be read: {first_line(column)}")
        elif len(column.steps):
            found.append(column)
    return found


def _events(
    schemas: Column, columns: list[Column], name: str, problems: list[str]
) -> Iterator[Event]:
    rows = [
        (int(step), float(wall_time), value)
        for column in columns
        for step, wall_time, value in zip(
            column.steps, column.wall_times, column.values, strict=True
        )
    ]
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


def carried(counts: Counts) -> tuple[Counts, list[int]]:
    """Makes counters, `[record, counter]`, go on where a restarted training began anew.

    The first counter tells: it grows with every record of one process.

    Returns:
      The counters, and the position of each process's last record.
    """
    if not len(counts):
        return counts, []
    begins = np.flatnonzero(np.diff(counts[:, 0]) <= 0) + 1
    result = counts.copy()
    for begin in begins:
        result[begin:] += counts[begin - 1]
    return result, [*(int(begin) - 1 for begin in begins), len(counts) - 1]
