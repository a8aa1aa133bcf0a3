"""What the plugin makes of a wire that fails: a stub refuses, hangs, is slow, cuts its answer, or says something else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, InvalidInput
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.abilities import TextQuery, WordGroup
from sfm_core.ports.vectors import Point
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.suite import SPACE
from sfm_core.testing.vectors import UP, point
from sfm_qdrant.config import QdrantConfig
from sfm_qdrant.plugin import sfm_vectors

SPEC = sfm_vectors()[0]
TEA = TextQuery((WordGroup((("tea", 1.0),)),))
LULL = 0.6
BRIEF = {"timeout": 0.5, "write_timeout": 1.5}
Call = Callable[[Any], Awaitable[object]]
CALLS: dict[str, Call] = {
    "upsert": lambda index: index.upsert([point(memory("one"), [1.0])]),
    "delete": lambda index: index.delete([(memory("one").id, 1)]),
    "search": lambda index: index.search(HERE, UP, limit=1),
    "search_text": lambda index: index.search_text(HERE, TEA, limit=1),
    "versions": lambda index: index.versions([memory("one").id]),
    "count": lambda index: index.count(ALL),
    "clear": lambda index: index.clear(),
    "check": lambda index: index.check(),
}


@asynccontextmanager
async def opened(port: int, **fields: Any) -> AsyncIterator[Any]:
    config = QdrantConfig(port=port, **({"timeout": 5.0, "write_timeout": 5.0} | fields))
    async with SPEC.open(config, OpenContext(space=SPACE)) as index:
        yield index


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A port that takes connections and never says anything."""
    ends: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for end in ends:
        end.close()


@pytest.mark.parametrize("fault", ["hang", "cut", "garbage", 429, 500, 502, 503])
async def test_every_call_tells_that_the_server_does_not_answer(stub: Any, fault: str | int) -> None:
    """By name of the plugin and without what the server said; the same index goes on when it answers again."""
    async with opened(stub.port, **(BRIEF if fault == "hang" else {})) as index:
        stub.fault = fault
        for call in CALLS.values():
            with pytest.raises(BackendError, match="qdrant/vectors: ") as caught:
                await call(index)
            assert isinstance(caught.value, BackendUnavailable) or fault == "garbage"
            assert "secret" not in str(caught.value)
        stub.fault = None
        await asyncio.sleep(LULL)
        one = memory("one")
        await index.upsert([point(one, [1.0])])
        # What was cut off had been done.
        assert one.id in ids_of(await index.search(HERE, UP, limit=9))


async def test_a_slow_server_is_waited_for(stub: Any) -> None:
    """Up to the timeout."""
    async with opened(stub.port) as index:
        stub.fault = "slow"
        assert await index.count(ALL) == 0


async def test_a_refused_connection_is_tried_once_more_and_then_told(stub: Any) -> None:
    """A server that came back is used again at once."""
    async with opened(stub.port) as index:
        await index.upsert([point(memory("one"), [1.0])])
        await stub.stop()
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="cannot be reached"):
                await call(index)
        await stub.start()
        assert await index.count(ALL) == 1


async def test_a_connection_that_broke_while_idle_is_not_noticed(stub: Any) -> None:
    """The server restarted between two calls."""
    async with opened(stub.port) as index:
        await index.upsert([point(memory("one"), [1.0])])
        await stub.stop()
        await stub.start()
        assert await index.count(ALL) == 1


async def test_a_server_that_is_back_over_grpc_is_used_again(stub: Any, grpc_stub: Any) -> None:
    """While it is gone every call tells; then the first call that waits out the next try to connect gets through."""
    async with opened(stub.port, grpc_port=grpc_stub.port) as index:
        await index.upsert([point(memory("one"), [1.0])])
        await grpc_stub.stop()
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="cannot be reached over gRPC"):
                await call(index)
        await grpc_stub.start()
        for _ in range(100):
            try:
                assert await index.count(ALL) == 1
                return
            except BackendUnavailable:
                await asyncio.sleep(0.05)
        raise AssertionError("the server was not used again within five seconds")


async def test_nothing_is_asked_again_after_a_timeout(stub: Any) -> None:
    """A server that does not keep up is not asked twice as much."""
    async with opened(stub.port, **BRIEF) as index:
        stub.fault = "hang"
        before = len(stub.asked)
        with pytest.raises(BackendUnavailable, match="no answer in time"):
            await index.search(HERE, UP, limit=1)
        assert len(stub.asked) == before + 1


async def test_a_silent_server_costs_one_call_its_timeout(stub: Any) -> None:
    """The others fail at once, without asking, until it answers one that asks now and then."""
    async with opened(stub.port, **BRIEF) as index:
        stub.fault = "hang"
        with pytest.raises(BackendUnavailable):
            await index.count(ALL)
        before = len(stub.asked)
        for call in CALLS.values():
            with pytest.raises(BackendUnavailable, match="no answer in time a moment ago"):
                await call(index)
        assert len(stub.asked) == before
        stub.fault = None
        await asyncio.sleep(LULL)
        assert await index.count(ALL) == 0
        assert await index.search(HERE, UP, limit=1) == []


@pytest.mark.parametrize("wire", ["http", "grpc"])
@pytest.mark.parametrize("state", ["refused", "hung"])
async def test_an_index_opens_while_its_server_is_down(wire: str, state: str) -> None:
    """And every call tells."""
    async with silent() as hung:
        port = hung if state == "hung" else unused_port()
        async with opened(port, grpc_port=port if wire == "grpc" else None, **BRIEF) as index:
            for call in CALLS.values():
                with pytest.raises(BackendUnavailable, match="qdrant/vectors: "):
                    await call(index)


async def test_an_index_is_met_when_its_server_comes_up(stub: Any) -> None:
    """What was opened too early works from then on."""
    await stub.stop()
    async with opened(stub.port) as index:
        with pytest.raises(BackendUnavailable):
            await index.count(ALL)
        await stub.start()
        assert await index.count(ALL) == 0


async def test_a_server_that_is_too_old_is_refused(stub: Any) -> None:
    """The message names both versions; so at first contact when it was down."""
    stub.version = "1.11.5"
    with pytest.raises(ConfigError, match=r"Qdrant 1\.11\.5, allowed: 1\.12 and later"):
        async with opened(stub.port):
            pass
    await stub.stop()
    async with opened(stub.port) as index:
        await stub.start()
        with pytest.raises(ConfigError, match=r"1\.11\.5"):
            await index.count(ALL)


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_are_told_without_them(stub: Any, status: int) -> None:
    """At once."""
    stub.fault = status
    with pytest.raises(BackendError, match="refuses these credentials") as caught:
        async with opened(stub.port, api_key=Secret("hush")):
            pass
    assert "hush" not in str(caught.value)
    assert not isinstance(caught.value, BackendUnavailable)


async def test_a_wrong_dimension_is_refused_by_the_server(stub: Any) -> None:
    """As an error, not as an outage."""
    async with opened(stub.port) as index:
        with pytest.raises(BackendError, match=r"refused the request \(status 400\)") as caught:
            await index.search(HERE, [1.0, 2.0], limit=1)
        assert not isinstance(caught.value, BackendUnavailable)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_numbers_that_are_not_finite_are_not_sent(stub: Any, number: float) -> None:
    """A server takes NaN over gRPC, and finds it first ever after."""
    async with opened(stub.port) as index:
        before = len(stub.asked)
        one = memory("one")
        bad = [number, *UP[1:]]
        with pytest.raises(InvalidInput, match="finite"):
            await index.search(HERE, bad, limit=1)
        with pytest.raises(InvalidInput, match="finite"):
            await index.upsert([Point(one.id, 1, one.namespace, bad, one)])
        assert len(stub.asked) == before


async def test_a_collection_that_is_gone_is_built_anew(stub: Any) -> None:
    """Someone dropped it: told once as an outage, then there is an empty one."""
    async with opened(stub.port) as index:
        await index.upsert([point(memory("one"), [1.0])])
        stub.forget()
        with pytest.raises(BackendUnavailable, match="sfm reindex"):
            await index.count(ALL)
        assert await index.count(ALL) == 0
