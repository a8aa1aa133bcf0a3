"""What a backend must not seem to do: one refusal suite for each capability that it may lack."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from sfm_core.errors import CapabilityNotSupported, SfmError
from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import Port
from sfm_core.ports.cache import CacheCapability
from sfm_core.ports.embedding import EmbeddingCapability
from sfm_core.ports.events import EventsCapability
from sfm_core.ports.storage import Lease, StorageCapability
from sfm_core.ports.vectors import VectorsCapability
from sfm_core.testing.build import NOW, ids_of, memory, new_id, put, store
from sfm_core.testing.events import change_events, drain
from sfm_core.testing.opener import Opener
from sfm_core.testing.suite import Suite
from sfm_core.testing.vectors import point
from sfm_core.testing.vectors_words import worded

__all__ = [
    "REFUSALS",
    "CacheNotSharedSuite",
    "EventsNotDurableSuite",
    "NoApiKeysSuite",
    "NoDeadLettersSuite",
    "NoFullTextSuite",
    "NoLeasesSuite",
    "NoMatchingSuite",
    "NoTextsSuite",
    "NoVectorsAmongSuite",
    "NoVectorsFilterSuite",
    "NoVectorsFullTextSuite",
    "NoVocabularySuite",
    "NoWordVectorsSuite",
    "StorageNotDurableSuite",
    "StorageNotSharedSuite",
    "VectorsNotDurableSuite",
    "VectorsNotSharedSuite",
]


class AbsentMethods(Suite):
    """A capability that is a set of methods: without it they are not there."""

    methods: ClassVar[tuple[str, ...]] = ()

    async def test_an_undeclared_ability_is_not_there(self, backend: Any) -> None:
        """Nobody can use by accident what is not declared and not proven."""
        assert [name for name in self.methods if hasattr(backend, name)] == []


class NoFullTextSuite(AbsentMethods):
    """A storage without FULL_TEXT."""

    port = Port.STORAGE
    lacks = StorageCapability.FULL_TEXT
    methods = ("search_text", "authors", "candidates", "in_period")


class NoVocabularySuite(AbsentMethods):
    """A storage without VOCABULARY."""

    port = Port.STORAGE
    lacks = StorageCapability.VOCABULARY
    methods = ("words", "words_token")


class NoMatchingSuite(AbsentMethods):
    """A storage without MATCHING."""

    port = Port.STORAGE
    lacks = StorageCapability.MATCHING
    methods = ("matching",)


class NoLeasesSuite(AbsentMethods):
    """A storage without LEASES."""

    port = Port.STORAGE
    lacks = StorageCapability.LEASES
    methods = ("acquire_lease", "release_lease")

    async def test_a_fenced_cursor_is_refused(self, backend: Any) -> None:
        """Never saved as if the fence were not there."""
        with pytest.raises(CapabilityNotSupported):
            await backend.save_cursor("relay", 5, fence=Lease("relay", "a", 1))
        assert await backend.cursor("relay") == 0


class NoApiKeysSuite(AbsentMethods):
    """A storage without API_KEYS."""

    port = Port.STORAGE
    lacks = StorageCapability.API_KEYS
    methods = ("add_api_key", "api_key", "api_keys", "revoke_api_key")


class NoDeadLettersSuite(AbsentMethods):
    """An event bus without DEAD_LETTERS."""

    port = Port.EVENTS
    lacks = EventsCapability.DEAD_LETTERS
    methods = ("dead_letters", "replay")


class NoTextsSuite(AbsentMethods):
    """An embedding without TEXTS."""

    port = Port.EMBEDDING
    lacks = EmbeddingCapability.TEXTS
    methods = ("embed",)


class NoWordVectorsSuite(AbsentMethods):
    """An embedding without WORDS."""

    port = Port.EMBEDDING
    lacks = EmbeddingCapability.WORDS
    methods = ("vectors",)


class NoVectorsAmongSuite(Suite):
    """A vector index without AMONG."""

    port = Port.VECTORS
    lacks = VectorsCapability.AMONG

    async def test_a_search_among_ids_is_refused(self, backend: Any) -> None:
        """Never answered as if the restriction were not there, not even when nothing is stored."""
        with pytest.raises(CapabilityNotSupported):
            await backend.search(ALL, [1.0] + [0.0] * 7, limit=1, among=[new_id()])


class NoVectorsFilterSuite(Suite):
    """A vector index without FILTER."""

    port = Port.VECTORS
    lacks = VectorsCapability.FILTER

    async def test_a_filtered_search_is_refused(self, backend: Any) -> None:
        """Never answered as if the filter were not there."""
        some = parse_filter({"field": "kind", "op": "eq", "value": "semantic"})
        with pytest.raises(CapabilityNotSupported):
            await backend.search(ALL, [1.0] + [0.0] * 7, limit=1, filter=some)


class NoVectorsFullTextSuite(AbsentMethods):
    """A vector index without FULL_TEXT."""

    port = Port.VECTORS
    lacks = VectorsCapability.FULL_TEXT
    methods = ("search_text",)

    async def test_a_point_without_a_vector_is_refused(self, backend: Any) -> None:
        """Nobody could find it; the points beside it are not stored either."""
        with pytest.raises(CapabilityNotSupported):
            await backend.upsert([point(memory(), [1.0]), worded("tea", vector=None)])
        assert await backend.count(ALL) == 0


class StorageNotDurableSuite(Suite):
    """A storage without DURABLE."""

    port = Port.STORAGE
    lacks = StorageCapability.DURABLE

    async def test_reopening_starts_empty(self, opener: Opener) -> None:
        """It does not keep some of it: durable or not is said at the start."""
        await store(await opener.open(), put("one"))
        backend = await opener.reopen()
        assert await backend.last_sequence() == 0
        assert await backend.namespaces(ALL, now=NOW) == []


class VectorsNotDurableSuite(Suite):
    """A vector index without DURABLE."""

    port = Port.VECTORS
    lacks = VectorsCapability.DURABLE

    async def test_reopening_starts_empty(self, opener: Opener) -> None:
        """Whoever opens it knows that it must be rebuilt."""
        first = await opener.open()
        await first.upsert([point(memory(), [1.0])])
        await first.flush()
        assert await (await opener.reopen()).count(ALL) == 0


class EventsNotDurableSuite(Suite):
    """An event bus without DURABLE."""

    port = Port.EVENTS
    lacks = EventsCapability.DURABLE

    async def test_reopening_starts_empty(self, opener: Opener) -> None:
        """No event of before comes again."""
        await (await opener.open()).publish(change_events(3))
        assert await drain(await opener.reopen(), "group") == []


class StorageNotSharedSuite(Suite):
    """A storage without SHARED."""

    port = Port.STORAGE
    lacks = StorageCapability.SHARED

    async def test_a_second_opening_is_refused_or_apart(self, opener: Opener) -> None:
        """Two that are open at once never see half of each other."""
        first = await opener.open()
        try:
            second = await opener.open()
        except SfmError:
            return
        [one] = await store(first, put("one"))
        assert ids_of(await second.get([one.id], now=one.created_at)) == []
        assert await second.last_sequence() == 0


class VectorsNotSharedSuite(Suite):
    """A vector index without SHARED."""

    port = Port.VECTORS
    lacks = VectorsCapability.SHARED

    async def test_a_second_opening_is_refused_or_apart(self, opener: Opener) -> None:
        """Two that are open at once never see half of each other."""
        first = await opener.open()
        try:
            second = await opener.open()
        except SfmError:
            return
        await first.upsert([point(memory(), [1.0])])
        assert await second.count(ALL) == 0


class CacheNotSharedSuite(Suite):
    """A cache without SHARED."""

    port = Port.CACHE
    lacks = CacheCapability.SHARED

    async def test_a_second_opening_is_apart(self, opener: Opener) -> None:
        """Values and counters of one are not those of the other."""
        first, second = await opener.open(), await opener.open()
        await first.set({"key": b"value"}, ttl=60)
        await first.increment("counter", ttl=60)
        assert await second.get(["key", "counter"]) == [None, None]


REFUSALS: tuple[type[Suite], ...] = (
    NoFullTextSuite,
    NoVocabularySuite,
    NoMatchingSuite,
    NoLeasesSuite,
    NoApiKeysSuite,
    StorageNotDurableSuite,
    StorageNotSharedSuite,
    NoVectorsAmongSuite,
    NoVectorsFilterSuite,
    NoVectorsFullTextSuite,
    VectorsNotDurableSuite,
    VectorsNotSharedSuite,
    CacheNotSharedSuite,
    NoDeadLettersSuite,
    EventsNotDurableSuite,
    NoTextsSuite,
    NoWordVectorsSuite,
)
"""One for each capability whose lack can be seen. EXACT and the sharing of a bus cannot be refused by a call."""
