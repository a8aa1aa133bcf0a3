"""Dates and periods that a question names, and how close an instant lies to them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from sfm_core.text.moments import MONTHS, WEEKDAYS

__all__ = ["EveryYear", "Period", "Wanted", "closeness", "read_dates", "windows"]

DAY = timedelta(days=1)
_YEARS_BACK = 5
_SOON, _LATE = 30, 45  # beyond these days before or after a period nearly nothing of the boost is left


class Period(Struct, frozen=True):
    """first <= t < end. Around a fading one closeness falls off; a whole year has a hard edge."""

    first: datetime
    end: datetime
    fading: bool = True


class EveryYear(Struct, frozen=True):
    """A month, or a day of it, whose year the question does not say."""

    month: int
    day: int | None = None


Wanted = Period | EveryYear

_NAMES = "|".join(MONTHS)
_SHORT = "jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
_NTH = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATE = re.compile(
    rf"(\b(?:in|of|on|since|until|till|during|by|before|after|around|early|late|mid|last|this|next)\s+)?"
    rf"\b(?:{_NTH}\s+(?:of\s+)?)?({_NAMES}|(?:{_SHORT})\b)\.?"
    rf"(?:\s+(?:the\s+)?{_NTH}\b(?!\d))?(?:\s*,?\s*(?:of\s+)?\b(\d{{4}})\b)?"
)
_ISO = re.compile(r"\b(\d{4})[-/](\d\d)(?:[-/](\d\d))?\b")
_NUMERIC = re.compile(r"\b(\d{1,2})[/.](\d{1,2})[/.]((?:19|20)\d\d)\b")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
           "ten": 10, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3}  # fmt: skip
_COUNT = rf"(\d{{1,3}}|{'|'.join(sorted(_COUNTS, key=len, reverse=True))})"
_AGO = re.compile(rf"\b{_COUNT}\s+(day|week|month|year)s?\s+ago\b")
_PAST = re.compile(rf"\b(?:last|past)\s+{_COUNT}\s+(day|week|month|year)s?\b")
_NEAR = re.compile(rf"\b(today|yesterday|(?:last|this|past)\s+(?:week|month|year|{'|'.join(WEEKDAYS)}))\b")
_MAY_BE_VERBS = ("may", "march")
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}


def read_dates(folded: str, now: datetime, *, english: bool = True) -> tuple[Wanted, ...]:
    """Return the dates and periods that a folded question names; a bare year only when it names nothing closer.

    Read are ISO and numeric dates (08/05/2023 both ways) and years; in English also names of months in the usual orders,
    and periods relative to `now` (yesterday, last week, three months ago, last May).
    """
    found: list[Wanted | None] = [_calendar(int(y), int(m), int(d) if d else None) for y, m, d in _ISO.findall(folded)]
    for a, b, year in _NUMERIC.findall(folded):
        found += {_calendar(int(year), int(a), int(b)), _calendar(int(year), int(b), int(a))}
    if english:
        found += _named_dates(folded, now)
        found += _relative(folded, now)
    dates = tuple(dict.fromkeys(date for date in found if date is not None))
    return dates or tuple(dict.fromkeys(_year(int(year)) for year in _YEAR.findall(folded)))


def closeness(when: datetime, wanted: Iterable[Wanted]) -> float:
    """Return 1 inside a wanted period, fading over weeks around it; things are told after they happened more than before."""
    return max((_close(when, period) for date in wanted for period in _around(date, when.year)), default=0.0)


def windows(wanted: Sequence[Wanted], now: datetime) -> list[tuple[datetime, datetime]]:
    """Return the spans of time to look for memories in: the periods themselves, then the same widened by the fade.

    A month without a year means the latest ones up to `now`, newest first.
    """
    periods: list[Period] = []
    for date in wanted:
        if isinstance(date, Period):
            periods.append(date)
        else:
            years = range(now.year, max(now.year - _YEARS_BACK, 1), -1)
            periods += [p for year in years if (p := _in_year(date, year)) and p.first <= now]
    wide = [(_shift(p.first, -_SOON), _shift(p.end, _LATE)) for p in periods if p.fading]
    return [(period.first, period.end) for period in periods] + wide


def _close(when: datetime, period: Period) -> float:
    if period.first <= when < period.end:
        return 1.0
    if not period.fading:
        return 0.0
    if when < period.first:
        return 0.5 * math.exp(-((period.first - when).days) / 15)
    return 0.8 * math.exp(-((when - period.end).days + 1) / 15)


def _around(date: Wanted, year: int) -> Iterator[Period]:
    if isinstance(date, Period):
        yield date
        return
    for near in (year - 1, year, year + 1):
        if period := _in_year(date, near):
            yield period


@lru_cache(maxsize=1024)
def _in_year(date: EveryYear, year: int) -> Period | None:
    return _calendar(year, date.month, date.day)


def _calendar(year: int, month: int, day: int | None) -> Period | None:
    """Return a day or a month of the calendar, None when there is no such one."""
    try:
        first = datetime(year, month, day or 1, tzinfo=UTC)
        if day:
            return Period(first, first + DAY)
        return Period(first, (first + 31 * DAY).replace(day=1))
    except (ValueError, OverflowError):
        return None


def _year(year: int) -> Period:
    return Period(datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC), fading=False)


def _shift(when: datetime, days: int) -> datetime:
    try:
        return when + days * DAY
    except OverflowError:
        return when


def _named_dates(text: str, now: datetime) -> Iterator[Wanted | None]:
    for match in _DATE.finditer(text):
        lead, name, day, year = (match[1] or "").strip(), match[3], match[2] or match[4], match[5]
        if name not in MONTHS and not (day or year):
            continue
        if name in _MAY_BE_VERBS and not (lead or day or year):
            continue
        month = next(i for i, full in enumerate(MONTHS, 1) if full.startswith(name[:3]))
        if year:
            yield _calendar(int(year), month, int(day) if day else None)
        elif lead == "last":
            yield _calendar(now.year - (month >= now.month), month, int(day) if day else None)
        else:
            yield EveryYear(month, int(day) if day else None)


def _relative(text: str, now: datetime) -> Iterator[Wanted | None]:
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for count, unit in _PAST.findall(text):
        yield Period(_shift(today, -_number(count) * _DAYS[unit]), today + DAY)
    for count, unit in _AGO.findall(text):
        yield _ago(today, _number(count), unit)
    for words in _NEAR.findall(text):
        yield _near(today, words.split())


def _number(text: str) -> int:
    return _COUNTS[text] if text in _COUNTS else int(text)


def _ago(today: datetime, count: int, unit: str) -> Period | None:
    if unit == "year":
        return _year(today.year - count) if count < today.year else None
    if unit == "month":
        months = today.year * 12 + today.month - 1 - count
        return _calendar(months // 12, months % 12 + 1, None)
    slack = 0 if unit == "day" else 3
    middle = _shift(today, -count * _DAYS[unit])
    return Period(_shift(middle, -slack), _shift(middle, slack + 1))


def _near(today: datetime, words: list[str]) -> Period | None:
    which, unit = words[0], words[-1]
    if unit in ("today", "yesterday"):
        return _ago(today, int(unit == "yesterday"), "day")
    if which == "past":
        return Period(_shift(today, -_DAYS.get(unit, 7)), today + DAY)
    if unit in WEEKDAYS:
        back = (today.weekday() - WEEKDAYS.index(unit)) % 7
        return _ago(today, back or (7 if which == "last" else 0), "day")
    if unit == "week":
        monday = _shift(today, -today.weekday() - (7 if which == "last" else 0))
        return Period(monday, _shift(monday, 7))
    return _ago(today, int(which == "last"), unit)
