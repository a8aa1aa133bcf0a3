"""What may be written to a storage: small frozen intents, decided and carried out inside one transaction.

A storage resolves every intent against what is committed at that moment (twins, coordinates, taken ids, versions), so that
racing writers on many machines get the same answers as one after the other.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct, field

from sfm_core.model.link import Link
from sfm_core.model.memory import Memory, Outcome

__all__ = [
    "Analysis",
    "Applied",
    "AppliedLink",
    "Erase",
    "Idempotency",
    "ImportLink",
    "ImportMemory",
    "Operation",
    "OperationKind",
    "Put",
    "PutLink",
    "Remove",
    "RemoveLink",
    "Replace",
    "Replayed",
    "Revive",
    "StartOperation",
    "Write",
]

OperationKind = Literal["delete", "erase", "forget", "namespace", "expiry"]


class Analysis(Struct, frozen=True):
    """What the core's analyser read off a content; stored beside the record and used by ranking.

    Attributes:
        stems: index terms with repeats, in order of the text; opaque to a storage except for equality.
        words: the distinct surface words with their stems, for the vocabulary, which is given words in no other way.
        length: number of words of the text (all words, stop words included).
        asks: share of the sentences that are questions, 0..1.
        time: whether the text holds an expression that places an event in time.
        duration: whether it holds a duration.
        author_key: the author folded for look-up by name (see `FullText.authors`), or "".

    Proven by test_index_terms_are_opaque.
    """

    stems: tuple[str, ...] = ()
    words: tuple[tuple[str, str], ...] = ()
    length: int = 0
    asks: float = 0.0
    time: bool = False
    duration: bool = False
    author_key: str = ""


class Put(Struct, frozen=True, kw_only=True):
    """Remember `memory`.

    In this order: a live twin in its namespace (when `dedupe`) gives "duplicate"; a taken id is a `Conflict`; a live
    memory at its coordinate becomes the next version with this content ("versioned": keeps its id and `created_at`); else
    the memory is stored as version 1 ("created"). An id given by the caller (`"id" in given`) that is not the id of the
    memory at the coordinate is a `Conflict`.

    A twin is a live memory with the same `content` and `payload` of which every field in `given` (save `id`) equals
    (`sfm_core.model.twins.is_twin`). `digest` is `sfm_core.model.twins.digest(memory)`, to index candidates by.

    Proven by test_a_twin_is_a_duplicate, test_a_field_that_differs_makes_no_twin, test_a_taken_id_is_a_conflict,
    test_an_occupied_coordinate_gets_a_new_version and test_a_given_id_must_be_that_of_the_holder.
    """

    memory: Memory
    analysis: Analysis
    digest: bytes
    given: frozenset[str]
    dedupe: bool = True


class Replace(Struct, frozen=True, kw_only=True):
    """Store `memory` as the next version of the memory with its id, whose stored version is `expected_version`.

    `memory.version` is already `expected_version + 1`. Another stored version: `StaleVersion`. A coordinate that another
    live memory of the namespace holds: `Conflict`. `NotFound` when there is no such live memory, unless `revive` and it is
    tombstoned or expired. The change is `memory.restored` when `outcome` is "restored", else `memory.updated`.

    Proven by test_a_replaced_memory_has_its_next_version, test_a_stale_version_is_refused,
    test_only_the_living_are_replaced, test_a_tombstone_is_restored_on_request and
    test_replacing_keeps_coordinates_apart.
    """

    memory: Memory
    analysis: Analysis
    digest: bytes
    expected_version: int
    outcome: Outcome = "versioned"
    revive: bool = False


class Remove(Struct, frozen=True, kw_only=True):
    """Make the live memory `id` a tombstone under `operation` (version + 1, `memory.deleted`).

    Hidden at once from every read but history; its links are hidden with it. `NotFound` when unknown, erased or a
    tombstone (an expired one can be removed: that is how the sweep works); `StaleVersion` when `expected_version` is given
    and differs.

    Proven by test_a_removed_memory_is_hidden_from_every_read, test_only_what_is_there_can_be_removed and
    test_an_expired_memory_can_be_swept.
    """

    id: str
    operation: str
    time: datetime
    expected_version: int | None = None


class Erase(Struct, frozen=True, kw_only=True):
    """Remove every trace of memory `id`: record, history, links, index terms, vocabulary words that nobody else holds.

    Live or tombstoned alike. One `memory.erased` change (version + 1) stays, and the earlier change rows (thin). The id
    is not reused by `Put` afterwards: it gives `Conflict`. `NotFound` when the storage knows no such memory, or it is
    erased already; `StaleVersion` as in `Remove`.

    Proven by test_an_erased_memory_leaves_no_trace, test_erased_words_leave_the_vocabulary,
    test_erased_bytes_are_gone_from_the_store and test_the_id_of_an_erased_memory_stays_taken.
    """

    id: str
    operation: str
    time: datetime
    expected_version: int | None = None


class Revive(Struct, frozen=True, kw_only=True):
    """Undo: bring the tombstoned `id` back if it is still under `operation` (version + 1, `memory.restored`).

    `NotFound` when not tombstoned under that operation; `Conflict` when its coordinate is taken meanwhile.

    Proven by test_an_undo_brings_everything_back, test_only_its_own_operation_undoes_a_deletion and
    test_an_undo_does_not_displace_anyone.
    """

    id: str
    operation: str
    time: datetime


class PutLink(Struct, frozen=True, kw_only=True):
    """Create or update the link (same source, target, relation). Both ends live, in one namespace: else `NotFound`.

    The change is `memory.linked` with the source's id and version, and the target. An equal link is "unchanged", without
    a change row.

    Proven by test_a_link_is_created_updated_and_unchanged, test_a_link_needs_both_ends_alive_in_its_namespace and
    test_link_changes_name_source_and_target.
    """

    link: Link


class RemoveLink(Struct, frozen=True, kw_only=True):
    """Remove a link (`memory.unlinked`); `NotFound` when there is none between live ends.

    Proven by test_a_removed_link_is_gone.
    """

    source: str
    target: str
    relation: str
    time: datetime


class Operation(Struct, frozen=True, kw_only=True):
    """A deletion that can be followed and, within its window, undone.

    `sequence` is the change log's number of its newest change so far; `count` the memories it touched.
    """

    id: str
    kind: OperationKind
    namespace: str
    principal: str
    created_at: datetime
    undo_until: datetime | None = None
    undone_at: datetime | None = None
    sequence: int = 0
    count: int = 0


class StartOperation(Struct, frozen=True, kw_only=True):
    """Create or update the row of an operation; `sequence` and `count` are kept by the storage as its writes go by.

    Proven by test_an_operation_is_updated.
    """

    operation: Operation


class ImportMemory(Struct, frozen=True, kw_only=True):
    """Store all versions (oldest first, versions rising) of a memory from an archive, tombstones included.

    `deleted` says that the newest version is a tombstone, `tombstones` which of the earlier ones are.
    An id that is stored with the same newest version and equal content of it is skipped ("duplicate"); any other taken
    id, and an erased one, is a `Conflict`; so is a coordinate held by another live memory. Writes one change:
    `memory.created` (or `memory.deleted` for a tombstone) with the newest version.

    Proven by test_an_imported_memory_has_its_history, test_an_imported_tombstone_stays_one,
    test_a_second_import_adds_nothing and test_an_import_never_overwrites.
    """

    versions: tuple[Memory, ...]
    analysis: Analysis
    digest: bytes
    deleted: bool = False
    tombstones: frozenset[int] = frozenset()


class ImportLink(Struct, frozen=True, kw_only=True):
    """Store a link from an archive as it is; an equal one is skipped. Ends may be tombstones.

    Proven by test_imported_links_are_kept_as_they_are.
    """

    link: Link


Write = Put | Replace | Remove | Erase | Revive | PutLink | RemoveLink | StartOperation | ImportMemory | ImportLink


class Applied(Struct, frozen=True):
    """What became of a write of a memory: the memory as stored (for an erase its last version), outcome and sequence.

    For "duplicate" the twin and the sequence of its newest change. `StartOperation` answers `Operation` instead.
    """

    memory: Memory
    outcome: Outcome
    sequence: int


class AppliedLink(Struct, frozen=True):
    """What became of a write of a link."""

    link: Link
    outcome: Literal["created", "updated", "unchanged", "deleted"]
    sequence: int


class Replayed(Struct, frozen=True):
    """The transaction was not run: its idempotency key has an answer already. `answer` is what was kept with it."""

    answer: bytes


class Idempotency(Struct, frozen=True, kw_only=True):
    """An idempotency key that is claimed in the same transaction as the writes.

    `scope` is credential and route; `request` the digest of the request's body. The same key and request again within
    its lifetime gives `Replayed`; another request `IdempotencyMismatch`. What is kept is thin (ids, versions, outcomes,
    sequences: see `sfm_core.ports.storage.Storage.apply`), so that an erased memory does not live on in it.

    Proven by test_a_key_expires and test_a_refused_call_leaves_its_key_free.
    """

    scope: str
    key: str
    request: bytes
    now: datetime
    expires_at: datetime
    note: dict[str, Any] = field(default_factory=dict)
