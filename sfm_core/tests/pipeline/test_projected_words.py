"""The vocabulary comes with the write and goes with the erasure: nothing that reads memories later adds words of theirs."""

from __future__ import annotations

from typing import Any

import pytest

from sfm_core.model.namespace import ALL
from sfm_core.ports.vectors import Space
from sfm_core.services.maintenance import Maintenance
from sfm_core.services.principal import EVERYTHING
from sfm_core.testing.build import NOW, erase, put, store


async def test_what_is_erased_while_it_is_projected_leaves_no_word_behind(world: Any) -> None:
    """The projector has read the memory already and goes on after the erasure."""
    [memory] = await store(world.storage, put("secret"))
    locate = world.storage._inner.locate

    async def late(ids: list[str]) -> Any:
        found = await locate(ids)
        await store(world.storage, erase(memory))
        return found

    world.storage._inner.locate = late
    assert await world.storage.words(ALL) == [("secret", "secret")]
    await world.projector().project(await world.storage.changes(ALL, after=0, limit=10))
    assert "upsert" in world.vectors.calls
    assert await world.storage.words(ALL) == []


@pytest.mark.parametrize("task", ["reindex", "reconcile"])
async def test_what_is_erased_while_everything_is_read_leaves_no_word_behind(world: Any, task: str) -> None:
    """Maintenance has scanned the memory already and goes on after the erasure."""
    [memory] = await store(world.storage, put("secret"))
    scan = world.storage._inner.scan

    async def late(*args: Any, **options: Any) -> Any:
        async for batch in scan(*args, **options):
            await store(world.storage, erase(memory))
            yield batch

    projector = world.projector()
    await projector.catch_up()
    world.storage._inner.scan = late
    maintenance = Maintenance(world.storage, world.projection(), projector, lambda: NOW, Space(2, "pipeline"))
    assert await world.storage.words(ALL) == [("secret", "secret")]
    await getattr(maintenance, task)(EVERYTHING)
    assert await world.storage.words(ALL) == []
