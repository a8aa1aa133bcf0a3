"""The change log for callers: pages, and an endless stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sfm_core.model.event import ChangePage, Event, event_of
from sfm_core.model.namespace import ALL, Scope, covers, parse_scope
from sfm_core.ports.storage import Storage
from sfm_core.services.checks import check_count
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal, Verb

__all__ = ["Changes", "readable"]

_PAGE = 1000


def readable(principal: Principal, namespace: str | None) -> tuple[Scope, ...]:
    """Return the scopes that `namespace` means to this principal: that one, or without it all that it may read.

    Raises:
        Forbidden: it may not read there.
    """
    if namespace is None and principal.scopes and Verb.READ in principal.verbs:
        distinct = tuple(dict.fromkeys(principal.scopes))
        return tuple(scope for scope in distinct if not covers((s for s in distinct if s != scope), scope))
    scope = ALL if namespace is None else parse_scope(namespace)
    principal.require(Verb.READ, scope)
    return (scope,)


class Changes:
    """Reads the change log as CloudEvents, in order, without gaps.

    Args:
        storage, limits: as everywhere.
        source: names this installation in the events.
        poll_seconds: how often a stream looks for changes of other processes.
    """

    def __init__(self, storage: Storage, limits: Limits, *, source: str, poll_seconds: float = 0.25) -> None:
        self._storage = storage
        self._limits = limits
        self._source = source
        self._poll = poll_seconds

    async def page(
        self, principal: Principal, *, namespace: str | None = None, after: int = 0, limit: int = 100
    ) -> ChangePage:
        """Return the changes above sequence `after` of a namespace, a subtree, or all that the principal may read."""
        scopes = readable(principal, namespace)
        after = check_count(after, "after", low=0)
        limit = check_count(limit, "limit", low=1, high=self._limits.page)
        last = await self._storage.last_sequence()
        items = await self._read(scopes, after, limit + 1)
        page = tuple(items[:limit])
        newest = max(last, page[-1].data.sequence if page else 0)
        return ChangePage(page, page[-1].data.sequence if len(items) > limit else None, newest)

    async def follow(
        self, principal: Principal, *, namespace: str | None = None, after: int = 0
    ) -> AsyncIterator[Event]:
        """Yield the changes above `after` as they come, without end."""
        scopes = readable(principal, namespace)
        after = check_count(after, "after", low=0)
        while True:
            last = await self._storage.last_sequence()
            items = await self._read(scopes, after, _PAGE) if last > after else []
            for event in items:
                after = event.data.sequence
                yield event
            if len(items) < _PAGE:
                after = max(after, last)
                await asyncio.sleep(self._poll)

    async def _read(self, scopes: tuple[Scope, ...], after: int, limit: int) -> list[Event]:
        """Merge the logs of all scopes; overlapping scopes give a change once."""
        found = {
            change.sequence: change
            for scope in scopes
            for change in await self._storage.changes(scope, after=after, limit=limit)
        }
        return [event_of(found[sequence], self._source) for sequence in sorted(found)[:limit]]
