"""English expressions that place an event in time or say how long it lasted, and the questions that ask for them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

__all__ = ["MONTHS", "WEEKDAYS", "Intent", "asked_share", "has_duration", "has_time", "intent_of"]

Intent = Literal["", "when", "long"]

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_NUMBER = r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|few|couple|several|many)"
_UNIT = r"(?:hour|day|week|weekend|month|year|decade)s?"
_UNITS = frozenset(
    unit + plural for unit in ("hour", "day", "week", "weekend", "month", "year", "decade") for plural in ("", "s")
)
_ALWAYS = frozenset(
    ("yesterday", "today", "tonight", "tomorrow", "ago", "recently", "just", "since", "weekend", *MONTHS, *WEEKDAYS)
)
_POINTERS = frozenset(("last", "next", "this"))
_YEAR = re.compile(r"20\d\d")
_LATER = frozenset(("later", "back", "before"))
_POINTED = re.compile(
    r"\b(?:last|next|this)\s+(?:night|week|weekend|month|year|morning|summer|winter|spring|fall|autumn|past)\b"
)
_AFTER = re.compile(rf"\b{_NUMBER}\s+(?:of\s+)?{_UNIT}\s+(?:later|back|before)\b")
_LASTED = re.compile(rf"\b{_NUMBER}\b[\w\s]{{0,8}}\b{_UNIT}\b")
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[\uff01\uff1f\u3002](?=.)", re.DOTALL)

_AUX = r"(?:did|do|does|was|were|is|are|has|have|had|will|would|can|could|should|might|may|'s)"
_ADVERB = r"(?:\s+(?:exactly|precisely|approximately|about|roughly|else|(?:and|or)\s+\w+))?"
_WHAT_TIME = r"(?:(?:in|on|at|by|since|until)\s+|around\s+)?(?:what|which)\s+(?:date|day|month|year|time)\b"
_TOLD = r"(?:know|remember|recall|tell\s+me|remind\s+me)\s+"
_WHEN = re.compile(
    rf"(?:^|[,.;:!?]\s*(?:and\s+|so\s+)?)(?:when{_ADVERB}\s*{_AUX}\b|{_WHAT_TIME})|\b{_TOLD}(?:when\b|{_WHAT_TIME})"
)
_LONG = re.compile(r"\b(?:for\s+)?how\s+(?:long|old)\b|\bhow\s+many\s+(?:hours|days|weeks|months|years)\b")


def has_time(words: Collection[str], folded: str) -> bool:
    """Tell whether a text (its words, and itself folded) holds an expression that places an event in time."""
    if not _ALWAYS.isdisjoint(words):
        return True
    if "20" in folded and any(_YEAR.fullmatch(word) for word in words):
        return True
    if not _POINTERS.isdisjoint(words) and _POINTED.search(folded):
        return True
    return not _LATER.isdisjoint(words) and not _UNITS.isdisjoint(words) and _AFTER.search(folded) is not None


def has_duration(words: Collection[str], folded: str) -> bool:
    """Tell whether a text holds a number of hours to decades."""
    return not _UNITS.isdisjoint(words) and _LASTED.search(folded) is not None


def asked_share(text: str) -> float:
    """Return the share of the sentences of `text` that are questions."""
    if "?" not in text and "\uff1f" not in text:
        return 0.0
    text = text.strip()
    ends = [*_SENTENCE_END.findall(text), text[-1]]
    return sum(end in "?\uff1f" for end in ends) / len(ends)


def intent_of(folded: str) -> Intent:
    """Tell whether a folded question asks for a point in time, for a duration, or for neither."""
    folded = folded.strip()
    if _WHEN.search(folded) or (folded.startswith("when ") and "," not in folded):
        return "when"
    return "long" if _LONG.search(folded) else ""
