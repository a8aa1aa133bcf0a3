"""A cache with moods and a storage that lets others come between, shared by as many memories as a test opens."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any

import pytest

from sfm_core.config.modes import Role
from sfm_core.errors import BackendUnavailable
from sfm_core.memory import AgentMemory
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.cache import CacheCapability
from sfm_core.ports.storage import StorageCapability
from sfm_core.ports.writes import Applied
from sfm_core.runtime import Runtime, open_memory, open_services
from sfm_inmemory.cache import InmemoryCache
from sfm_inmemory.config import InmemoryConfig
from sfm_inmemory.storage import InmemoryStorage

Opening = Callable[..., AbstractAsyncContextManager[Runtime]]


class Moods:
    """How likely each call of the cache fails before or after its effect, hangs, flushes everything or returns rubbish."""

    def __init__(self, seed: int = 0, **likely: float) -> None:
        self.random = random.Random(seed)
        self.likely = likely
        self.yields = 0

    def takes(self, mood: str) -> bool:
        """Tell whether this call has `mood`."""
        return self.random.random() < self.likely.get(mood, 0.0)

    async def pause(self) -> None:
        """Let others run for a while."""
        for _ in range(self.random.randrange(self.yields + 1)):
            await asyncio.sleep(0)


class MoodyCache(InmemoryCache):
    """A cache that counts its calls and has moods."""

    def __init__(self, moods: Moods) -> None:
        super().__init__(entries=1_000_000)
        self.moods = moods
        self.calls = 0
        self.down = False
        self.hung = False

    @property
    def values(self) -> dict[str, bytes]:
        """What is in it."""
        return {key: entry.value for key, entry in self._entries.items() if isinstance(entry.value, bytes)}

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return values, or rubbish."""
        await self._before()
        found = await super().get(keys)
        if self.moods.takes("rubbish"):
            known = [*self.values.values(), b"", b"\x00" * 40, None]
            found = [self._rubbish(known) if value is not None else None for value in found]
        await self._after()
        return found

    async def set(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store."""
        await self._before()
        await super().set(values, ttl=ttl)
        await self._after()

    async def add(self, values: Mapping[str, bytes], *, ttl: float) -> None:
        """Store what is new; `set` is not asked, so that this is one call."""
        await self._before()
        await InmemoryCache.set(self, {k: v for k, v in values.items() if self._live(k) is None}, ttl=ttl)
        await self._after()

    async def increment(self, key: str, *, ttl: float, by: int = 1) -> int:
        """Count."""
        await self._before()
        return await super().increment(key, ttl=ttl, by=by)

    def _rubbish(self, known: list[bytes | None]) -> bytes | None:
        value = self.moods.random.choice(known)
        return value[: self.moods.random.randrange(len(value) + 1)] if value and self.moods.takes("cut") else value

    async def _before(self) -> None:
        self.calls += 1
        await self.moods.pause()
        if self.hung or self.moods.takes("hang"):
            await asyncio.sleep(3600)
        if self.moods.takes("flush"):
            await self.clear()
        if self.down or self.moods.takes("fail"):
            raise BackendUnavailable("moody/cache: down")

    async def _after(self) -> None:
        await self.moods.pause()
        if self.moods.takes("fail_after"):
            raise ConnectionResetError("the answer was lost")


class ObservedStorage(InmemoryStorage):
    """A storage in whose calls others come between, and that notes which version of a memory was live from when on."""

    def __init__(self, moods: Moods) -> None:
        super().__init__()
        self.moods = moods
        self.tick = 0
        self.lives: dict[str, list[tuple[int, int | None]]] = {}
        self.contents: dict[tuple[str, int], str | None] = {}
        self.reads = 0

    async def apply(self, writes: Any, **options: Any) -> Any:
        """Write, and note what became of it."""
        await self.moods.pause()
        answer = await super().apply(writes, **options)
        self.tick += 1
        for result in answer if isinstance(answer, list) else ():
            if isinstance(result, Applied) and result.outcome not in ("duplicate", "unchanged"):
                memory, gone = result.memory, result.outcome in ("deleted", "erased")
                self.lives.setdefault(memory.id, []).append((self.tick, None if gone else memory.version))
                self.contents.setdefault((memory.id, memory.version), memory.content)
        await self.moods.pause()
        return answer

    async def get(self, ids: Any, **options: Any) -> Any:
        """Read; the answer is on its way for a while."""
        self.reads += 1
        await self.moods.pause()
        found = await super().get(ids, **options)
        await self.moods.pause()
        return found

    async def candidates(self, ids: Any, **options: Any) -> Any:
        """Read; the answer is on its way for a while."""
        found = await super().candidates(ids, **options)
        await self.moods.pause()
        return found

    def was_live(self, id: str, version: int, first: int, last: int) -> bool:
        """Tell whether `version` of `id` was the live one at some moment from tick `first` to tick `last`."""
        lives = self.lives.get(id, [])
        for n, (since, live) in enumerate(lives):
            until = lives[n + 1][0] if n + 1 < len(lives) else last + 1
            if live == version and since <= last and until > first:
                return True
        return False


class Shared:
    """A plugin whose storage and cache are the same for everybody who opens it."""

    def __init__(self, storage: InmemoryStorage, cache: InmemoryCache) -> None:
        self.storage = storage
        self.cache = cache

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        return PluginInfo(name="shared", version="0", api=API_VERSION)

    @hookimpl
    def sfm_storage(self) -> list[BackendSpec]:
        able = frozenset({StorageCapability.FULL_TEXT, StorageCapability.MATCHING, StorageCapability.VOCABULARY})
        return [self._spec(Port.STORAGE, self.storage, able)]

    @hookimpl
    def sfm_cache(self) -> list[BackendSpec]:
        return [self._spec(Port.CACHE, self.cache, frozenset({CacheCapability.SHARED}))]

    def _spec(self, port: Port, backend: object, able: frozenset[Any]) -> BackendSpec:
        @asynccontextmanager
        async def opening(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[Any]:
            yield backend

        return BackendSpec(port=port, name="shared", config=InmemoryConfig, open=opening, capabilities=able)


@pytest.fixture
def moods() -> Moods:
    """No mood at all; a test may change that."""
    return Moods()


@pytest.fixture
def cache(moods: Moods) -> MoodyCache:
    """The cache of the test."""
    return MoodyCache(moods)


@pytest.fixture
def storage(moods: Moods) -> ObservedStorage:
    """The storage of the test."""
    return ObservedStorage(moods)


@pytest.fixture
def opening(storage: ObservedStorage, cache: MoodyCache) -> Opening:
    """Opens services over storage and cache; a second time as another process would."""

    def open_one(**settings: object) -> AbstractAsyncContextManager[Runtime]:
        given = {"mode": "test", "SFM_STORAGE": "shared", "SFM_CACHE": "shared", "SFM_CACHE_PATIENCE": 0.05, **settings}
        return open_services(settings=given, role=Role.SERVICE, plugins=[Shared(storage, cache)])

    return open_one


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that failed is asked again almost at once."""
    for module in ("steady", "copies"):
        for pause in ("_FIRST_PAUSE", "_LONGEST_PAUSE"):
            monkeypatch.setattr(f"sfm_core.services.{module}.{pause}", 0.001)


@pytest.fixture
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Waits until what it is given is true."""

    async def wait(holds: Callable[[], Any]) -> None:
        for _ in range(2000):
            found = holds()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.003)
        raise AssertionError("it never came true")

    return wait


@pytest.fixture
def fresh_memories() -> Callable[..., Callable[[], Callable[[], AbstractAsyncContextManager[AgentMemory]]]]:
    """Gives what opens one new, empty memory each time, behind a cache with the given moods."""

    def with_moods(**likely: float) -> Callable[[], Callable[[], AbstractAsyncContextManager[AgentMemory]]]:
        seeds = count()

        def fresh() -> Callable[[], AbstractAsyncContextManager[AgentMemory]]:
            cache = MoodyCache(Moods(next(seeds), **likely))
            settings = {"SFM_CACHE": "shared", "SFM_CACHE_PATIENCE": 0.05}
            plugin = Shared(InmemoryStorage(), cache)
            return lambda: open_memory(mode="test", settings=settings, plugins=[plugin])

        return fresh

    return with_moods
