"""PostgreSQL and nothing else: storage and vector search on one database, no cache, no event bus."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import psycopg
import pytest

from sfm_core import open_memory
from sfm_core.errors import NotFound
from sfm_core.memory import AgentMemory
from sfm_core.runtime import open_services
from sfm_core.services.principal import EVERYTHING
from sfm_core.testing.servers.postgres import PostgresServer

EMBED = """
def embed(texts):
    return [[1.0 + text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz0123456789"] for text in texts]

embed.__module__ = "team"
"""
OTHER_PROCESS = (
    EMBED
    + """
import asyncio, os, sys
from sfm_core import open_memory

SETTINGS = {name: value for name, value in os.environ.items() if name.startswith(("SFM_", "MEMORY_", "EVENTING_", "POSTGRES_"))}

async def main():
    async with open_memory(settings=SETTINGS, embed=embed) as memory:
        for n in range(40):
            one = await memory.remember(f"theirs {n} zebra", namespace="team", tags=["theirs"])
            await memory.remember(f"shared {n}", namespace="team")
            os.write(1, (one.memory.id + "\\n").encode())

asyncio.run(main())
"""
)
exec(EMBED)  # one text, one name: both processes embed alike
embed: Callable[[list[str]], list[list[float]]] = globals()["embed"]


@pytest.fixture
def settings(postgres_database: str) -> dict[str, str]:
    """What the README of sfm-plugin-pgvector says."""
    return {
        "MEMORY_MODE": "evented_enterprise",
        "EVENTING_ENABLED": "false",
        "SFM_VECTORS": "pgvector",
        "SFM_CACHE": "none",
        "SFM_EMBEDDING": "none",
        "POSTGRES_URL": postgres_database,
    }


@pytest.fixture
def opening_alone(settings: dict[str, str]) -> Callable[[], AbstractAsyncContextManager[AgentMemory]]:
    """Opens the memory, again and beside."""
    return lambda: open_memory(settings=settings, embed=embed)


@contextmanager
def other_process(settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the other process while the block lasts."""
    command = [sys.executable, "-c", OTHER_PROCESS]
    with subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def everything(url: str) -> str:
    """Return all rows of all tables of the database as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('sfm', 'sfm_vectors')"
        ).fetchall()
        assert len(tables) > 5
        return "\n".join(
            row[0] for (table,) in tables for row in connection.execute(f"SELECT t::text FROM {table} t".encode())
        )


async def test_postgresql_alone_remembers_recalls_and_erases(
    opening_alone: Callable[[], Any], settings: dict[str, str]
) -> None:
    """By words, by vector, under filters, in the past; and what is erased is in no table any more."""
    async with opening_alone() as memory:
        ada = (await memory.remember("Ada moved to Turin", namespace="acme/a", author="Ada", tags=["home"])).memory
        bob = (await memory.remember("Bob keeps xylophones", namespace="acme/a", author="Bob")).memory
        await memory.remember("Ada moved to Turin", namespace="acme/b")
        await memory.update(bob.id, content="Bob keeps quaggas")
        for question in ("Where did Ada move?", "Turin"):
            answer = await memory.recall(question, namespace="acme/a", k=2)
            assert (answer.hits[0].memory.id, answer.partial) == (ada.id, ())
        [quaggas] = embed(["Bob keeps quaggas"])
        answer = await memory.recall_vector(quaggas, namespace="acme/**", k=9)
        assert answer.hits[0].memory.id == bob.id
        assert len(answer.hits) == 3
        home = {"field": "tags", "op": "contains", "value": "home"}
        for filter in (home, {"and": [home, {"field": "content", "op": "prefix", "value": "Ada"}]}):
            answer = await memory.recall_vector(quaggas, namespace="acme/**", k=9, filter=filter)
            assert [hit.memory.id for hit in answer.hits] == [ada.id]
        assert "quagga" in everything(settings["POSTGRES_URL"])
        await memory.erase(bob.id)
        with pytest.raises(NotFound):
            await memory.history(bob.id)
        answer = await memory.recall_vector(quaggas, namespace="acme/**", k=9)
        assert bob.id not in [hit.memory.id for hit in answer.hits]
    left = everything(settings["POSTGRES_URL"])
    assert ("quagga" in left, "xylophone" in left, "Turin" in left) == (False, False, True)
    async with opening_alone() as memory:
        answer = await memory.recall("Where did Ada move?", namespace="acme/a", k=2)
        assert [hit.memory.id for hit in answer.hits] == [ada.id]


async def test_two_processes_work_on_one_database(opening_alone: Callable[[], Any], settings: dict[str, str]) -> None:
    """Each finds what the other acknowledged, twins are one memory, and records and index agree at the end."""
    async with opening_alone() as memory:
        with other_process(settings) as process:
            assert process.stdout is not None
            for n in range(40):
                await memory.remember(f"shared {n}", namespace="team")
                id = (await asyncio.to_thread(process.stdout.readline)).decode().strip()
                text = f"theirs {n} zebra"
                for answer in (
                    await memory.recall_vector(embed([text])[0], namespace="team", k=3),
                    await memory.recall(text, namespace="team", k=50),
                ):
                    assert id in [hit.memory.id for hit in answer.hits]
                if n % 4 == 0:
                    await memory.erase(id)
            assert await asyncio.to_thread(process.wait) == 0
        left = (await memory.list(namespace="team", limit=1000)).items
        assert len(left) == 40 + 30
    async with open_services(settings=settings, embed=embed) as runtime:
        report = await runtime.services.maintenance.reconcile(EVERYTHING, repair=False)
    assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)


async def test_many_callers_of_two_openings_lose_nothing(opening_alone: Callable[[], Any]) -> None:
    """Writes, changes and deletions side by side: at the end the index holds the newest version of what is live."""
    async with opening_alone() as first, opening_alone() as second:

        async def work(memory: AgentMemory, name: str) -> None:
            for n in range(12):
                one = (await memory.remember(f"{name} {n}", namespace="busy")).memory
                if n % 3 == 1:
                    await memory.update(one.id, content=f"{name} {n} changed")
                elif n % 3 == 2:
                    await memory.delete(one.id)

        await asyncio.gather(*(work((first, second)[n % 2], f"w{n}") for n in range(8)))
        live = {one.id: one.version for one in (await first.list(namespace="busy", limit=1000)).items}
        assert len(live) == 8 * 8
        answer = await second.recall_vector(embed(["w"])[0], namespace="busy", k=1000)
        assert {hit.memory.id: hit.memory.version for hit in answer.hits} == live


async def test_a_memory_opens_without_its_index_and_catches_up(
    settings: dict[str, str], own_postgres: PostgresServer
) -> None:
    """The index has a server of its own, which is down at first: nothing is lost, and nothing has to be done by hand."""
    apart = {**settings, "SFM_PGVECTOR__URL": own_postgres.url, "SFM_PGVECTOR__CONNECT_TIMEOUT": "1"}
    [vector] = embed(["Ada"])
    own_postgres.stop()
    async with open_memory(settings=apart, embed=embed) as memory:
        ada = (await memory.remember("Ada moved to Turin", namespace="a")).memory
        answer = await memory.recall("Who moved to Turin?", namespace="a")
        assert ([hit.memory.id for hit in answer.hits], answer.partial) == ([ada.id], ("vectors",))
        answer = await memory.recall_vector(vector, namespace="a")
        assert (answer.hits, answer.partial) == ((), ("vectors",))
        own_postgres.start()
        await until_found(memory, ada.id)
        own_postgres.kill()
        bob = (await memory.remember("Bob moved to Rome", namespace="a")).memory
        await memory.erase(ada.id)
        own_postgres.start()
        await until_found(memory, bob.id)
        answer = await memory.recall_vector(vector, namespace="a")
        assert [hit.memory.id for hit in answer.hits] == [bob.id]


async def until_found(memory: AgentMemory, id: str) -> None:
    """Wait until the index knows a memory."""
    [vector] = embed(["Ada"])
    async with asyncio.timeout(60):
        while True:
            answer = await memory.recall_vector(vector, namespace="a")
            if id in [hit.memory.id for hit in answer.hits]:
                return
            await asyncio.sleep(0.1)
