"""Times on the wire: ISO 8601; a time without zone is UTC; microseconds are kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sfm_core.errors import InvalidInput

__all__ = ["parse_time", "time_text"]

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?\s?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_ALLOWED = "a time in ISO 8601, for example 2024-05-08T13:56:00Z"


def parse_time(value: object, field: str) -> datetime:
    """Return `value` (ISO 8601 text or a datetime) as an aware instant in UTC; without zone it is read as UTC.

    Raises:
        InvalidInput: naming `field`, when it is no such time or lies outside the years 1 to 9999.
    """
    try:
        if isinstance(value, str) and len(value) <= 48 and _ISO.fullmatch(value):
            value = datetime.fromisoformat(value.upper().replace(",", ".").replace(" ", "T", 1).replace(" ", ""))
        if isinstance(value, datetime):
            return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput.of(field, value, _ALLOWED) from error
    raise InvalidInput.of(field, value, _ALLOWED)


def time_text(value: datetime) -> str:
    """Return an aware instant as ISO 8601 text in UTC with microseconds; texts of two instants sort as the instants do."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
