"""A recall as it was asked, checked: the scope, the one filter of filter and kinds, the instants and bounds."""

from __future__ import annotations

import time
from datetime import datetime
from typing import get_args

from msgspec import Struct

from sfm_core.errors import InvalidInput, Problem
from sfm_core.model.filter import FieldTest, Filter, all_of, matches, parse_filter
from sfm_core.model.memory import DEFAULT_NAMESPACE, Kind, Memory
from sfm_core.model.namespace import Scope, parse_scope
from sfm_core.model.query import Prefer, RecallQuery
from sfm_core.services.checks import check_count, check_number, check_text, check_time
from sfm_core.services.limits import Limits

__all__ = ["Asked", "read_asked"]

_KINDS: tuple[str, ...] = get_args(Kind)
_PREFER: tuple[str, ...] = get_args(Prefer)
_MOST_LINKS = 3


class Asked(Struct, frozen=True, kw_only=True):
    """What is to be recalled.

    Attributes:
        query: as it was given.
        scope, filter: where, and what passes (kinds included).
        now: the instant of the call; `as_of` the past instant to read, None for the present.
        started: `time.perf_counter()` at the start of the call.
    """

    query: RecallQuery
    scope: Scope
    filter: Filter | None
    now: datetime
    as_of: datetime | None
    started: float

    def left(self) -> float | None:
        """Return the seconds left until the deadline (0 when it has passed), None when there is none."""
        if self.query.deadline_ms is None:
            return None
        return max(0.0, self.query.deadline_ms / 1e3 - (time.perf_counter() - self.started))

    def passes(self, memory: Memory) -> bool:
        """Tell whether `memory` may be in the answer: its scope and the filter, whatever an index believed."""
        return self.scope.covers(memory.namespace) and matches(self.filter, memory)

    def elapsed_ms(self) -> float:
        """Return the milliseconds since the call."""
        return (time.perf_counter() - self.started) * 1e3


def read_asked(query: RecallQuery, limits: Limits, now: datetime) -> Asked:
    """Check every field of `query`.

    Raises:
        InvalidInput: naming the first field that is refused.
    """
    started = time.perf_counter()
    if (query.query is None) == (query.vector is None):
        given = "neither" if query.query is None else "query and vector"
        raise InvalidInput([Problem("query", given, "exactly one of query and vector")])
    if query.query is not None:
        check_text(query.query, "query", longest=limits.query_bytes, unit="bytes")
    check_count(query.k, "k", low=1, high=limits.k)
    _check_options(query)
    return Asked(
        query=query,
        scope=parse_scope(DEFAULT_NAMESPACE if query.namespace is None else query.namespace),
        filter=_filter(query, limits),
        now=now,
        as_of=None if query.as_of is None else check_time(query.as_of, "as_of"),
        started=started,
    )


def _check_options(query: RecallQuery) -> None:
    if query.deadline_ms is not None:
        check_number(query.deadline_ms, "deadline_ms", above=0)
    if query.min_score is not None:
        check_number(query.min_score, "min_score", low=0, high=1)
    if query.min_sequence is not None:
        check_count(query.min_sequence, "min_sequence", low=0)
    check_count(query.expand_links, "expand_links", low=0, high=_MOST_LINKS)
    if query.prefer is not None and query.prefer not in _PREFER:
        raise InvalidInput.of("prefer", query.prefer, f"one of {', '.join(_PREFER)}")
    if query.vector is None:
        if query.as_of is not None and query.expand_links:
            raise InvalidInput.of("expand_links", query.expand_links, "0 together with as_of: past links are not kept")
        return
    for field in ("prefer", "expand_links", "as_of"):
        if getattr(query, field):
            raise InvalidInput.of(field, getattr(query, field), "only together with a text query")


def _filter(query: RecallQuery, limits: Limits) -> Filter | None:
    filter = query.filter
    if filter is not None:
        filter = parse_filter(filter, depth=limits.filter_depth, tests=limits.filter_tests)
    if query.kinds is None:
        return filter
    for i, kind in enumerate(query.kinds):
        if kind not in _KINDS:
            raise InvalidInput.of(f"kinds.{i}", kind, f"one of {', '.join(_KINDS)}")
    return all_of(filter, FieldTest("kind", (), "in", tuple(query.kinds)))
