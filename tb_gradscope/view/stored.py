"""What is stored of one series but its records, as it is stored."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tb_gradscope.format import meaning, messages
from tb_gradscope.format.errors import FormatError
from tb_gradscope.view.provider import Column, Stamp
from tb_gradscope.view.sessions import Opening, Trail


@dataclasses.dataclass(frozen=True)
class Stored:
    """All that is stored of a series but its records, as it is stored."""

    schemas: Column
    events: tuple[Column | Exception, ...]
    record_tag: str
    stamp: Stamp

    def trail(self) -> Trail:
        """Returns what it tells of who wrote it."""
        openings = []
        for step, wall_time, value in rows(self.schemas):
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


def read_stored(
    identity: str,
    parts: Mapping[str, list[str]],
    tags: Mapping[str, Stamp],
    columns: Mapping[str, Column | Exception],
    problems: list[str],
) -> Stored | None:
    """Returns what is stored of a series, None where there is no schema of it."""
    tagged = parts.get("schema", [])
    schemas = list(
        readable((columns[tag] for tag in tagged), f"The schema of series {identity}", problems)
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
    return Stored(schemas[0], events, record, tags.get(record, (-1, 0.0)))


def readable(
    columns: Iterable[Column | Exception], what: str, problems: list[str]
) -> Iterator[Column]:
    """Yields the columns that could be read and hold anything; the others are problems."""
    for column in columns:
        if isinstance(column, Exception):
            problems.append(f"{what} could not be read: {first_line(column)}")
        elif len(column.steps):
            yield column


def rows(column: Column) -> Iterator[tuple[int, float, Any]]:
    """Returns step, wall time and value of each thing stored."""
    return zip(column.steps.tolist(), column.wall_times.tolist(), column.values, strict=True)


def chosen(column: Column, here: npt.NDArray[np.bool_]) -> Column:
    """Returns a column with only some of its rows."""
    if here.all():
        return column
    return dataclasses.replace(
        column,
        steps=column.steps[here],
        wall_times=column.wall_times[here],
        values=tuple(column.values[i] for i in np.flatnonzero(here)),
    )


def first_line(error: Exception) -> str:
    """Returns an exception's type and the first line of its text."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
