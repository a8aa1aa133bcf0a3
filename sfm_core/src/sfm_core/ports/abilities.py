"""Optional abilities of a storage as small Protocols: ranking by words, naming what passes a filter, vocabulary, leases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from sfm_core.model.filter import Filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.writes import Analysis

__all__ = [
    "Candidate",
    "FullText",
    "Lease",
    "Leases",
    "Matching",
    "TextHit",
    "TextQuery",
    "Vocabulary",
    "WordGroup",
]


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

    @classmethod
    def of(
        cls, memory: Memory, analysis: Analysis, before: tuple[str, ...] = (), after: tuple[str, ...] = ()
    ) -> Candidate:
        """Return what ranking needs of a memory whose content was read as `analysis`."""
        return cls(
            id=memory.id,
            version=memory.version,
            namespace=memory.namespace,
            author=memory.author,
            thread=memory.thread,
            position=memory.position,
            occurred_at=memory.occurred_at,
            importance=memory.importance,
            created_at=memory.created_at,
            length=analysis.length,
            asks=analysis.asks,
            time=analysis.time,
            duration=analysis.duration,
            before=before,
            after=after,
        )


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
        """Return, for each of `keys` that is the `author_key` of a live memory of `scope`, the authors it stands for.

        Proven by test_authors_are_found_by_their_key.
        """
        ...

    async def candidates(
        self, ids: Sequence[str], *, now: datetime, around: bool = True, filter: Filter | None = None
    ) -> dict[str, Candidate]:
        """Return what ranking needs of the live memories among `ids`, and (when `around`) of their thread neighbours.

        Neighbours come with empty `before` and `after`, only those that pass `filter`.

        Proven by test_neighbours_are_the_nearest_two_on_each_side, test_neighbours_come_along and
        test_neighbours_pass_the_filter.
        """
        ...

    async def in_period(
        self, scope: Scope, first: datetime, last: datetime, *, filter: Filter | None, limit: int, now: datetime
    ) -> list[str]:
        """Return ids of live memories that occurred in first <= t < last, newest first: the time arm.

        Proven by test_a_period_is_half_open.
        """
        ...


class Matching(Protocol):
    """Capability MATCHING."""

    async def matching(self, scope: Scope, *, filter: Filter | None, limit: int, now: datetime) -> list[str]:
        """Return the ids of up to `limit` live memories of `scope` that pass `filter`, in no particular order.

        Proven by test_matching_names_what_passes and test_matching_names_live_memories_of_the_scope.
        """
        ...


class Vocabulary(Protocol):
    """Capability VOCABULARY: the distinct words of each namespace with their stems; never a hot row of a write."""

    async def words(self, scope: Scope) -> Sequence[tuple[str, str]]:
        """Return (word, stem) pairs of `scope`, each once, in stable order.

        Words come into it with the write that stores a content (`Analysis.words`), in its transaction, and in no other way:
        whoever noted them later could bring back those of a memory that is erased meanwhile. They stay while a memory holds
        them, a tombstone too, and go with its erasure.

        Proven by test_words_come_into_the_vocabulary_with_the_write, test_refused_writes_bring_no_words,
        test_a_new_version_brings_its_words, test_imported_words_are_in_the_vocabulary, test_a_revived_memory_has_its_words,
        test_erased_words_leave_the_vocabulary and test_the_vocabulary_is_that_of_the_scope.
        """
        ...

    async def words_token(self, scope: Scope) -> object:
        """Return a cheap value that differs after the words of `scope` changed (it may differ more often).

        Proven by test_the_token_differs_after_a_new_word and test_erased_words_leave_the_vocabulary.
        """
        ...


class Lease(Struct, frozen=True):
    """The right to do the work called `name`, for a while. `token` rises with every change of hands, so that the work of a
    holder that was overtaken can be told and refused (fencing)."""

    name: str
    holder: str
    token: int


class Leases(Protocol):
    """Capability LEASES: one holder at a time, over all processes on the store.

    Whether a lease still runs is judged by the store's clock alone, never by a caller's:
    test_the_store_judges_whether_a_lease_runs. A lease lasts as long as the store does, over a close as over a kill:
    test_a_lease_lasts_as_its_storage_does.
    """

    async def acquire_lease(self, name: str, holder: str, *, seconds: float) -> Lease | None:
        """Take the lease `name` for `seconds` from now, or renew it; None while another holder's runs.

        A holder whose own lease still runs keeps its token and has `seconds` from now. One that is free (never taken,
        released or run out) gets a token above all before it, also when its last holder takes it again.

        Args:
            name: which work; 1 to 200 characters.
            holder: who; unique to a process, 1 to 200 characters.
            seconds: above 0.

        Proven by test_a_lease_has_one_holder, test_a_holder_renews_its_lease, test_a_lease_that_ran_out_is_free,
        test_tokens_rise_with_every_change_of_hands, test_racing_holders_get_one_lease and
        test_holders_of_two_openings_get_one_lease.
        """
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Free the lease at once; no effect when it is not the current one: test_only_the_current_lease_is_released."""
        ...
