"""The names under which records lie in an event file. No other module spells them.

TensorBoard samples by plugin name, so there are two: records, which may be
thinned out, and rare things (schemas, events), of which every one is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

PLUGIN_NAME = "gradscope"
EVENTS_PLUGIN_NAME = "gradscope_events"

FORMAT_VERSION = 1
"""Version of everything stored: records, schemas and events."""

PLUGIN_CONTENT = b"1"
"""Content of the summary metadata. Repeated in every event, hence this short."""

_PREFIX = "gradscope/"
_SCHEMA = "schema"
_RECORD = "record"
_EVENT = "event"


def schema_tag(series: str) -> str:
    """Tag of the serialized `Schema` of a series."""
    return f"{_PREFIX}{_SCHEMA}/{series}"


def record_tag(series: str) -> str:
    """Tag of the float32 records of a series."""
    return f"{_PREFIX}{_RECORD}/{series}"


def event_tag(series: str, kind: str) -> str:
    """Tag of the serialized `Event`s of one kind of a series.

    Within a tag, an event drops those of later steps that were written before
    it; between kinds that must not happen.
    """
    return f"{_PREFIX}{_EVENT}/{series}/{kind}"


def split_tag(tag: str) -> tuple[str, str] | None:
    """Returns (`"schema"`, `"record"` or `"event"`; series), or None for another's tag."""
    if not tag.startswith(_PREFIX):
        return None
    part, _, rest = tag[len(_PREFIX) :].partition("/")
    series = rest.partition("/")[0]
    if part not in (_SCHEMA, _RECORD, _EVENT) or not series:
        return None
    return part, series


def series_id(identity: Iterable[str]) -> str:
    """Returns the name of a series: 16 hex digits that depend on `identity` alone.

    Names of losses and variables never enter a tag themselves: they may hold
    anything (slashes, HTML, 300 characters), and a restarted training must find
    the same series again.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in identity:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()
