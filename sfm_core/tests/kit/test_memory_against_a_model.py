"""The whole memory, driven at random over each storage, answers as a plain dictionary would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from sfm_core import open_memory
from sfm_core.errors import SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import Scope
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import API_VERSION, BackendSpec, OpenContext, PluginInfo, Port
from sfm_core.ports.storage import StorageCapability
from sfm_core.testing.fakes import HashingEmbedding
from sfm_core.testing.machine import drive
from sfm_core.testing.machine_base import Opening
from sfm_inmemory.config import InmemoryConfig
from sfm_inmemory.storage import InmemoryStorage

STORAGES = ("inmemory", "sqlite")


def embed(texts: list[str]) -> list[list[float]]:
    """Texts with words in common are near each other."""
    return [HashingEmbedding(16).vector(text) for text in texts]


def openings(storage: str, folder: Path, **options: Any) -> Callable[[], Opening]:
    """Return what gives one new, empty store each time it is called."""
    numbers = count()

    def fresh() -> Opening:
        data_dir = folder / str(next(numbers))

        def opening() -> AbstractAsyncContextManager[AgentMemory]:
            if storage == "inmemory":
                return open_memory(mode="test", embed=embed, **options)
            return open_memory(mode="development", settings={"data_dir": str(data_dir)}, embed=embed)

        return opening

    return fresh


@pytest.mark.parametrize("storage", STORAGES)
def test_random_operations_answer_as_the_model_does(storage: str, tmp_path: Path) -> None:
    """Remember, update, delete, erase, undo, restore, link, forget, recall, the past, archives and reopening."""
    drive(openings(storage, tmp_path), durable=storage == "sqlite", embed=embed, examples=12, steps=30)


class Faulty:
    """A plugin with one wrong storage."""

    def __init__(self, storage: type[InmemoryStorage]) -> None:
        self.storage = storage

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        return PluginInfo(name="faulty", version="0", api=API_VERSION)

    @hookimpl
    def sfm_storage(self) -> list[BackendSpec]:
        @asynccontextmanager
        async def opening(config: InmemoryConfig, context: OpenContext) -> AsyncIterator[InmemoryStorage]:
            yield self.storage()

        able = frozenset(StorageCapability) - {StorageCapability.DURABLE, StorageCapability.SHARED}
        return [BackendSpec(port=Port.STORAGE, name="faulty", config=InmemoryConfig, open=opening, capabilities=able)]


class KeepsOldVersions(InmemoryStorage):
    async def get(self, ids: Any, **options: Any) -> Any:
        found = await super().get(ids, **options)
        return [one and (await self.history(one.id, limit=99))[-1].memory for one in found]


class UndoesHalf(InmemoryStorage):
    async def operation_members(self, id: Any, **options: Any) -> Any:
        return (await super().operation_members(id, **options))[1:]


class LosesLinks(InmemoryStorage):
    async def links(self, ids: Any, **options: Any) -> Any:
        return (await super().links(ids, **options))[1:]


class SkipsChanges(InmemoryStorage):
    async def changes(self, scope: Any, **options: Any) -> Any:
        return [one for one in await super().changes(scope, **options) if one.type != "memory.restored"]


class ListsABelowA(InmemoryStorage):
    async def list(self, scope: Any, **options: Any) -> Any:
        return await super().list(Scope("a", subtree=True) if scope.namespace == "a" else scope, **options)


@pytest.mark.parametrize("storage", [KeepsOldVersions, UndoesHalf, LosesLinks, SkipsChanges, ListsABelowA])
def test_the_machine_finds_faults(storage: type[InmemoryStorage], tmp_path: Path) -> None:
    """A storage that is wrong on purpose does not get through."""
    options = {"plugins": [Faulty(storage)], "settings": {"SFM_STORAGE": "faulty"}}
    with pytest.raises((AssertionError, SfmError)):
        drive(
            openings("inmemory", tmp_path, **options), durable=False, embed=embed, examples=600, steps=40, shrink=False
        )
