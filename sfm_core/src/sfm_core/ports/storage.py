"""The storage port: the single source of truth. Records, history, links, change log, cursors and operations.

All methods are safe to call from many tasks of one event loop, and from many processes and machines on one store. Every
method may raise `BackendUnavailable`. Guarantees end in the name of the conformance test that proves them
(`sfm_core.testing`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
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
from sfm_core.ports.writes import Applied, AppliedLink, Idempotency, Operation, Replayed, Write

__all__ = [
    "Applied",
    "Candidate",
    "FullText",
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
    """Counts of one namespace: live memories, tombstones, kept versions (newest included), links between live ends."""

    namespace: str
    memories: int
    deleted: int
    versions: int
    links: int


class Candidate(Struct, frozen=True):
    """What ranking needs to know of a memory without reading its content.

    `before` and `after` are the ids of at most two live memories next to it in its thread by `position` (nearest first),
    empty when it has no thread or no position. `length`, `asks`, `time` and `duration` as in `Analysis`.
    """

    id: str
    version: int
    namespace: str
    author: str | None
    thread: str | None
    position: int | None
    occurred_at: datetime
    importance: float
    created_at: datetime
    length: int
    asks: float
    time: bool
    duration: bool
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


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
        """
        ...

    async def locate(self, ids: Sequence[str]) -> list[Stored | None]:
        """Return the newest version of each id, tombstones included, expired or not; None for unknown and erased."""
        ...

    async def erased(self, ids: Sequence[str]) -> set[str]:
        """Return those of `ids` that were erased: test_erased_ids_are_known."""
        ...

    async def history(self, id: str, *, limit: int, before: int | None = None) -> list[Stored]:
        """Return versions of `id`, newest first, at most `limit`, those below version `before`; [] when unknown or erased."""
        ...

    async def at_coordinate(self, namespace: str, coordinate: tuple[float, ...], *, now: datetime) -> Memory | None:
        """Return the live memory that holds `coordinate` in `namespace`."""
        ...

    async def in_box(
        self, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: datetime
    ) -> list[Memory]:
        """Return live memories whose coordinate has the box's dimension and lies in it, bounds included, by coordinate."""
        ...

    async def links(
        self, ids: Sequence[str], *, relation: str | None, direction: Direction, now: datetime
    ) -> list[Link]:
        """Return the links that touch one of `ids` in `direction`, both ends live; by weight, then source, target, relation."""
        ...

    async def links_in(self, scope: Scope, *, after: str | None, limit: int) -> tuple[list[Link], str | None]:
        """Page through all links of a scope, those with tombstoned ends included (for an archive)."""
        ...

    async def changes(self, scope: Scope, *, after: int, limit: int) -> list[Change]:
        """Return changes of `scope` with a sequence above `after`, in order."""
        ...

    async def last_sequence(self) -> int:
        """Return the newest sequence of the change log, 0 when there is none."""
        ...

    async def cursor(self, name: str) -> int:
        """Return how far consumer `name` has come, 0 at first."""
        ...

    async def save_cursor(self, name: str, sequence: int) -> None:
        """Note how far consumer `name` has come. Never goes back; `sequence=0` resets it.

        May be made durable lazily (with the next write, or on close), never ahead of time.
        """
        ...

    async def operation(self, id: str) -> Operation | None:
        """Return an operation, None when unknown."""
        ...

    async def operation_members(self, id: str, *, limit: int, after: str | None = None) -> list[tuple[str, int]]:
        """Return (memory id, version that the operation gave it) of `id`'s memories, by id, those above `after`."""
        ...

    async def namespaces(self, scope: Scope) -> list[NamespaceStats]:
        """Return the namespaces of `scope` that hold anything (tombstones too), by name, with their counts."""
        ...

    def scan(self, scope: Scope, *, now: datetime, batch: int = 1000) -> AsyncIterator[Sequence[Stored]]:
        """Page through the newest versions of all memories of `scope`, tombstones included, in batches, in stable order."""
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
        """
        ...

    async def check(self) -> None:
        """Prove that the storage answers.

        Raises:
            BackendUnavailable: it does not.
        """
        ...


class WordGroup(Struct, frozen=True):
    """One word of a question: index terms that may stand for it, each with its weight (1 for the word's own stem)."""

    alternatives: tuple[tuple[str, float], ...]


class TextQuery(Struct, frozen=True):
    """The words of a question, repeats folded; a document needs any one of them."""

    groups: tuple[WordGroup, ...]


class TextHit(Struct, frozen=True):
    """A memory found by words and its raw score (above 0; comparable inside one call)."""

    id: str
    score: float


class FullText(Protocol):
    """Capability FULL_TEXT: ranking by words, at once over everything that is acknowledged."""

    async def search_text(
        self, scope: Scope, query: TextQuery, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[TextHit]:
        """Return the best `limit` live memories of `scope` that hold any term of `query` and pass `filter`.

        The score is BM25 (k1 = 0.9, b = 0.25, idf = ln(1 + (N - df + 0.5) / (df + 0.5)) with N and df inside the scope),
        summed over groups; in a group the best alternative counts, times its weight. Best first, ties by id. A backend
        whose engine has another formula states it and keeps these guarantees:

        * Any word matches: test_any_word_of_the_question_is_enough
        * Rarer words count more: test_a_rare_word_outweighs_a_common_one
        * One group counts once: test_alternatives_of_a_word_count_once
        * The filter applies before the limit: test_the_filter_applies_before_the_limit
        """
        ...

    async def authors(self, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Return, for each of `keys` that is the `author_key` of a live memory of `scope`, the authors it stands for."""
        ...

    async def candidates(
        self, ids: Sequence[str], *, now: datetime, around: bool = True, filter: Filter | None = None
    ) -> dict[str, Candidate]:
        """Return what ranking needs of the live memories among `ids`, and (when `around`) of their thread neighbours.

        Neighbours come with empty `before` and `after`, only those that pass `filter`.
        """
        ...

    async def in_period(
        self, scope: Scope, first: datetime, last: datetime, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[str]:
        """Return ids of live memories that occurred in first <= t < last, newest first: the time arm."""
        ...


class Matching(Protocol):
    """Capability MATCHING."""

    async def matching(self, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
        """Return the ids of up to `limit` live memories of `scope` that pass `filter`, in no particular order."""
        ...


class Vocabulary(Protocol):
    """Capability VOCABULARY: the distinct words of each namespace with their stems. A projection, kept apart from writes."""

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return (word, stem) pairs of `scope`, each once, in stable order; words come into it at the latest when projected."""
        ...

    async def words_token(self, scope: Scope) -> object:
        """Return a cheap value that differs after the words of `scope` changed (it may differ more often)."""
        ...

    async def add_words(self, namespace: str, words: Iterable[tuple[str, str]]) -> None:
        """Add words; known ones are skipped. May be made durable lazily."""
        ...
