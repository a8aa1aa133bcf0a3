"""The vocabulary comes with the write: what follows the log adds no words, what builds everything anew does."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from sfm_core.model.namespace import ALL
from sfm_core.ports.vectors import Space
from sfm_core.ports.writes import Analysis
from sfm_core.services.maintenance import Maintenance
from sfm_core.services.principal import EVERYTHING
from sfm_core.services.projection import Projection
from sfm_core.services.projector import Projector
from sfm_core.testing.build import NOW, erase, put, store

SECRET = (("secret", "secret"),)


def over(world: Any) -> tuple[Projection, Projector]:
    """Return a projection that knows the vocabulary, and what drives it."""
    projection = Projection(
        vectors=world.vectors, embedding=world.embedder, vocabulary=world.storage, words=lambda memory: SECRET
    )
    return projection, Projector(world.storage, projection, name="projector:words", drives=False)


async def test_what_is_erased_while_it_is_projected_leaves_no_word_behind(world: Any) -> None:
    """The projector has read the memory already and goes on after the erasure."""
    [memory] = await store(world.storage, put("secret"))
    locate = world.storage._inner.locate

    async def late(ids: list[str]) -> Any:
        found = await locate(ids)
        await store(world.storage, erase(memory))
        return found

    world.storage._inner.locate = late
    assert await world.storage.words(ALL) == [*SECRET]
    _, projector = over(world)
    await projector.project(await world.storage.changes(ALL, after=0, limit=10))
    assert "upsert" in world.vectors.calls
    assert await world.storage.words(ALL) == []


async def test_words_are_noted_again_where_everything_is_built_anew(world: Any) -> None:
    """Those of live memories, whatever the vocabulary has lost."""
    await store(world.storage, replace(put("secret"), analysis=Analysis()))
    assert await world.storage.words(ALL) == []
    projection, projector = over(world)
    await Maintenance(world.storage, projection, projector, lambda: NOW, Space(2, "pipeline")).reindex(EVERYTHING)
    assert await world.storage.words(ALL) == [*SECRET]
