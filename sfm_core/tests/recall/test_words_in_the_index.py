"""SFM_LEXICAL=vectors: words are asked of the vector index, and authors, neighbours and dates of the storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sfm_core import open_memory
from sfm_core.config.modes import Role, make_plan
from sfm_core.config.settings import Settings
from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, ConfigError
from sfm_core.memory import AgentMemory
from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.abilities import TextQuery, WordGroup
from sfm_core.ports.vectors import VectorsCapability
from sfm_core.runtime import open_services
from sfm_core.services.index_words import IndexWords
from sfm_core.services.principal import EVERYTHING

IN_INDEX = {"mode": "test", "lexical": "vectors"}


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return one direction per first letter."""
    return [[1.0 if ord(text[0]) % 4 == axis else 0.1 for axis in range(4)] for text in texts]


def contents(answer: Any) -> list[str]:
    return [hit.memory.content for hit in answer.hits]


def test_the_index_is_planned_when_words_are_asked_of_it() -> None:
    """Although nothing embeds; the backend must rank by words, and there is no vector arm."""
    plan = make_plan(Settings(mode="test", lexical="vectors"), Role.LIBRARY)
    assert plan.lexical == "vectors"
    assert not plan.has_vectors
    assert plan.slots["vectors"].needs == {VectorsCapability.FULL_TEXT}
    both = make_plan(Settings(mode="test", lexical="vectors"), Role.LIBRARY, embed=True)
    assert both.has_vectors
    assert "vectors" not in make_plan(Settings(mode="test"), Role.LIBRARY).slots


def test_words_need_an_index_to_be_in() -> None:
    """The message names the setting and what is allowed."""
    with pytest.raises(ConfigError, match="SFM_LEXICAL: got 'vectors', allowed: storage, because SFM_VECTORS"):
        make_plan(Settings(mode="test", lexical="vectors", vectors="none"), Role.LIBRARY)


async def test_an_index_without_words_is_refused_by_name(tmp_path: Any) -> None:
    """The sqlite index has vectors only."""
    with pytest.raises(CapabilityNotSupported, match="sqlite/vectors: backend 'sqlite' lacks full_text"):
        async with open_memory(mode="development", settings={"lexical": "vectors", "data_dir": str(tmp_path)}):
            pass


@pytest.mark.parametrize("function", [None, embed])
async def test_words_are_found_in_the_index(function: Any) -> None:
    """With an embedding and without: by stem, in the scope, with filters on fields, payload and content, until deleted."""
    async with open_memory(settings=IN_INDEX, embed=function) as memory:
        lives = (await memory.remember("Ada lives in Turin", author="Ada", tags=["home"])).memory
        await memory.remember("Bob paints houses", payload={"n": 1})
        await memory.remember("Bob lives elsewhere", namespace="other")
        assert contents(await memory.recall("living where?", k=1)) == ["Ada lives in Turin"]
        explained = await memory.recall("house painting", k=1, explain=True)
        assert contents(explained) == ["Bob paints houses"]
        assert "lexical" in explained.hits[0].explain.arms
        for filter in (
            {"field": "tags", "op": "contains", "value": "home"},
            {"field": "content", "op": "prefix", "value": "Ada"},
        ):
            assert contents(await memory.recall("paints or lives", filter=filter)) == ["Ada lives in Turin"]
        await memory.delete(lives.id)
        assert "Ada lives in Turin" not in contents(await memory.recall("lives", k=9))


async def test_an_update_is_found_by_its_new_words() -> None:
    """And not by the old ones."""
    async with open_services(settings=IN_INDEX) as runtime:
        services = runtime.services
        assert (await services.overview.capabilities(EVERYTHING)).lexical == "vectors"
        assert (await services.overview.capabilities(EVERYTHING)).arms == ("lexical", "links", "time")
    async with open_memory(settings=IN_INDEX) as memory:
        one = (await memory.remember("alpha")).memory
        await memory.update(one.id, content="beta")
        assert (await memory.recall("beta", k=1, explain=True)).hits[0].explain.arms == ("lexical",)
        assert (await memory.recall("alpha", k=1, explain=True)).hits[0].explain.arms == ("newest",)


async def test_an_index_that_is_down_is_named_and_the_rest_answers() -> None:
    """The lexical arm is in `partial`; writes are acknowledged, and found by words when the index is back."""
    async with open_services(settings=IN_INDEX) as runtime:
        memory = runtime.services
        index: Any = runtime.ports.vectors
        up = index.search_text, index.upsert

        async def down(*_: Any, **__: Any) -> Any:
            raise BackendUnavailable("inmemory/vectors: down")

        index.search_text = index.upsert = down
        agent = AgentMemory(memory, EVERYTHING)
        await agent.remember("Ada lives in Turin")
        answer = await agent.recall("Turin")
        assert (contents(answer), answer.partial) == (["Ada lives in Turin"], ("lexical",))
        index.search_text, index.upsert = up
        assert await memory.projector.reached(1, 5)
        answer = await agent.recall("Turin", explain=True)
        assert (answer.hits[0].explain.arms, answer.partial) == (("lexical",), ())


async def test_a_vector_query_needs_more_than_words() -> None:
    """An index of words alone answers none."""
    async with open_memory(settings=IN_INDEX) as memory:
        with pytest.raises(CapabilityNotSupported, match="no vector search"):
            await memory.recall_vector([1.0, 0.0])


async def test_a_reindex_brings_words_back() -> None:
    """It clears the index and reads every memory's words again."""
    async with open_services(settings=IN_INDEX) as runtime:
        agent = AgentMemory(runtime.services, EVERYTHING)
        await agent.remember("Ada lives in Turin")
        assert await runtime.services.maintenance.reindex(EVERYTHING) == 1
        assert (await agent.recall("Turin", explain=True)).hits[0].explain.arms == ("lexical",)
        assert (await runtime.services.maintenance.reconcile(EVERYTHING)).missing == 0


async def test_what_an_index_cannot_filter_is_filtered_by_the_records(world: Any) -> None:
    """More and more of the best are fetched until enough pass or there are no more."""
    for number in range(60):
        await world.put(f"tea tea n{number}")
    wanted = [await world.put(f"tea with much else n{n}", tags=("keep",)) for n in range(3)]
    keep = parse_filter({"field": "tags", "op": "contains", "value": "keep"})

    class Ranked:
        async def search_text(self, scope: Any, query: Any, *, limit: int, filter: Any = None) -> Any:
            assert filter is None
            return await world.storage.search_text(scope, query, filter=None, limit=limit, now=world.now)

    words = IndexWords(Ranked(), frozenset(), world.storage)
    query = TextQuery((WordGroup((("tea", 1.0),)),))
    hits = await words.search_text(Scope("a"), query, filter=keep, limit=2, now=world.now)
    assert len(hits) == 2
    assert {hit.id for hit in hits} <= {one.id for one in wanted}
