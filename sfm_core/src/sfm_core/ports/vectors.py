"""The vectors port: nearest neighbours by cosine. A projection: it can be thrown away and rebuilt from storage."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from sfm_core.model.filter import Filter
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope

__all__ = ["Point", "Space", "VectorHit", "Vectors", "VectorsCapability"]


class VectorsCapability(StrEnum):
    """Optional abilities of a vector index."""

    AMONG = "among"
    """`search(among=ids)` restricts the search before top-k."""
    FILTER = "filter"
    """`search(filter=...)` applies a whole `Filter` before top-k."""
    DURABLE = "durable"
    """What was flushed survives `kill -9` and reopening."""
    SHARED = "shared"
    """Several processes may open the same index; each sees the others' points at its next search."""
    EXACT = "exact"
    """Returns the true nearest neighbours, not an approximation."""


class Space(Struct, frozen=True):
    """What the vectors of an index are: their dimension and the fingerprint of the model that made them."""

    dimension: int
    fingerprint: str


class Point(Struct, frozen=True):
    """The vector of one version of a memory; `memory` carries the fields that filters may ask for."""

    id: str
    version: int
    namespace: str
    vector: Sequence[float]
    memory: Memory


class VectorHit(Struct, frozen=True):
    """A memory id, the version whose vector matched, and the cosine (-1..1)."""

    id: str
    version: int
    cosine: float


class Vectors(Protocol):
    """A vector index of one `Space`.

    Opening an index that holds another space raises `ConfigError` naming both and the command that re-embeds (`sfm
    reindex`): test_an_index_of_another_space_is_refused. It is never dropped or recreated by opening. With
    `OpenContext.rebuild` it opens all the same, for `clear`: test_a_cleared_index_reopens_in_its_new_space.
    """

    async def upsert(self, points: Sequence[Point]) -> None:
        """Store points. One with a version at or below the stored version (or deletion) of its id changes nothing.

        Vectors are checked by the core: finite, of the space's dimension, not zero. Idempotent and safe in any order:
        test_replays_and_reordering_change_nothing. Seen by `search` when this returns: test_a_point_is_found_at_once.
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

        Proven by test_hits_are_best_first_with_ties_by_id, test_the_true_nearest_neighbours_are_found and
        test_no_vector_search_leaves_its_scope.
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
