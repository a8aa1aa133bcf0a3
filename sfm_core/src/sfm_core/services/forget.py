"""Deleting, erasing, forgetting by filter or policy, undo, and what became of an operation in every store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from sfm_core.errors import Conflict, NotFound, SfmError
from sfm_core.model.filter import FieldTest, parse_filter
from sfm_core.model.memory import Receipt, StoreState
from sfm_core.model.namespace import ALL, Scope, check_namespace, parse_scope
from sfm_core.ports.storage import Stored
from sfm_core.ports.vectors import Vectors
from sfm_core.ports.writes import Applied, Erase, Operation, OperationKind, Remove, Revive, StartOperation, Write
from sfm_core.services.commit import Committed, Committer, operation_of
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id, new_id
from sfm_core.services.policy import read_policy, selected
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.replies import applied, receipt

__all__ = ["Forget", "ForgetReport", "OperationState"]

_BATCH = 1000
_SHOWN = 1000


class ForgetReport(Struct, frozen=True, kw_only=True):
    """What a forget would remove (`dry_run`) or removed: how many, the first 1,000 ids, the operation, the newest sequence."""

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

    def __init__(self, committer: Committer, vectors: Vectors | None, stores: Mapping[str, str]) -> None:
        """`stores` maps the ports that hold copies ("storage", "vectors", ...) to their backend's name."""
        self._committer = committer
        self._storage = committer.storage
        self._vectors = vectors
        self._stores = stores

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
        now = self._committer.clock()
        stored = await self._found(principal, id, erase=erase)
        namespace = stored.memory.namespace
        principal.require(Verb.FORGET, Scope(namespace))
        self._committer.hooks.forgetting([id], principal, erase=erase)
        operation = self._operation("erase" if erase else "delete", namespace, principal, now)
        kind = Erase if erase else Remove
        writes: list[Write] = [
            StartOperation(operation=operation),
            kind(id=id, operation=operation.id, time=now, expected_version=expected_version),
        ]
        committed = await self._committer.commit(principal, writes, wait=wait, key=key)
        if committed.replay is not None:
            return await self._replayed(committed, stored)
        answer = await receipt(self._storage, committed, operation=operation.id)
        return replace(answer, stores=self._states(answer.sequence))

    async def _replayed(self, committed: Committed, stored: Stored) -> Receipt:
        """Answer a repeated delete: after an erase only thin facts are left, and the receipt says no more."""
        assert committed.replay is not None
        operation = next((r.operation for r in committed.replay.results if r.operation), None)
        answer = await receipt(self._storage, committed, operation=operation)
        return replace(answer, stores=self._states(answer.sequence))

    async def _found(self, principal: Principal, id: str, *, erase: bool) -> Stored:
        [stored] = await self._storage.locate([id])
        if stored is None or not principal.may(Verb.READ, Scope(stored.memory.namespace)):
            raise NotFound(f"no memory {id}")
        expires = stored.memory.expires_at
        if not erase and not stored.deleted and expires is not None and expires <= self._committer.clock():
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
        principal.require(Verb.FORGET, scope)
        limits = self._committer.limits
        parsed = None if filter is None else parse_filter(filter, depth=limits.filter_depth, tests=limits.filter_tests)
        rule = read_policy(policy, given_filter=filter is not None)
        now = self._committer.clock()
        ids = [m.id for m in await selected(self._storage, scope, parsed, rule, now)]
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
        principal.require(Verb.FORGET, scope)
        ids: list[str] = []
        async for batch in self._storage.scan(scope, now=self._committer.clock()):
            ids += [stored.memory.id for stored in batch if erase or not stored.deleted]
        return await self._remove(principal, namespace, ids, "namespace", erase=erase, wait=wait, key=key)

    async def sweep(self) -> int:
        """Make tombstones of the memories whose `expires_at` has passed; return how many."""
        now = self._committer.clock()
        due = FieldTest("expires_at", (), "lte", now)
        unexpired_at = datetime.min.replace(tzinfo=UTC)
        expired = [m.id for m in await selected(self._storage, ALL, due, None, unexpired_at)]
        if expired:
            await self._remove(SWEEPER, "", expired, "expiry", erase=False, wait=False, key=None)
        return len(expired)

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
        """Remove `ids` in batches under one operation; the first transaction claims the key and starts the operation."""
        now = self._committer.clock()
        if kind != "expiry":
            self._committer.hooks.forgetting(ids, principal, erase=erase)
        operation = self._operation(kind, namespace, principal, now, undoable=not erase)
        write = Erase if erase else Remove
        done: list[str] = []
        sequence = 0
        for start in range(0, max(len(ids), 1), _BATCH):
            part = [write(id=id, operation=operation.id, time=now) for id in ids[start : start + _BATCH]]
            first: list[Write] = [StartOperation(operation=operation)] if start == 0 else []
            committed = await self._committer.commit(
                principal, [*first, *part], atomic=False, wait=wait, key=key if start == 0 else None
            )
            if committed.replay is not None:
                return await self._forget_replayed(namespace, committed)
            done += [r.memory.id for r in committed.results if isinstance(r, Applied)]
            sequence = max(sequence, committed.sequence)
        return ForgetReport(
            namespace=namespace,
            dry_run=False,
            count=len(done),
            items=tuple(done[:_SHOWN]),
            operation=operation.id,
            sequence=sequence,
        )

    async def _forget_replayed(self, namespace: str, committed: Committed) -> ForgetReport:
        operation = operation_of(await applied(self._storage, committed))
        if operation is None:
            raise Conflict("the first request with this key was of another kind")
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
        now = self._committer.clock()
        if operation.undone_at is not None:
            raise Conflict(f"operation {operation_id} was undone already")
        if operation.undo_until is None or operation.undo_until < now:
            raise Conflict(f"operation {operation_id} cannot be undone (an erasure, or its window is over)")
        after: str | None = None
        undone = replace(operation, undone_at=now)
        first: list[Write] = [StartOperation(operation=undone)]
        while members := await self._storage.operation_members(operation.id, limit=_BATCH, after=after):
            after = members[-1][0]
            revivals = [Revive(id=id, operation=operation.id, time=now) for id, _ in members]
            committed = await self._committer.commit(principal, [*first, *revivals], atomic=False, key=key)
            first, key = [], None
            if committed.replay is not None:
                break
        if first:
            await self._committer.commit(principal, first, key=key)
        return await self.operation(principal, operation_id)

    async def operation(self, principal: Principal, operation_id: str) -> OperationState:
        """Return an operation and how far it has come in every store.

        Raises:
            NotFound: no such operation, or outside the principal's namespaces.
        """
        operation = await self._operation_for(principal, operation_id, Verb.READ)
        stores = self._states(operation.sequence)
        if operation.undone_at is None and all(s.state == "done" for s in stores):
            stores = await self._proven(operation, stores)
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
        operation = await self._storage.operation(check_id(operation_id, "operation"))
        scope = ALL if operation is None or not operation.namespace else parse_scope(operation.namespace)
        if operation is None or not principal.may(Verb.READ, scope):
            raise NotFound(f"no operation {operation_id}")
        principal.require(verb, scope)
        return operation

    def _operation(
        self, kind: OperationKind, namespace: str, principal: Principal, now: datetime, *, undoable: bool | None = None
    ) -> Operation:
        window = timedelta(days=self._committer.limits.undo_days)
        return Operation(
            id=new_id(),
            kind=kind,
            namespace=namespace,
            principal=principal.name,
            created_at=now,
            undo_until=now + window if (kind == "delete" if undoable is None else undoable) else None,
        )

    def _states(self, sequence: int) -> tuple[StoreState, ...]:
        """Storage has what it acknowledged; the projections have it when the projector has passed it."""
        projector = self._committer.projector
        behind = projector is not None and projector.failing is not None and projector.position < sequence
        return tuple(
            StoreState(f"{port}:{name}", "pending" if behind and port != "storage" else "done")
            for port, name in self._stores.items()
        )

    async def _proven(self, operation: Operation, stores: tuple[StoreState, ...]) -> tuple[StoreState, ...]:
        """Ask the vector index itself whether it still holds one of the operation's memories."""
        if self._vectors is None:
            return stores
        try:
            members = await self._storage.operation_members(operation.id, limit=_BATCH)
            gone = {id for id, _ in members}
            live = {s.memory.id for s in await self._storage.locate(sorted(gone)) if s is not None and not s.deleted}
            left = await self._vectors.versions(sorted(gone - live))
        except SfmError:
            left = {"": 0}
        return tuple(StoreState(s.store, "pending") if left and s.store.startswith("vectors") else s for s in stores)


SWEEPER = Principal("expiry", (ALL,), frozenset({Verb.FORGET}))
"""The principal of the expiry sweep."""
