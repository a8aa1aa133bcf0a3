"""Deleting, erasing, forgetting by filter or policy, undo, and what became of an operation in every store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from sfm_core.errors import BackendError, Conflict, NotFound
from sfm_core.model.filter import FieldTest, parse_filter
from sfm_core.model.memory import Receipt, StoreState
from sfm_core.model.namespace import ALL, Scope, check_namespace, parse_scope
from sfm_core.ports.storage import Stored
from sfm_core.ports.vectors import Vectors
from sfm_core.ports.writes import Applied, Erase, Operation, OperationKind, Remove, Revive, StartOperation, Write
from sfm_core.services.checks import check_bool, check_version
from sfm_core.services.commit import Committed, Committer
from sfm_core.services.copies import Copies
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id, new_id
from sfm_core.services.policy import read_policy, selected
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.replies import receipt

__all__ = ["Forget", "ForgetReport", "OperationState"]

_BATCH = 1000
_SHOWN = 1000


class ForgetReport(Struct, frozen=True, kw_only=True):
    """What a forget would remove (`dry_run`) or removed: how many, 1,000 of the ids, the operation, the newest sequence."""

    namespace: str
    dry_run: bool
    count: int
    items: tuple[str, ...]
    operation: str | UnsetType = UNSET
    sequence: int = 0


class OperationState(Struct, frozen=True, kw_only=True):
    """An operation: `pending` until every store has it, then `done`; `undone` after an undo."""

    id: str
    kind: OperationKind
    namespace: str
    state: str
    count: int
    sequence: int
    created_at: datetime
    undo_until: datetime | None
    undone_at: datetime | None
    stores: tuple[StoreState, ...]


class Forget:
    """Removes memories: hidden at once and undoable, or erased from every store."""

    def __init__(
        self, committer: Committer, vectors: Vectors | None, stores: Mapping[str, str], copies: Copies | None = None
    ) -> None:
        """`stores` maps the ports that hold memories ("storage", "vectors", "cache") to their backend's name."""
        self._committer = committer
        self._storage = committer.storage
        self._vectors = vectors
        self._stores = stores
        self._copies = copies

    async def delete(
        self,
        principal: Principal,
        id: str,
        *,
        erase: bool = False,
        expected_version: int | None = None,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> Receipt:
        """Hide a memory everywhere (undoable), or erase content and history from every store.

        Raises:
            NotFound: unknown or erased; without `erase` also already deleted or expired.
            StaleVersion: `expected_version` is given and not the stored one.
        """
        id = check_id(id)
        expected = check_version(expected_version)
        check_bool(erase, "erase")
        principal.require_verb(Verb.FORGET)
        committed = await self._committer.replayed(key, wait=wait)
        if committed is None:
            namespace = (await self._found(principal, id, erase=erase)).memory.namespace
            self._committer.hooks.forgetting([id], principal, erase=erase)
            now = self._committer.clock()
            operation = self._operation("erase" if erase else "delete", namespace, principal, now, undoable=not erase)
            kind = Erase if erase else Remove
            writes: list[Write] = [
                StartOperation(operation=operation),
                kind(id=id, operation=operation.id, time=now, expected_version=expected),
            ]
            committed = await self._committer.commit(principal, writes, wait=wait, key=key)
        answer = await receipt(self._storage, principal, Verb.FORGET, committed)
        forgotten = committed.forgotten
        if committed.replay is not None and self._copies is not None:
            forgotten = await self._copies.forget([id])
        return replace(answer, stores=self._states(projected=answer.indexed, forgotten=forgotten))

    async def _found(self, principal: Principal, id: str, *, erase: bool) -> Stored:
        [stored] = await self._storage.locate([id])
        if stored is None or not principal.may(Verb.FORGET, Scope(stored.memory.namespace)):
            raise NotFound(f"no memory {id}")
        expires = stored.memory.expires_at
        expired = expires is not None and expires <= self._committer.clock()
        if not erase and (stored.deleted or expired):
            raise NotFound(f"no memory {id}")
        return stored

    async def forget(
        self,
        principal: Principal,
        *,
        namespace: str,
        filter: object | None = None,
        policy: object | None = None,
        dry_run: bool = True,
        erase: bool = False,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> ForgetReport:
        """Remove the memories of a namespace (or subtree) that pass `filter`, or that `policy` picks.

        Args:
            principal, wait, key: as everywhere.
            namespace: where; must be named.
            filter: decoded JSON of the filter language.
            policy: `{"older_than_days", "max_importance", "keep_newest"}` (`sfm_core.services.policy`); spares pinned ones.
            dry_run: tell what would go, and change nothing.
            erase: erase instead of hide.

        Raises:
            InvalidInput: neither or both of `filter` and `policy`.
        """
        scope = parse_scope(namespace)
        check_bool(dry_run, "dry_run")
        check_bool(erase, "erase")
        principal.require(Verb.FORGET, scope)
        limits = self._committer.limits
        parsed = None if filter is None else parse_filter(filter, depth=limits.filter_depth, tests=limits.filter_tests)
        rule = read_policy(policy, given_filter=filter is not None)
        if not dry_run and (replayed := await self._committer.replayed(key, wait=wait)) is not None:
            return await self._forget_replayed(namespace, replayed)
        found = await selected(self._storage, scope, parsed, rule, self._committer.clock())
        ids = [id for id, _ in found]
        if dry_run:
            return ForgetReport(namespace=namespace, dry_run=True, count=len(ids), items=tuple(ids[:_SHOWN]))
        return await self._remove(principal, namespace, ids, "forget", erase=erase, wait=wait, key=key)

    async def delete_namespace(
        self,
        principal: Principal,
        namespace: str,
        *,
        erase: bool = False,
        wait: bool = False,
        key: IdempotencyKey | None = None,
    ) -> ForgetReport:
        """Remove every memory of exactly this namespace (not of those below it); `erase` takes tombstones too."""
        scope = Scope(check_namespace(namespace))
        check_bool(erase, "erase")
        principal.require(Verb.FORGET, scope)
        if (replayed := await self._committer.replayed(key, wait=wait)) is not None:
            return await self._forget_replayed(namespace, replayed)
        ids: list[str] = []
        async for batch in self._storage.scan(scope, now=self._committer.clock()):
            ids += [stored.memory.id for stored in batch if erase or not stored.deleted]
        return await self._remove(principal, namespace, ids, "namespace", erase=erase, wait=wait, key=key)

    async def sweep(self) -> int:
        """Make tombstones of the memories whose `expires_at` has passed; return how many."""
        now = self._committer.clock()
        due = FieldTest("expires_at", (), "lte", now)
        unexpired_at = datetime.min.replace(tzinfo=UTC)
        expired = await selected(self._storage, ALL, due, None, unexpired_at)
        if not expired:
            return 0
        operation = self._operation("expiry", "", SWEEPER, now, undoable=True)
        # The version says that the memory was not restored meanwhile.
        writes = [Remove(id=id, operation=operation.id, time=now, expected_version=seen) for id, seen in expired]
        done, _ = await self._in_batches(SWEEPER, operation, writes, wait=False, key=None)
        return len(done)

    async def _remove(
        self,
        principal: Principal,
        namespace: str,
        ids: Sequence[str],
        kind: OperationKind,
        *,
        erase: bool,
        wait: bool,
        key: IdempotencyKey | None,
    ) -> ForgetReport:
        now = self._committer.clock()
        self._committer.hooks.forgetting(ids, principal, erase=erase)
        operation = self._operation(kind, namespace, principal, now, undoable=not erase)
        write = Erase if erase else Remove
        writes = [write(id=id, operation=operation.id, time=now) for id in ids]
        done, last = await self._in_batches(principal, operation, writes, wait=wait, key=key)
        if last.replay is not None:
            return await self._forget_replayed(namespace, last)
        stored = await self._storage.operation(operation.id)
        return ForgetReport(
            namespace=namespace,
            dry_run=False,
            count=len(done),
            items=tuple(sorted(done)[:_SHOWN]),
            operation=operation.id,
            sequence=stored.sequence if stored is not None else 0,
        )

    async def _in_batches(
        self,
        principal: Principal,
        operation: Operation,
        writes: Sequence[Write],
        *,
        wait: bool,
        key: IdempotencyKey | None,
    ) -> tuple[list[str], Committed]:
        """Carry out the writes of an operation; return the ids that were touched, and the last transaction.

        The last transaction claims the key: after a crash the repeated request does what is left.
        """
        done: list[str] = []
        committed = Committed([], indexed=True)
        starts = range(0, max(len(writes), 1), _BATCH)
        for start in starts:
            last = start == starts[-1]
            committed = await self._committer.commit(
                principal,
                [StartOperation(operation=operation), *writes[start : start + _BATCH]],
                atomic=False,
                wait=wait and last,
                key=key if last else None,
            )
            done += [r.memory.id for r in committed.results if isinstance(r, Applied)]
        return done, committed

    async def _forget_replayed(self, namespace: str, committed: Committed) -> ForgetReport:
        assert committed.replay is not None
        operation = await self._storage.operation(committed.replay.operation or "")
        if operation is None:
            raise NotFound("the operation of the first request with this key is gone")
        members = await self._storage.operation_members(operation.id, limit=_SHOWN)
        return ForgetReport(
            namespace=namespace,
            dry_run=False,
            count=operation.count,
            items=tuple(id for id, _ in members),
            operation=operation.id,
            sequence=operation.sequence,
        )

    async def undo(
        self, principal: Principal, operation_id: str, *, key: IdempotencyKey | None = None
    ) -> OperationState:
        """Bring back what an operation hid, save what was changed or taken since; within its window.

        Raises:
            NotFound: no such operation.
            Conflict: it is an erasure, its window is over, or it was undone.
        """
        operation = await self._operation_for(principal, operation_id, Verb.WRITE)
        if await self._committer.replayed(key) is not None:
            return await self._state_of(operation)
        now = self._committer.clock()
        if operation.undone_at is not None:
            raise Conflict(f"operation {operation.id} was undone already")
        if operation.undo_until is None or operation.undo_until < now:
            raise Conflict(f"operation {operation.id} cannot be undone (an erasure, or its window is over)")
        writes: list[Write] = [Revive(id=id, operation=operation.id, time=now) async for id in self._members(operation)]
        # Marked as undone with the last batch: after a crash the undo can be repeated.
        last = len(writes) - len(writes) % _BATCH
        for start in range(0, last, _BATCH):
            await self._committer.commit(principal, writes[start : start + _BATCH], atomic=False)
        undone = StartOperation(operation=replace(operation, undone_at=now))
        await self._committer.commit(principal, [*writes[last:], undone], atomic=False, key=key)
        return await self._state_of(operation)

    async def _members(self, operation: Operation) -> AsyncIterator[str]:
        after: str | None = None
        while page := await self._storage.operation_members(operation.id, limit=_BATCH, after=after):
            after = page[-1][0]
            for id, _ in page:
                yield id

    async def operation(self, principal: Principal, operation_id: str) -> OperationState:
        """Return an operation and how far it has come in every store.

        Raises:
            NotFound: no such operation, or outside the principal's namespaces.
        """
        return await self._state_of(await self._operation_for(principal, operation_id, Verb.READ))

    async def _state_of(self, asked: Operation) -> OperationState:
        operation = await self._storage.operation(asked.id) or asked
        projected, forgotten = (True, True) if operation.undone_at is not None else await self._agree(operation)
        stores = self._states(projected=projected, forgotten=forgotten)
        settled = all(s.state == "done" for s in stores)
        return OperationState(
            id=operation.id,
            kind=operation.kind,
            namespace=operation.namespace,
            state="undone" if operation.undone_at is not None else "done" if settled else "pending",
            count=operation.count,
            sequence=operation.sequence,
            created_at=operation.created_at,
            undo_until=operation.undo_until,
            undone_at=operation.undone_at,
            stores=stores,
        )

    async def _operation_for(self, principal: Principal, operation_id: str, verb: Verb) -> Operation:
        id = check_id(operation_id, "operation")
        principal.require_verb(verb)
        operation = await self._storage.operation(id)
        scope = ALL if operation is None or not operation.namespace else parse_scope(operation.namespace)
        if operation is None or not principal.may(verb, scope):
            raise NotFound(f"no operation {id}")
        return operation

    def _operation(
        self, kind: OperationKind, namespace: str, principal: Principal, now: datetime, *, undoable: bool
    ) -> Operation:
        window = timedelta(days=self._committer.limits.undo_days)
        return Operation(
            id=new_id(),
            kind=kind,
            namespace=namespace,
            principal=principal.name,
            created_at=now,
            undo_until=now + window if undoable else None,
        )

    def _states(self, *, projected: bool, forgotten: bool) -> tuple[StoreState, ...]:
        """Storage has what it acknowledged; the index has it when it is projected, the cache when copies are overwritten."""
        done = {"storage": True, "cache": forgotten}
        return tuple(
            StoreState(f"{port}:{name}", "done" if done.get(port, projected) else "pending")
            for port, name in self._stores.items()
        )

    async def _agree(self, operation: Operation) -> tuple[bool, bool]:
        """Ask index and cache themselves whether they hold none of the operation's memories that are gone."""
        if self._vectors is None and self._copies is None:
            return True, True
        ids = [id async for id in self._members(operation)]
        projected = forgotten = True
        for start in range(0, len(ids), _BATCH):
            part = ids[start : start + _BATCH]
            stored = zip(part, await self._storage.locate(part), strict=True)
            gone = [id for id, found in stored if found is None or found.deleted]
            projected = projected and await self._not_indexed(gone)
            forgotten = forgotten and await self._not_copied(gone, operation)
        return projected, forgotten

    async def _not_indexed(self, gone: Sequence[str]) -> bool:
        try:
            return self._vectors is None or not await self._vectors.versions(gone)
        except BackendError:
            return False

    async def _not_copied(self, gone: Sequence[str], operation: Operation) -> bool:
        now = self._committer.clock()
        return self._copies is None or await self._copies.forgotten(gone, since=operation.created_at, now=now)


SWEEPER = Principal("expiry", (ALL,), frozenset({Verb.FORGET}))
"""The principal of the expiry sweep."""
