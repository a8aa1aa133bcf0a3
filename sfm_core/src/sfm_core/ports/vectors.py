"""The vectors port: nearest neighbours by cosine, and words. A projection: it can be thrown away and rebuilt from storage."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from sfm_core.model.filter import Filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.abilities import TextHit, TextQuery

__all__ = ["LexicalVectors", "Point", "Space", "VectorHit", "Vectors", "VectorsCapability"]


class VectorsCapability(StrEnum):
    """Optional abilities of a vector index."""

    AMONG = "among"
    """`search(among=ids)` restricts the search before top-k."""
    FILTER = "filter"
    """`search(filter=...)` applies a whole `Filter` before top-k; one that tests `content` is never given to it."""
    DURABLE = "durable"
    """What was flushed survives `kill -9` and reopening."""
    SHARED = "shared"
    """Several processes may open the same index; each sees the others' points at its next search."""
    EXACT = "exact"
    """Returns the true nearest neighbours, not an approximation."""
    FULL_TEXT = "full_text"
    """Ranks by words too (`LexicalVectors`): the lexical arm. Then it can be opened without a space, for words alone."""


class Space(Struct, frozen=True):
    """What the vectors of an index are: their dimension and the fingerprint of the model that made them."""

    dimension: int
    fingerprint: str


class Point(Struct, frozen=True):
    """One version of a memory as the index sees it.

    Attributes:
        id, version, namespace: of the memory.
        vector: None for a point that is found by words only. A backend without FULL_TEXT refuses such a point.
        memory: the fields that filters may ask for.
        terms: index terms with repeats, in order of the text (`Analysis.stems`); opaque but for equality. Read by a backend
            with FULL_TEXT, ignored by the others.
    """

    id: str
    version: int
    namespace: str
    vector: Sequence[float] | None
    memory: Memory
    terms: tuple[str, ...] = ()


class VectorHit(Struct, frozen=True):
    """A memory id, the version whose vector matched, and the cosine (-1..1)."""

    id: str
    version: int
    cosine: float


class Vectors(Protocol):
    """A vector index of one `Space`; with FULL_TEXT also of none (`OpenContext.space` is None): then no point has a vector.

    Opening an index that holds another space raises `ConfigError` naming both and the command that re-embeds (`sfm
    reindex`): test_an_index_of_another_space_is_refused. It is never dropped or recreated by opening. With
    `OpenContext.rebuild` it opens all the same, for `clear`: test_a_cleared_index_reopens_in_its_new_space.
    """

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points. One with a version at or below the stored version (or deletion) of its id changes nothing.

        Vectors are checked by the core: finite, of the space's dimension, not zero. Idempotent and safe in any order:
        test_replays_and_reordering_change_nothing. Seen by `search` when this returns: test_a_point_is_found_at_once.

        Raises:
            CapabilityNotSupported: a point has no vector, and the backend lacks FULL_TEXT; nothing was stored.
        """
        ...

    async def delete(self, ids: Sequence[tuple[str, int]]) -> None:
        """Remove the points of (id, version) and remember the version, so that an older upsert does not bring them back.

        Unknown ids are fine. The vector's bytes are gone when `flush` returns: test_deleted_vectors_leave_no_bytes.

        Proven by test_a_late_deletion_leaves_a_newer_point and test_a_deletion_before_the_point_holds.
        """
        ...

    async def search(
        self,
        scope: Scope,
        vector: Sequence[float],
        *,
        limit: int,
        among: Sequence[str] | None = None,
        filter: Filter | None = None,
    ) -> list[VectorHit]:
        """Return at most `limit` points of `scope`, best cosine first, ties by id.

        `among` only with capability AMONG, `filter` only with FILTER: else `CapabilityNotSupported`. Both apply before
        top-k: test_a_restriction_applies_before_top_k. `limit` points come back whenever the restriction holds as many
        (with EXACT): test_as_many_hits_as_asked.

        Raises:
            CapabilityNotSupported: also when the index was opened without a space.

        Proven by test_hits_are_best_first_with_ties_by_id, test_the_true_nearest_neighbours_are_found,
        test_no_vector_search_leaves_its_scope, test_no_restricted_search_leaves_its_scope and
        test_no_filtered_search_leaves_its_scope.
        """
        ...

    async def versions(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the stored version of each of `ids` that has a point (deleted ones are absent).

        Proven by test_a_point_is_found_at_once.
        """
        ...

    async def count(self, scope: Scope) -> int:
        """Return the number of points in `scope`.

        Proven by test_points_are_counted_by_scope.
        """
        ...

    async def flush(self) -> None:
        """Make everything before this call durable (a consumer's cursor may be saved after it, never before).

        Proven by test_flushed_points_survive_a_kill.
        """
        ...

    async def clear(self, space: Space | None = None) -> None:
        """Throw away all points, and change to `space` when given: the first half of a rebuild.

        Proven by test_a_cleared_index_is_empty_and_usable.
        """
        ...

    async def check(self) -> None:
        """Prove that the index answers.

        Raises:
            BackendUnavailable: it does not.
        """
        ...


class LexicalVectors(Protocol):
    """Capability FULL_TEXT: ranking by words over what is projected."""

    async def search_text(
        self, scope: Scope, query: TextQuery, *, limit: int, filter: Filter | None = None
    ) -> list[TextHit]:
        """Return the best `limit` points of `scope` that hold any term of `query` and pass `filter`.

        Points with and without a vector alike. Scores are above 0, best first, ties by id. The formula is the backend's
        own (BM25 or near it); these hold whatever it is:

        * Any word matches: test_any_word_finds_a_point
        * Rarer words count more: test_a_rare_term_outweighs_a_common_one
        * More of the words rank higher: test_more_of_the_terms_rank_higher
        * One group counts once, by its best alternative: test_alternatives_of_a_term_count_once
        * The filter (only with FILTER: else `CapabilityNotSupported`) applies before the limit:
          test_a_lexical_filter_applies_before_the_limit
        * Deleted, cleared and overtaken points are not found: test_words_follow_their_point
        * Terms are equal only to themselves: test_terms_of_points_are_opaque

        Proven by test_lexical_hits_come_best_first_with_ties_by_id, test_no_lexical_search_leaves_its_scope,
        test_a_point_without_a_vector_is_found_by_words_only and test_an_index_of_words_alone.
        """
        ...
