"""What is on the wire: CloudEvents 1.0 in structured JSON, and our headers beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from sfm_core.model.event import Event

__all__ = ["Header", "Record", "Token", "decode", "decoded", "foreign", "ours_of", "record_of", "text", "whole"]


class Header(StrEnum):
    """Our headers beside an event."""

    ATTEMPT = "sfm-attempt"
    """How often the event was delivered before it became a dead letter."""
    CUT = "sfm-cut"
    """How many bytes the value had, of which the letter has the first."""
    ERROR = "sfm-error"
    """Why a consumer gave up."""
    GROUP = "sfm-group"
    """The consumer group a dead letter belongs to."""
    OFFSET = "sfm-offset"
    """Where the event lay in its partition."""
    ONLY = "sfm-only-group"
    """The one consumer group that a replayed event is for; all others pass over it."""
    PARTITION = "sfm-partition"
    """The partition the event lay in."""
    RESOLVED = "sfm-resolved"
    """The offset, in the same partition, of a letter that is dead no longer."""
    TIME = "sfm-time"
    """When a consumer gave up, ISO 8601."""
    TOPIC = "sfm-topic"
    """The topic the event lay in."""


_OURS = "sfm-"
_CONTENT_TYPE = ("content-type", b"application/cloudevents+json")
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

Headers = tuple[tuple[str, bytes], ...]


class Record(Struct, frozen=True):
    """Something to be written to a topic; to the partition of its key when none is named."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Token(Struct, frozen=True, gc=False):
    """Where a delivery came from: in which `era` of its member it was handed out, and the driver's record of it."""

    era: int
    record: Any


def record_of(event: Event, topic: str) -> Record:
    """Return what is written for `event`."""
    return Record(topic, event.data.namespace.encode(), _ENCODER.encode(event), (_CONTENT_TYPE,))


def decode(value: bytes | None) -> Event | None:
    """Return the event in `value`, or None when there is none that can be read."""
    if value is None:
        return None
    try:
        return _DECODER.decode(value)
    except _UNREADABLE:
        return None


def decoded(records: Sequence[Any]) -> list[Event | None]:
    """Return the events in the driver's `records`, each None when there is none that can be read."""
    try:
        return [_DECODER.decode(record.value) for record in records]
    except (TypeError, *_UNREADABLE):
        return [decode(record.value) for record in records]


def text(headers: Mapping[str, bytes], name: str) -> str:
    """Return a header as text, "" when it is not there."""
    return headers.get(name, b"").decode("utf-8", "replace")


def whole(headers: Mapping[str, bytes], name: str) -> int | None:
    """Return a header as a number of zero or more, or None when it is none."""
    found = text(headers, name)
    return int(found) if found.isascii() and found.isdigit() and len(found) < 19 else None


def ours_of(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """Return our headers by name."""
    return {name: value or b"" for name, value in headers if name.startswith(_OURS)}


def foreign(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Return the headers of others, in their order."""
    return tuple((name, value or b"") for name, value in headers if not name.startswith(_OURS))
