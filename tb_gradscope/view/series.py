"""One series: its schema, records and events, out of what its tags hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.batch import Errors
from tb_gradscope.format.errors import FormatError
from tb_gradscope.format.events import Event
from tb_gradscope.format.packing import Counts
from tb_gradscope.format.tags import PLUGIN_NAME, split_tag
from tb_gradscope.view import sessions
from tb_gradscope.view.provider import EMPTY, Column, Source, Stamp
from tb_gradscope.view.sessions import Parts
from tb_gradscope.view.stored import Stored, chosen, read_stored, readable, rows

_RESTART_SECONDS = 0.5
_KINDS = {
    messages.Schema.GRADIENT: "Loss",
    messages.Schema.CLIP: "Clip site",
    messages.Schema.OPTIMIZER: "Optimizer",
    messages.Schema.COSINE: "Cosines of",
}
_OF_STATES = (messages.Event.TRACED, messages.Event.CHANGED)


@dataclasses.dataclass(frozen=True)
class Series:
    """What is rare of a series: all but its records.

    Attributes:
      schema: the latest one that can be read.
      watched: the sentinel watched what is not recorded, in all recordings of it, and
        no record was lost.
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
    watched: bool
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

    @property
    def names(self) -> list[str]:
        """Names of its variables."""
        return [variable.name for variable in self.schema.variables]

    def counts(self, step: int, wall_time: float) -> bool:
        """Tells whether something written has not been replaced by a later recording."""
        return bool(self.parts.valid(np.array([step]), np.array([wall_time]))[0])

    def records(self, source: Source, run: str) -> Column:
        """Reads the records, none where there are none yet."""
        if not self.record_tag:
            return EMPTY
        column = source.column(run, self.record_tag, PLUGIN_NAME)
        return chosen(column, self.parts.valid(column.steps, column.wall_times))


def title(schema: Any) -> str:
    """Returns what a message calls the series of this schema."""
    return f"{_KINDS[schema.kind]} {schema.name!r}"


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
        if (one := read_stored(identity, parts, tags, columns, problems)) is not None
    }
    by_writer = sessions.parts({identity: one.trail() for identity, one in stored.items()})
    found = []
    for identity, one in stored.items():
        series = _one(identity, one, by_writer[identity], problems)
        if series is not None:
            found.append(series)
    return sorted(found, key=lambda one: (one.first_seen, one.first_step, one.id))


def _one(identity: str, stored: Stored, parts: Parts, problems: list[str]) -> Series | None:
    """Returns the series, None where nothing of it counts or can be read."""
    schemas = chosen(stored.schemas, parts.valid(stored.schemas.steps, stored.schemas.wall_times))
    if not len(schemas.steps):
        return None
    parsed = []
    for value in reversed(schemas.values):
        try:
            parsed.append(meaning.parse(messages.Schema, value))
        except FormatError as error:
            if not parsed:
                problems.append(f"Series {identity} cannot be read. {error}")
    if not parsed:
        return None
    schema = parsed[0]
    if schema.kind not in _KINDS:
        problems.append(
            f"Series {identity} is of kind {schema.kind}, which this version does not know; "
            "upgrade tb-gradscope."
        )
        return None
    name = title(schema)
    events = [
        chosen(column, parts.valid(column.steps, column.wall_times))
        for column in readable(stored.events, f"{name}: its events", problems)
    ]
    rare = tuple(_events(schemas, events, name, problems))
    lost = sum(one.message.count for one in rare if one.message.kind == messages.Event.LOST)
    if lost:
        problems.append(
            f"{name}: {lost} records were overwritten before they could be written; record less "
            "often, or let the training return to Python more often."
        )
    return Series(
        id=identity,
        schema=schema,
        watched=all(one.watched for one in parsed) and not lost,
        first_step=int(schemas.steps[0]),
        first_seen=float(schemas.wall_times[0]),
        last_seen=max(float(one.wall_times.max(initial=0)) for one in (schemas, *events)),
        parts=parts,
        events=rare,
        record_tag=stored.record_tag,
        stamp=stored.stamp,
    )


def _events(
    schemas: Column, columns: list[Column], name: str, problems: list[str]
) -> Iterator[Event]:
    stored = [row for column in columns for row in rows(column)]
    bad: list[tuple[int, FormatError]] = []
    for step, wall_time, value in sorted(stored, key=lambda row: row[:2]):
        if _overtaken(schemas, step, wall_time):
            continue
        try:
            event = meaning.parse(messages.Event, value)
            if event.kind in _OF_STATES and len(event.variables) != len(event.states):
                raise FormatError(
                    f"A stored Event names {len(event.variables)} variables and "
                    f"{len(event.states)} states; the event file is damaged."
                )
            yield Event(step, event)
        except FormatError as error:
            bad.append((step, error))
    problems.extend(describe_errors(name, "events", len(stored), bad))


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


def check_rows(series: Series, problems: list[str]) -> list[Event]:
    """Returns the events whose rows the schema has; the others are problems."""
    rows, good = len(series.schema.variables), []
    for event in series.events:
        worst = max(event.message.variables, default=-1)
        if worst < rows:
            good.append(event)
        else:
            problems.append(
                f"{series.title}: an event at step {event.step} names row {worst} of {rows}; the "
                "event file is damaged."
            )
    return good


def at_steps(errors: Errors, steps: Counts) -> list[tuple[int, FormatError]]:
    """Replaces positions by steps."""
    return [(int(steps[position]), error) for position, error in errors]
