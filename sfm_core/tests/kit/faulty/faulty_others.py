"""Caches, buses, embeddings and specs that are wrong, and storages that can do more than they say."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from register import Fault, Register, spec_of

from sfm_core.ports.cache import CacheCapability
from sfm_core.ports.events import Delivery
from sfm_core.testing.cache import CacheSuite, SharedCacheSuite
from sfm_core.testing.conformance import SpecSuite
from sfm_core.testing.embedding import TextEmbeddingSuite, WordVectorsSuite
from sfm_core.testing.events import DeadLettersSuite, DurableEventsSuite, EventsSuite, SharedEventsSuite
from sfm_core.testing.fakes import HashingEmbedding
from sfm_core.testing.refusals import (
    CacheNotSharedSuite,
    EventsNotDurableSuite,
    NoDeadLettersSuite,
    NoFullTextSuite,
    NoMatchingSuite,
    NoTextsSuite,
    NoVocabularySuite,
    NoWordVectorsSuite,
    StorageNotDurableSuite,
    StorageNotSharedSuite,
)
from sfm_core.testing.storage import StorageSuite
from sfm_inmemory.cache import InmemoryCache
from sfm_inmemory.events import InmemoryEvents, InmemorySubscription
from sfm_inmemory.storage import InmemoryStorage

register = Register(globals())
FAULTS = register.faults


def cache(*tests: str) -> Any:
    return register.fault(CacheSuite, *tests, ttl=0.1)


def bus(*tests: str) -> Any:
    return register.fault(EventsSuite, *tests, quiet=0.02, patience=0.5)


@cache("test_values_are_read_back_in_order")
class ReadsEachKeyOnce(InmemoryCache):
    async def get(self, keys: Any) -> Any:
        return await super().get(sorted(set(keys)))


@cache("test_a_later_value_replaces_an_earlier_one")
class KeepsTheFirstValue(InmemoryCache):
    async def set(self, values: Any, *, ttl: float) -> None:
        await super().set({key: value for key, value in values.items() if key not in self._entries}, ttl=ttl)


@cache("test_an_expired_value_is_gone")
class IgnoresTimeToLive(InmemoryCache):
    async def set(self, values: Any, *, ttl: float) -> None:
        await super().set(values, ttl=9999)


@cache("test_an_added_value_does_not_replace")
class AddsAsItSets(InmemoryCache):
    async def add(self, values: Any, *, ttl: float) -> None:
        await self.set(values, ttl=ttl)


@cache("test_an_added_value_does_not_replace")
class ProlongsWhatIsThere(InmemoryCache):
    async def add(self, values: Any, *, ttl: float) -> None:
        await super().add(values, ttl=ttl)
        for key in values:
            self._entries[key] = replace(self._entries[key], until=self._clock() + ttl)


@cache("test_racing_adds_keep_the_first")
class LooksBeforeItAdds(InmemoryCache):
    async def add(self, values: Any, *, ttl: float) -> None:
        free = {key: value for key, value in values.items() if self._live(key) is None}
        await asyncio.sleep(0)
        await self.set(free, ttl=ttl)


@cache("test_no_key_reads_the_value_of_another")
class FoldsKeys(InmemoryCache):
    def _store(self, key: str, entry: Any) -> None:
        super()._store(key.casefold(), entry)

    def _live(self, key: str) -> Any:
        return super()._live(key.casefold())


@cache("test_deleted_values_are_gone", "test_a_deleted_counter_starts_again")
class DeletesNothing(InmemoryCache):
    async def delete(self, keys: Any) -> None:
        pass


@cache("test_racing_increments_all_count")
class CountsWithoutAtoms(InmemoryCache):
    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        [value] = await self.get([key])
        await asyncio.sleep(0)
        await self.set({key: b"%d" % (int(value or 0) + by)}, ttl=ttl)
        return int(value or 0) + by


@cache("test_a_counter_lives_from_its_start")
class ProlongsCounters(InmemoryCache):
    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        value = await super().increment(key, ttl=ttl, by=by)
        self._entries[key] = replace(self._entries[key], until=self._clock() + ttl)
        return value


@cache("test_a_cleared_cache_is_empty")
class ClearsValuesOnly(InmemoryCache):
    async def clear(self) -> None:
        self._entries = {key: one for key, one in self._entries.items() if isinstance(one.value, int)}


@register.fault(SharedCacheSuite, "test_processes_share_values_and_counters")
class OwnCache(InmemoryCache):
    pass


class OneCacheForAll(InmemoryCache):
    entries: ClassVar[dict[Any, Any]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._entries = self.entries


register.fault(CacheNotSharedSuite, "test_a_second_opening_is_apart")(OneCacheForAll)


@bus("test_each_group_gets_every_event")
class DropsAnEvent(InmemoryEvents):
    async def publish(self, events: Any) -> None:
        await super().publish(events[:-1])


@bus("test_each_group_gets_every_event")
class NewGroupsStartAtTheEnd(InmemoryEvents):
    def _group(self, name: str) -> Any:
        held, self._held = self._held, deque(maxlen=9)
        try:
            return super()._group(name)
        finally:
            self._held = held


@bus("test_order_is_kept_per_namespace")
class TurnsBatchesAround(InmemoryEvents):
    async def publish(self, events: Any) -> None:
        await super().publish(events[::-1])


class Subscribing(InmemoryEvents):
    """Has members of its own kind."""

    member: Any = InmemorySubscription

    @asynccontextmanager
    async def subscribe(self, group: str) -> Any:
        async with super().subscribe(group) as member:
            member.__class__ = self.member
            yield member


@bus("test_a_quiet_bus_answers_with_nothing")
class WaitsForever(Subscribing):
    class member(InmemorySubscription):
        async def receive(self, *, limit: int, timeout: float) -> Any:
            return await super().receive(limit=limit, timeout=timeout) or [Delivery(None, None, raw=b"")]


@bus("test_a_waiting_member_is_woken")
class SleepsThrough(Subscribing):
    """Hears of an event only when it is asked for again."""

    class member(InmemorySubscription):
        async def receive(self, *, limit: int, timeout: float) -> Any:
            if not self._group.waiting:
                await asyncio.sleep(0.05)
                self._group.waiting.clear()
            return self._group.take(self, limit) or await super().receive(limit=limit, timeout=0.01) or self.give_up()

        def give_up(self) -> Any:
            raise AssertionError("never woken")


@bus("test_members_of_a_group_share_the_work", "test_a_namespace_is_in_one_hand_at_a_time")
class GivesEveryMemberAll(InmemoryEvents):
    @asynccontextmanager
    async def subscribe(self, group: str) -> Any:
        async with super().subscribe(f"{group} {id(object())} {len(self._groups)}") as member:
            yield member


@bus("test_a_namespace_is_in_one_hand_at_a_time")
class HandsOutFreely(Subscribing):
    class member(InmemorySubscription):
        async def receive(self, *, limit: int, timeout: float) -> Any:
            given = [self._group.waiting.popleft() for _ in range(min(limit, len(self._group.waiting)))]
            self._group.taken.update({one.token: (self, one) for one in given})
            return given


@bus("test_what_is_not_committed_comes_again", "test_a_failing_consumer_loses_nothing")
class CommitsOnReceive(Subscribing):
    class member(InmemorySubscription):
        async def receive(self, **options: Any) -> Any:
            given = await super().receive(**options)
            await self.commit(given)
            return given


@bus("test_a_rejected_event_does_not_come_again")
class GivesRejectedAgain(Subscribing):
    class member(InmemorySubscription):
        async def reject(self, delivery: Any, *, error: str) -> None:
            pass


@bus("test_a_gap_in_what_was_committed_comes_again")
class CommitsUpToTheLast(Subscribing):
    class member(InmemorySubscription):
        async def commit(self, deliveries: Any) -> None:
            held = [one for owner, one in self._group.taken.values() if owner is self]
            last = max((held.index(one) for one in deliveries if one in held), default=-1)
            await super().commit(held[: last + 1])


@bus("test_a_namespace_has_one_lane")
class TakesLanesInTurn(Subscribing):
    class member(InmemorySubscription):
        async def receive(self, **options: Any) -> Any:
            return [replace(one, lane=str(n % 3)) for n, one in enumerate(await super().receive(**options))]


@bus("test_a_lane_is_delivered_in_order")
class OrdersWithinNamespacesOnly(InmemoryEvents):
    async def publish(self, events: Any) -> None:
        await super().publish(sorted(events, key=lambda event: event.data.namespace))


@bus("test_a_lane_is_in_one_hand_at_a_time")
class SharesByNamespaceOnly(Subscribing):
    class member(InmemorySubscription):
        async def receive(self, **options: Any) -> Any:
            return [replace(one, lane="0") for one in await super().receive(**options)]


@bus("test_the_lag_is_what_a_group_has_not_committed")
class ForgetsWhatIsHeld(InmemoryEvents):
    async def lag(self, group: str) -> Any:
        waiting = [one.lane for one in self._group(group).waiting]
        return {lane: waiting.count(lane) for lane in await super().lag(group)}


@bus("test_the_lag_is_what_a_group_has_not_committed")
class LeavesOutLanesWithoutLag(InmemoryEvents):
    async def lag(self, group: str) -> Any:
        return {lane: count for lane, count in (await super().lag(group)).items() if count}


@bus("test_repeats_are_delivered_as_repeats")
class FoldsRepeats(InmemoryEvents):
    async def publish(self, events: Any) -> None:
        await super().publish([one for one in events if one not in self._held])


@register.fault(DeadLettersSuite, "test_a_rejected_event_becomes_a_dead_letter", quiet=0.02, patience=0.5)
class ForgetsReasons(InmemoryEvents):
    async def dead_letters(self, group: str, *, limit: int) -> Any:
        return [replace(one, error="") for one in await super().dead_letters(group, limit=limit)]


@register.fault(DeadLettersSuite, "test_a_replayed_dead_letter_comes_again", quiet=0.02, patience=0.5)
class ReplaysNothing(InmemoryEvents):
    async def replay(self, group: str, letters: Any) -> None:
        self._group(group).dead.clear()


register.fault(DurableEventsSuite, "test_published_events_survive_reopening", quiet=0.02, patience=0.5)(InmemoryEvents)
register.fault(SharedEventsSuite, "test_a_bus_joins_processes", quiet=0.02, patience=0.5)(InmemoryEvents)
register.fault(NoDeadLettersSuite, "test_an_undeclared_ability_is_not_there")(InmemoryEvents)


class KeptEvents(InmemoryEvents):
    takes_context = True
    stores: ClassVar[dict[Any, Any]] = {}

    def __new__(cls, context: Any) -> Any:
        return cls.stores.setdefault(context.data_dir, super().__new__(cls))

    def __init__(self, context: Any) -> None:
        if not hasattr(self, "_held"):
            super().__init__()


register.fault(EventsNotDurableSuite, "test_reopening_starts_empty")(KeptEvents)


def texts(*tests: str) -> Any:
    return register.fault(TextEmbeddingSuite, *tests)


register.fault(
    TextEmbeddingSuite,
    "test_every_text_gets_a_unit_vector",
    "test_a_batch_does_not_change_a_vector",
    "test_other_texts_have_other_vectors",
    "test_two_openings_have_one_fingerprint",
    caught=False,
)(HashingEmbedding)


@texts("test_every_text_gets_a_unit_vector")
class SkipsEmptyTexts(HashingEmbedding):
    async def embed(self, texts: Any) -> Any:
        return await super().embed([text for text in texts if text])


@texts("test_a_batch_does_not_change_a_vector")
class CentresBatches(HashingEmbedding):
    async def embed(self, texts: Any) -> Any:
        rows = np.asarray(await super().embed(texts)) - np.mean(await super().embed(texts), axis=0) * 0.9
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).tolist()


@texts("test_other_texts_have_other_vectors")
class OneVectorForAll(HashingEmbedding):
    async def embed(self, texts: Any) -> Any:
        return [[1.0] + [0.0] * 63 for _ in texts]


@texts("test_two_openings_have_one_fingerprint")
class DrawsItsFingerprint(HashingEmbedding):
    @property
    def fingerprint(self) -> str:
        return f"{id(self)}"


class HonestIndex:
    def __init__(self, table: Any, words: Any) -> None:
        self.table, self.words, self.rows = table, list(words), table.vectors(words)
        self.nbytes = self.rows.nbytes

    def nearest(self, words: Any, *, limit: int, floor: float) -> Any:
        cosines = self.table.vectors(words) @ self.rows.T
        orders = [sorted(range(len(self.words)), key=lambda n: (-row[n], n)) for row in cosines]
        return [
            [(n, float(row[n])) for n in order if row[n] > floor][:limit]
            for row, order in zip(cosines, orders, strict=True)
        ]

    def extended(self, words: Any) -> Any:
        return type(self)(self.table, [*self.words, *words])


class HonestWords:
    dimension = 64
    index_type: Any = HonestIndex

    def vectors(self, words: Any) -> Any:
        rows = [HashingEmbedding().vector(" ".join(word)) if word.strip("\x00") else [0.0] * 64 for word in words]
        return np.asarray(rows, dtype=np.float32).reshape(len(words), 64)

    def index(self, words: Any) -> Any:
        return self.index_type(self, words)


register.fault(
    WordVectorsSuite,
    "test_every_word_gets_a_row",
    "test_nearest_words_are_the_true_ones",
    "test_an_extended_index_equals_a_fresh_one",
    caught=False,
)(HonestWords)


@register.fault(WordVectorsSuite, "test_every_word_gets_a_row")
class LongRows(HonestWords):
    def vectors(self, words: Any) -> Any:
        return super().vectors(words) * 2


@register.fault(WordVectorsSuite, "test_nearest_words_are_the_true_ones")
class FindsWorstWords(HonestWords):
    class index_type(HonestIndex):
        def nearest(self, words: Any, **options: Any) -> Any:
            return [found[::-1] for found in super().nearest(words, **options)]


@register.fault(WordVectorsSuite, "test_an_extended_index_equals_a_fresh_one")
class ForgetsTheFormerWords(HonestWords):
    class index_type(HonestIndex):
        def extended(self, words: Any) -> Any:
            return type(self)(self.table, words or self.words)


register.fault(NoTextsSuite, "test_an_undeclared_ability_is_not_there")(HashingEmbedding)
register.fault(NoWordVectorsSuite, "test_an_undeclared_ability_is_not_there")(HonestWords)


class KeptStorage(InmemoryStorage):
    takes_context = True
    stores: ClassVar[dict[Any, Any]] = {}

    def __new__(cls, context: Any) -> Any:
        return cls.stores.setdefault(context.data_dir, super().__new__(cls))

    def __init__(self, context: Any) -> None:
        if not hasattr(self, "_state"):
            super().__init__()


register.fault(StorageNotDurableSuite, "test_reopening_starts_empty")(KeptStorage)
register.fault(StorageNotSharedSuite, "test_a_second_opening_is_refused_or_apart")(KeptStorage)
for suite in (NoFullTextSuite, NoVocabularySuite, NoMatchingSuite):
    register.fault(suite, "test_an_undeclared_ability_is_not_there")(InmemoryStorage)


class OpenConfig(Struct):
    """Neither frozen nor closed."""


class TestWrongSpec(SpecSuite):
    spec = replace(
        spec_of(StorageSuite, InmemoryStorage), config=OpenConfig, capabilities=frozenset({CacheCapability.SHARED})
    )


FAULTS += [
    Fault("faulty_others", "TestWrongSpec", test, True)
    for test in ("test_a_backend_declares_capabilities_of_its_port", "test_a_config_is_frozen_and_closed")
]
