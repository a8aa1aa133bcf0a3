"""The storage port: the single source of truth. Records, history, links, change log, cursors and operations.

All methods are safe to call from many tasks of one event loop, and from many processes and machines on one store. Every
method may raise `BackendUnavailable`. Guarantees end in the name of the conformance test that proves them
(`sfm_core.testing`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from sfm_core.errors import SfmError
from sfm_core.model.event import Change
from sfm_core.model.filter import Filter
from sfm_core.model.link import Direction, Link
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.abilities import (
    Candidate,
    FullText,
    Lease,
    Leases,
    Matching,
    TextHit,
    TextQuery,
    Vocabulary,
    WordGroup,
)
from sfm_core.ports.keys import ApiKey, ApiKeys
from sfm_core.ports.writes import Applied, AppliedLink, Idempotency, Operation, Replayed, Write

__all__ = [
    "ApiKey",
    "ApiKeys",
    "Applied",
    "Candidate",
    "FullText",
    "Lease",
    "Leases",
    "Listing",
    "Matching",
    "NamespaceStats",
    "Order",
    "Result",
    "Storage",
    "StorageCapability",
    "Stored",
    "TextHit",
    "TextQuery",
    "Vocabulary",
    "WordGroup",
]

Result = Applied | AppliedLink | Operation | SfmError


class StorageCapability(StrEnum):
    """Optional abilities of a storage."""

    FULL_TEXT = "full_text"
    """Ranks by words (`FullText`): the lexical arm."""
    VOCABULARY = "vocabulary"
    """Keeps the distinct words of each namespace (`Vocabulary`): near words need it."""
    MATCHING = "matching"
    """Names all ids that pass a filter (`Matching`): lets a vector search be restricted before top-k."""
    LEASES = "leases"
    """Lets one process at a time do a piece of work (`Leases`): the relay needs it."""
    API_KEYS = "api_keys"
    """Keeps API keys (`ApiKeys`): a service that others can reach needs it."""
    DURABLE = "durable"
    """Acknowledged writes survive `kill -9` and power loss."""
    SHARED = "shared"
    """Several processes may open the same store at the same time."""


class Order(StrEnum):
    """Orders of a list; ties are broken by id, nulls come last in both directions."""

    CREATED_AT = "created_at"
    OCCURRED_AT = "occurred_at"
    IMPORTANCE = "importance"
    POSITION = "position"
    CREATED_AT_DESC = "-created_at"
    OCCURRED_AT_DESC = "-occurred_at"
    IMPORTANCE_DESC = "-importance"
    POSITION_DESC = "-position"


class Listing(Struct, frozen=True):
    """Memories in the asked order, and the opaque position after the last one (None at the end)."""

    memories: tuple[Memory, ...]
    next: str | None


class Stored(Struct, frozen=True, kw_only=True):
    """One version out of a memory's history: whether the version is a tombstone, and its change's sequence."""

    memory: Memory
    deleted: bool
    sequence: int


class NamespaceStats(Struct, frozen=True, kw_only=True):
    """Counts of one namespace: live memories, tombstones, kept versions (newest included), links between live ends.

    A memory that has expired is neither live nor a tombstone until the sweep makes it one.
    """

    namespace: str
    memories: int
    deleted: int
    versions: int
    links: int


class Storage(Protocol):
    """Records with history, links, the change log, consumer cursors and operations."""

    async def apply(
        self, writes: Sequence[Write], *, atomic: bool = True, idempotency: Idempotency | None = None
    ) -> list[Result] | Replayed:
        """Carry out `writes` in order inside ONE transaction and acknowledge them when they are durable.

        Args:
            writes: intents; later ones see the effects of earlier ones.
            atomic: when True the first refused write undoes all and its error is raised; when False a refused write
                leaves its `SfmError` in the result list and the others are stored.
            idempotency: a key that is claimed in the same transaction. What is kept with it is the JSON of
                `{"results": [{"id", "version", "outcome", "sequence"} | {"operation"} | {"link": [source, target,
                relation], "outcome", "sequence"} | {"error": <class name>, "detail"}], "note": idempotency.note}`.

        Returns:
            One result per write in order, or `Replayed` when the key was answered before.

        Raises:
            Conflict, StaleVersion, NotFound: of the first refused write when `atomic`.
            IdempotencyMismatch: the key was used for another request; nothing was stored.

        Guarantees:
            * Memory, index terms and change row are committed together or not at all: test_a_write_and_its_change_are_one
            * Sequences rise strictly in commit order; a reader of `changes` never sees a gap that is filled later:
              test_a_reader_of_changes_never_skips_one
            * Racing twins become one memory: test_racing_twins_become_one_memory
            * Racing writes at one coordinate become versions of one memory: test_racing_writers_at_a_coordinate_share_it
            * After a refused atomic call nothing of it is stored: test_a_refused_atomic_batch_stores_nothing
            * The caller's cancellation never half-applies: test_a_cancelled_write_is_whole_or_absent

        Proven by test_a_refused_write_leaves_the_others, test_a_repeated_request_is_replayed,
        test_a_key_of_another_request_is_refused, test_what_is_kept_with_a_key_is_thin and
        test_racing_requests_with_one_key_run_once.
        """
        ...

    async def answered(self, idempotency: Idempotency) -> Replayed | None:
        """Return what is kept with an idempotency key, None when it is free (or its lifetime is over); nothing is claimed.

        Lets a repeated request be answered although what it asks for cannot be done twice. `apply` asks again.

        Raises:
            IdempotencyMismatch: the key was used for another request: test_an_answered_key_can_be_asked_for.
        """
        ...

    async def get(self, ids: Sequence[str], *, now: datetime, as_of: datetime | None = None) -> list[Memory | None]:
        """Return the live memories with `ids`, in that order, None for one that is unknown, deleted, expired or erased.

        Args:
            ids: memory ids.
            now: the instant that expiry is judged by.
            as_of: answer with the version that was stored at that instant (transaction time) instead; expiry is then
                judged at `as_of`. Erased memories stay None.

        Proven by test_get_answers_in_the_asked_order, test_the_past_is_read_as_it_was,
        test_an_expired_memory_is_hidden_at_once and test_odd_content_comes_back_equal.
        """
        ...

    async def locate(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return the newest version of each id, tombstones included, expired or not; None for unknown and erased.

        Proven by test_a_removed_memory_keeps_its_history and test_an_expired_memory_can_be_swept.
        """
        ...

    async def erased(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that were erased: test_erased_ids_are_known."""
        ...

    async def history(self, id: str, *, limit: int, before: int | None = None) -> list[Stored]:
        """Return versions of `id`, newest first, at most `limit`, those below version `before`; [] when unknown or erased.

        Proven by test_history_is_newest_first_and_paged.
        """
        ...

    async def at_coordinate(self, namespace: str, coordinate: tuple[float, ...], *, now: datetime) -> Memory | None:
        """Return the live memory that holds `coordinate` in `namespace`.

        Proven by test_a_coordinate_is_found_exactly.
        """
        ...

    async def in_box(
        self, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
    ) -> list[Memory]:
        """Return live memories whose coordinate has the box's dimension and lies in it, bounds included, by coordinate.

        Proven by test_a_box_holds_its_bounds_and_its_dimension.
        """
        ...

    async def links(
        self, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
    ) -> list[Link]:
        """Return the links that touch one of `ids` in `direction`, both ends live; by weight, then source, target, relation.

        Proven by test_links_are_read_by_direction_and_relation and test_links_come_by_weight_then_ends_then_relation.
        """
        ...

    async def links_in(self, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
        """Page through all links of a scope, those with tombstoned ends included (for an archive).

        Proven by test_all_links_of_a_scope_are_paged.
        """
        ...

    async def changes(self, scope: Scope, *, after: int, limit: int) -> list[Change]:
        """Return changes of `scope` with a sequence above `after`, in order.

        Proven by test_changes_are_paged_by_scope and test_a_change_tells_what_happened.
        """
        ...

    async def last_sequence(self) -> int:
        """Return the newest sequence of the change log, 0 when there is none.

        Proven by test_sequences_rise_strictly_without_gaps_inside_a_call.
        """
        ...

    async def cursor(self, name: str) -> int:
        """Return how far consumer `name` has come, 0 at first."""
        ...

    async def save_cursor(self, name: str, sequence: int, *, fence: Lease | None = None) -> None:
        """Note how far consumer `name` has come. Never goes back; `sequence=0` resets it.

        Without a fence it may be made durable lazily (with the next write, or on close), never ahead of time. With one it
        is committed and durable when this returns, or refused.

        Args:
            name: of the cursor.
            sequence: how far.
            fence: a lease (of whatever name) that must be the current one and still run, judged in the same transaction.

        Raises:
            LeaseLost: it is not; the cursor stays as it was: test_a_lost_lease_cannot_save_a_cursor.
            CapabilityNotSupported: a fence is given to a storage without LEASES.

        Proven by test_a_cursor_never_goes_back, test_a_saved_cursor_survives_a_close and
        test_a_current_lease_saves_cursors.
        """
        ...

    async def operation(self, id: str) -> Operation | None:
        """Return an operation, None when unknown.

        Proven by test_an_operation_counts_what_it_touched.
        """
        ...

    async def operation_members(self, id: str, *, limit: int, after: str | None = None) -> list[tuple[str, int]]:
        """Return (memory id, version that the operation gave it) of `id`'s memories, by id, those above `after`.

        Proven by test_an_operation_counts_what_it_touched.
        """
        ...

    async def namespaces(self, scope: Scope, *, now: datetime) -> list[NamespaceStats]:
        """Return the namespaces of `scope` that hold anything (tombstones and expired too), by name, with their counts.

        Args:
            scope: which namespaces.
            now: the instant that expiry is judged by.

        Proven by test_namespaces_are_counted, test_expired_memories_are_not_counted_as_live and
        test_a_namespace_of_tombstones_is_still_named.
        """
        ...

    def scan(self, scope: Scope, *, now: datetime, batch: int = 1000) -> AsyncIterator[Sequence[Stored]]:
        """Page through the newest versions of all memories of `scope`, tombstones included, in batches, in stable order.

        Proven by test_a_scan_meets_everything_once.
        """
        ...

    async def list(
        self,
        scope: Scope,
        *,
        filter: Filter | None,
        order: Order,
        limit: int,
        after: str | None,
        now: datetime,
        as_of: datetime | None = None,
        deleted: bool = False,
    ) -> Listing:
        """Return live memories of `scope` that pass `filter`.

        Paging by `after` (a former `Listing.next`) never repeats a memory and never skips one that was there all the time.
        `deleted=True` lists tombstones (their last version) as well. `as_of` lists the versions of that moment.

        Raises:
            InvalidInput: `after` is not a position of this order.

        Proven by test_a_list_is_ordered_with_nulls_last_and_ties_by_id, test_pages_join_to_the_whole_list,
        test_paging_goes_on_while_others_write, test_a_list_filters_before_it_pages, test_a_filter_passes_what_it_says,
        test_a_malformed_position_is_refused and test_no_read_leaves_its_scope.
        """
        ...

    async def check(self) -> None:
        """Prove that the storage answers.

        Raises:
            BackendUnavailable: it does not.
        """
        ...
