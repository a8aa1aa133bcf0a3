"""A whole memory whose vectors and words are in Qdrant: the local mode, the engine in process, and a server if named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sfm_core import open_memory
from sfm_core.errors import ConfigError
from sfm_qdrant import testing


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return one direction per first letter."""
    return [[1.0 if ord(text[0].lower()) % 4 == axis else 0.1 for axis in range(4)] for text in texts]


def contents(answer: Any) -> list[str]:
    return [hit.memory.content for hit in answer.hits]


@pytest_asyncio.fixture(params=["local", "edge", *testing.wires()])
async def settings(
    request: pytest.FixtureRequest, quick_folder: Path, collection: str
) -> AsyncIterator[dict[str, Any]]:
    """Settings that put the index into an empty place."""
    words = {"mode": "test", "lexical": "vectors"}
    if request.param == "local":
        yield words | {"vectors": "qdrant-local"}
    elif request.param == "edge":
        yield words | {"vectors": "qdrant", "QDRANT_PATH": str(quick_folder)}
    else:
        config = testing.server_config(request.param, collection)
        grpc = {"QDRANT_GRPC_PORT": config.grpc_port} if config.grpc_port else {}
        key = {"QDRANT_API_KEY": config.api_key} if config.api_key else {}
        server = {"QDRANT_HOST": config.host, "QDRANT_PORT": config.port, "SFM_QDRANT__TLS": config.tls}
        server |= {"SFM_QDRANT__TIMEOUT": config.timeout, "SFM_QDRANT__WRITE_TIMEOUT": config.write_timeout}
        yield words | server | grpc | key | {"vectors": "qdrant", "SFM_QDRANT__COLLECTION": collection}
        await testing.drop_collections(config)


@pytest.mark.parametrize("function", [None, embed], ids=["words", "words and vectors"])
async def test_memories_are_found_until_they_are_deleted(settings: dict[str, Any], function: Any) -> None:
    """By words, by near vectors, in their scope, through filters, in their newest version."""
    async with open_memory(settings=settings, embed=function, plugins=[testing]) as memory:
        ada = (await memory.remember("Ada moved to Turin", namespace="a/x", author="Ada", payload={"n": 1})).memory
        bob = (await memory.remember("Bob paints houses in Turin", namespace="a/y", tags=["art"])).memory
        await memory.remember("Turin is elsewhere", namespace="ab")
        assert set(contents(await memory.recall("Turin", namespace="a/**"))) == {ada.content, bob.content}
        art = {"field": "tags", "op": "contains", "value": "art"}
        assert contents(await memory.recall("Turin", namespace="a/**", filter=art)) == [bob.content]
        on_content = {"field": "content", "op": "prefix", "value": "Ada"}
        assert contents(await memory.recall("Turin", namespace="a/**", filter=on_content)) == [ada.content]
        await memory.update(ada.id, content="Ada moved to Rome")
        found = await memory.recall("Rome", namespace="a/**", explain=True)
        arms = {hit.memory.content: hit.explain.arms for hit in found.hits}
        assert "lexical" in arms["Ada moved to Rome"]
        assert "lexical" not in arms[bob.content]
        if function is not None:
            nearest = await memory.recall_vector(embed(["Ada"])[0], namespace="a/**", k=1)
            assert contents(nearest) == ["Ada moved to Rome"]
        await memory.erase(ada.id)
        assert contents(await memory.recall("Rome Ada", namespace="a/**")) == [bob.content]


async def test_a_change_of_what_the_index_holds_needs_a_reindex(quick_folder: Path) -> None:
    """Words asked of an index that was built for vectors alone: refused by name, then rebuilt."""
    settings = {"mode": "test", "lexical": "vectors", "vectors": "qdrant", "QDRANT_PATH": str(quick_folder)}
    async with open_memory(settings=settings | {"lexical": "storage"}, embed=embed) as memory:
        await memory.remember("Ada moved to Turin")
    with pytest.raises(ConfigError, match="sfm reindex") as caught:
        async with open_memory(settings=settings, embed=embed):
            pass
    assert "+words" in str(caught.value)
    async with open_memory(settings=settings, embed=embed, reindex=True) as memory:
        await memory.remember("Ada moved to Turin")
        assert (await memory.recall("Turin", k=1, explain=True)).hits[0].explain.arms == ("lexical", "vectors")
