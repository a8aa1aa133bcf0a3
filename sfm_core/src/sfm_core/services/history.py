"""Reading single memories, lists and the past; bringing an old version back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

import msgspec

from sfm_core.errors import InvalidInput, NotFound, StaleVersion
from sfm_core.model.filter import FieldTest, Filter, Op, all_of, parse_filter
from sfm_core.model.memory import DEFAULT_NAMESPACE, Kind, Memory, Receipt
from sfm_core.model.namespace import Scope, check_namespace, parse_scope
from sfm_core.model.query import Page
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Order, Storage, Stored
from sfm_core.ports.writes import Replace
from sfm_core.services.checks import (
    check_coordinate,
    check_count,
    check_cursor,
    check_one_of,
    check_text,
    check_time,
    check_version,
)
from sfm_core.services.commit import Committed, Committer, until_not_stale
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.remember import Analyse
from sfm_core.services.replies import receipt

__all__ = ["History"]


class History:
    """Answers what is stored now and what was stored before."""

    def __init__(self, committer: Committer, analyse: Analyse) -> None:
        self._committer = committer
        self._storage: Storage = committer.storage
        self._analyse = analyse

    async def get(self, principal: Principal, id: str, *, as_of: datetime | str | None = None) -> Memory:
        """Return a memory as it is now, or as it was stored at `as_of`.

        Raises:
            NotFound: unknown, deleted, expired, erased, or outside the principal's namespaces.
        """
        id = check_id(id)
        moment = None if as_of is None else check_time(as_of, "as_of")
        principal.require_verb(Verb.READ)
        [memory] = await self._storage.get([id], now=self._committer.clock(), as_of=moment)
        if memory is None or not principal.may(Verb.READ, Scope(memory.namespace)):
            raise NotFound(f"no memory {id}")
        return memory

    async def list(
        self,
        principal: Principal,
        *,
        namespace: str | None = None,
        kind: str | None = None,
        author: str | None = None,
        thread: str | None = None,
        tag: str | None = None,
        filter: object | None = None,
        order: str = "-created_at",
        limit: int = 100,
        cursor: str | None = None,
        as_of: datetime | str | None = None,
    ) -> Page:
        """Return one page of the memories of a namespace (or subtree "a/**") that pass all that is given.

        Raises:
            InvalidInput: a refused argument.
        """
        scope = parse_scope(namespace if namespace is not None else DEFAULT_NAMESPACE)
        principal.require(Verb.READ, scope)
        limits = self._committer.limits
        longest = limits.text_length
        tests: list[Filter | None] = [
            None if filter is None else parse_filter(filter, depth=limits.filter_depth, tests=limits.filter_tests),
            None if kind is None else FieldTest("kind", (), "eq", check_one_of(kind, "kind", get_args(Kind))),
            _text_test("author", "eq", author, "author", longest),
            _text_test("thread", "eq", thread, "thread", longest),
            _text_test("tags", "contains", tag, "tag", longest),
        ]
        found = await self._storage.list(
            scope,
            filter=all_of(*tests),
            order=Order(check_one_of(order, "order", tuple(Order))),
            limit=check_count(limit, "limit", low=1, high=limits.page),
            after=check_cursor(cursor),
            now=self._committer.clock(),
            as_of=None if as_of is None else check_time(as_of, "as_of"),
        )
        return Page(found.memories, found.next)

    async def at_coordinate(
        self,
        principal: Principal,
        *,
        namespace: str | None = None,
        coordinate: Sequence[float] | None = None,
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        limit: int = 100,
    ) -> tuple[Memory, ...]:
        """Return the memory at a coordinate, or those in the inclusive box from `low` to `high`.

        Raises:
            InvalidInput: neither or both are given, a refused number, or bounds of different dimension.
        """
        name = check_namespace(namespace if namespace is not None else DEFAULT_NAMESPACE)
        principal.require(Verb.READ, Scope(name))
        now, limits = self._committer.clock(), self._committer.limits
        most = check_count(limit, "limit", low=1, high=limits.page)
        if coordinate is not None and low is None and high is None:
            place = check_coordinate(coordinate, most=limits.coordinate)
            found = await self._storage.at_coordinate(name, place, now=now)
            return () if found is None else (found,)
        if coordinate is not None or low is None or high is None:
            raise InvalidInput.of("coordinate", coordinate, "either coordinate, or both min and max")
        bottom, top = (check_coordinate(v, f, most=limits.coordinate) for v, f in ((low, "min"), (high, "max")))
        if len(bottom) != len(top):
            raise InvalidInput.of("max", f"{len(top)} numbers", f"{len(bottom)} numbers, as in min")
        return tuple(await self._storage.in_box(name, bottom, top, limit=most, now=now))

    async def history(self, principal: Principal, id: str, *, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the versions of a memory, newest first; a deleted memory's too, until it is erased.

        Raises:
            NotFound: unknown, erased, or outside the principal's namespaces.
        """
        id = check_id(id)
        most = check_count(limit, "limit", low=1, high=self._committer.limits.page)
        before = _version(check_cursor(cursor))
        await self._located(principal, id, Verb.READ)
        found = await self._storage.history(id, limit=most + 1, before=before)
        items = tuple(stored.memory for stored in found[:most])
        return Page(items, str(items[-1].version) if len(found) > most else None)

    async def restore(
        self,
        principal: Principal,
        id: str,
        version: int,
        *,
        expected_version: int | None = None,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> Receipt:
        """Make the content of an old version the newest version; brings a deleted or expired memory back.

        An `expires_at` that has passed is dropped: with it the restored memory would be hidden at once.

        Raises:
            NotFound: unknown or erased memory, or no such version (or that version is a tombstone).
            StaleVersion: `expected_version` is given and not the stored one.
            Conflict: the coordinate of that version is occupied meanwhile.
        """
        id = check_id(id)
        version = check_count(version, "version", low=1)
        expected = check_version(expected_version)
        principal.require_verb(Verb.WRITE)

        async def attempt() -> Committed:
            newest = await self._located(principal, id, Verb.WRITE)
            current = newest.memory.version
            if expected is not None and current != expected:
                raise StaleVersion(f"memory {id} has version {current}, not {expected}", current=current)
            restored = self._committer.approved(await self._revived(id, version, newest.memory), principal)
            write = Replace(
                memory=restored,
                analysis=self._analyse(restored),
                digest=digest(restored),
                expected_version=current,
                outcome="restored",
                revive=True,
            )
            return await self._committer.commit(principal, [write], wait=wait, key=key)

        committed = await self._committer.replayed(key, wait=wait)
        if committed is None:
            committed = await (attempt() if expected is not None else until_not_stale(attempt, f"memory {id}"))
        return await receipt(self._storage, principal, Verb.WRITE, committed)

    async def _revived(self, id: str, version: int, newest: Memory) -> Memory:
        """Return the old version as the version after `newest`."""
        found = await self._storage.history(id, limit=1, before=version + 1)
        if not found or found[0].memory.version != version or found[0].deleted:
            raise NotFound(f"memory {id} has no version {version} to restore")
        old, now = found[0].memory, self._committer.clock()
        expires = old.expires_at if old.expires_at is None or old.expires_at > now else None
        written = max(now, newest.updated_at)
        return msgspec.structs.replace(old, version=newest.version + 1, updated_at=written, expires_at=expires)

    async def _located(self, principal: Principal, id: str, verb: Verb) -> Stored:
        principal.require_verb(verb)
        [stored] = await self._storage.locate([id])
        if stored is None or not principal.may(verb, Scope(stored.memory.namespace)):
            raise NotFound(f"no memory {id}")
        return stored


def _text_test(field: str, op: Op, value: object, argument: str, longest: int) -> Filter | None:
    return None if value is None else FieldTest(field, (), op, check_text(value, argument, longest=longest))


def _version(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput.of("cursor", cursor, "the `next` of an earlier page")
    return int(cursor)
