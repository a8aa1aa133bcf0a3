"""Behind a proxy that pools by transaction, as PgBouncer does: nothing may rest in a session.

The proxy here speaks the wire protocol to the real server, gives each transaction the connection that rested longest, and
wipes it (`DISCARD ALL`) in between.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from msgspec.structs import replace

from sfm_core.config.secret import Secret
from sfm_core.model.filter import Filter
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.storage import Order
from sfm_core.testing.build import (
    HERE,
    NOW,
    applied,
    erase,
    ids_of,
    memory,
    put,
    question,
    remove,
    replacing,
    store,
    tie,
)
from sfm_core.testing.filter_cases import FILTER_MEMORIES, wrong_answers
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_postgres.config import PostgresConfig
from sfm_postgres.storage import PostgresStorage, open_storage

_SSL, _CANCEL = 80877103, 80877102
_DISCARD = b"Q" + struct.pack(">I", 4 + 12) + b"DISCARD ALL\0"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def message(reader: asyncio.StreamReader) -> bytes:
    """Read one message with its head."""
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack(">I", head[1:])[0] - 4)


class TransactionPool:
    """Connections to the server, handed out in turn; every one is wiped between two transactions."""

    def __init__(self, url: str, size: int) -> None:
        parts = urlsplit(url)
        self.address = parts.hostname or "127.0.0.1", parts.port or 5432
        named = ("user", parts.username or "", "database", parts.path[1:])
        self.startup = b"".join(text.encode() + b"\0" for text in named)
        self.greeting = b""
        self.size = size
        self.idle: deque[Streams] = deque()
        self.available = asyncio.Semaphore(0)
        self.transactions = 0

    async def fill(self) -> None:
        """Open the connections."""
        for _ in range(self.size):
            reader, writer = await asyncio.open_connection(*self.address)
            body = struct.pack(">I", 196608) + self.startup + b"\0"
            writer.write(struct.pack(">I", 4 + len(body)) + body)
            self.greeting = b""
            while not self.greeting.endswith(b"Z\0\0\0\5I"):
                self.greeting += await message(reader)
            self.give((reader, writer))

    async def take(self) -> Streams:
        """Take the connection that rested longest."""
        await self.available.acquire()
        self.transactions += 1
        return self.idle.popleft()

    def give(self, server: Streams) -> None:
        """Give one back."""
        self.idle.append(server)
        self.available.release()

    async def wipe(self, server: Streams) -> None:
        """Forget all that a session may hold, and give it back."""
        server[1].write(_DISCARD)
        while not (await message(server[0])).startswith(b"Z"):
            pass
        self.give(server)


class Client:
    """One client of the proxy: each of its transactions goes to the connection that is next."""

    def __init__(self, pool: TransactionPool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pool, self.reader, self.writer = pool, reader, writer
        self.server: Streams | None = None
        self.awaited = 0
        self.answering: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Greet, then pass messages on until the client leaves."""
        try:
            if await self.greet():
                while not (sent := await message(self.reader)).startswith(b"X"):
                    await self.forward(sent)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()

    async def greet(self) -> bool:
        """Answer what a connection begins with; tell whether it is one."""
        while True:
            length, code = struct.unpack(">II", await self.reader.readexactly(8))
            rest = await self.reader.readexactly(length - 8)
            if code == _CANCEL:
                return False
            if code == _SSL:
                self.writer.write(b"N")
                continue
            assert b"options" not in rest, "proxies refuse this parameter"
            self.writer.write(self.pool.greeting)
            return True

    async def forward(self, sent: bytes) -> None:
        """Pass a message to the connection of the transaction; take one when there is none."""
        if self.server is None:
            self.server = await self.pool.take()
            self.answering = asyncio.create_task(self.answer(self.server))
        self.awaited += sent[:1] in (b"S", b"Q")
        self.server[1].write(sent)

    async def answer(self, server: Streams) -> None:
        """Pass answers back until the transaction is over, then give the connection up."""
        while True:
            got = await message(server[0])
            if got.startswith(b"Z"):
                self.awaited -= 1
                if got.endswith(b"I") and self.awaited == 0:
                    self.server = None
                    await self.pool.wipe(server)
                    self.writer.write(got)
                    return
            self.writer.write(got)


@asynccontextmanager
async def pooling_proxy(url: str, *, size: int = 3) -> AsyncIterator[tuple[str, TransactionPool]]:
    """Run a proxy in front of the server of `url`; yield its own URL, and its pool."""
    pool = TransactionPool(url, size)
    await pool.fill()
    listener = await asyncio.start_server(lambda r, w: Client(pool, r, w).serve(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    parts = urlsplit(url)
    try:
        yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl(), pool
    finally:
        listener.close()
        for _, writer in pool.idle:
            writer.close()


@pytest.fixture
async def pooled(config: PostgresConfig, postgres_server: PostgresAt) -> AsyncIterator[PostgresStorage]:
    """A storage whose every transaction runs on another connection, wiped before."""
    async with pooling_proxy(postgres_server.url) as (url, pool):
        given = replace(config, url=Secret(url), transaction_pooling=True, pool_size=8)
        async with open_storage(given, OpenContext()) as storage:
            yield storage
        assert pool.transactions > 10


async def test_everything_works_on_wiped_connections(pooled: PostgresStorage) -> None:
    """Writes, batches by COPY, reads, search, leases, races: eight clients on three connections."""
    written = await asyncio.gather(*(store(pooled, put(f"memory {n}")) for n in range(40)))
    many = await store(pooled, *(put(f"many {n}", coordinate=(float(n),)) for n in range(100)))
    [one], [two] = written[0], written[1]
    await store(pooled, tie(one, two), replacing(one, content="changed"), remove(two), erase(many[0]))
    listed = await pooled.list(HERE, filter=None, order=Order.CREATED_AT, limit=999, after=None, now=NOW)
    assert len(listed.memories) == 138
    assert len(await pooled.search_text(HERE, question("many"), filter=None, limit=999, now=NOW)) == 99
    assert [row.sequence for row in await pooled.changes(HERE, after=0, limit=999)] == list(range(1, 145))
    twins = await asyncio.gather(*(pooled.apply([put("twin")]) for _ in range(16)))
    outcomes = [applied(results[0]).outcome for results in twins if isinstance(results, list)]
    assert sorted(outcomes) == ["created"] + ["duplicate"] * 15
    lease = await pooled.acquire_lease("relay", "me", seconds=60)
    assert lease is not None
    assert await pooled.acquire_lease("relay", "you", seconds=60) is None
    await pooled.save_cursor("relay", 7, fence=lease)
    assert await pooled.cursor("relay") == 7


async def test_every_read_holds_on_wiped_connections(pooled: PostgresStorage) -> None:
    """Again and again the same statements, on connections that never prepared them; times are in UTC all the same."""
    stored = await store(pooled, *(put(one, dedupe=False) for one in FILTER_MEMORIES.values()))

    async def ask(filter: Filter) -> list[str]:
        return await pooled.matching(ALL, filter=filter, limit=99, now=NOW)

    assert await wrong_answers(ask) == {}
    for _ in range(12):
        assert ids_of(await pooled.get(ids_of(stored), now=NOW)) == ids_of(stored)
    [late] = await store(pooled, put(memory("late")))
    assert await pooled.get([late.id], now=NOW) == [late]
