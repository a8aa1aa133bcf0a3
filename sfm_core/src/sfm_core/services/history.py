"""Reading single memories, lists and the past; bringing an old version back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from sfm_core.errors import InvalidInput, NotFound
from sfm_core.model.filter import FieldTest, Filter, Op, all_of, parse_filter
from sfm_core.model.memory import DEFAULT_NAMESPACE, Memory, Receipt
from sfm_core.model.namespace import Scope, check_namespace, parse_scope
from sfm_core.model.query import Page
from sfm_core.model.twins import digest
from sfm_core.ports.storage import Order, Storage, Stored
from sfm_core.ports.writes import Replace
from sfm_core.services.checks import check_coordinate, check_count, check_time
from sfm_core.services.commit import Committer
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
        if order not in tuple(Order):
            raise InvalidInput.of("order", order, f"one of {', '.join(Order)}")
        limits = self._committer.limits
        tests: list[Filter | None] = [
            None if filter is None else parse_filter(filter, depth=limits.filter_depth, tests=limits.filter_tests),
            _test("kind", "eq", kind),
            _test("author", "eq", author),
            _test("thread", "eq", thread),
            _test("tags", "contains", tag),
        ]
        found = await self._storage.list(
            scope,
            filter=all_of(*tests),
            order=Order(order),
            limit=check_count(limit, "limit", low=1, high=limits.page),
            after=cursor,
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
        now = self._committer.clock()
        if coordinate is not None and low is None and high is None:
            found = await self._storage.at_coordinate(name, check_coordinate(coordinate), now=now)
            return () if found is None else (found,)
        if coordinate is not None or low is None or high is None:
            raise InvalidInput.of("coordinate", coordinate, "either coordinate, or both min and max")
        bottom, top = check_coordinate(low, "min"), check_coordinate(high, "max")
        if len(bottom) != len(top):
            raise InvalidInput.of("max", f"{len(top)} numbers", f"{len(bottom)} numbers, as in min")
        most = check_count(limit, "limit", low=1, high=self._committer.limits.page)
        return tuple(await self._storage.in_box(name, bottom, top, limit=most, now=now))

    async def history(self, principal: Principal, id: str, *, limit: int = 100, cursor: str | None = None) -> Page:
        """Return the versions of a memory, newest first; a deleted memory's too, until it is erased.

        Raises:
            NotFound: unknown, erased, or outside the principal's namespaces.
        """
        id = check_id(id)
        most = check_count(limit, "limit", low=1, high=self._committer.limits.page)
        await self._located(principal, id)
        before = None if cursor is None else _version(cursor)
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
        """Make the content of an old version the newest version; brings a deleted memory back.

        Raises:
            NotFound: unknown or erased memory, or no such version (or that version is a tombstone).
            StaleVersion: `expected_version` is given and not the stored one, or another write came between.
            Conflict: the coordinate of that version is occupied meanwhile.
        """
        id = check_id(id)
        version = check_count(version, "version", low=1)
        newest = await self._located(principal, id)
        principal.require(Verb.WRITE, Scope(newest.memory.namespace))
        found = await self._storage.history(id, limit=1, before=version + 1)
        if not found or found[0].memory.version != version or found[0].deleted:
            raise NotFound(f"memory {id} has no version {version} to restore")
        current = newest.memory.version
        restored = msgspec.structs.replace(found[0].memory, version=current + 1, updated_at=self._committer.clock())
        restored = self._committer.approved(restored, principal)
        write = Replace(
            memory=restored,
            analysis=self._analyse(restored),
            digest=digest(restored),
            expected_version=current if expected_version is None else expected_version,
            outcome="restored",
            revive=True,
        )
        return await receipt(self._storage, await self._committer.commit(principal, [write], wait=wait, key=key))

    async def _located(self, principal: Principal, id: str) -> Stored:
        [stored] = await self._storage.locate([id])
        if stored is None or not principal.may(Verb.READ, Scope(stored.memory.namespace)):
            raise NotFound(f"no memory {id}")
        return stored


def _test(field: str, op: Op, value: str | None) -> Filter | None:
    return None if value is None else FieldTest(field, (), op, value)


def _version(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise InvalidInput.of("cursor", cursor, "the `next` of an earlier page")
    return int(cursor)
