"""Erased is gone: no live row of any table holds it, and no vocabulary word that only it held."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sfm_core.model.memory import Memory
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.writes import Idempotency
from sfm_core.testing.build import HERE, NOW, at, erase, new_id, operation, put, remove, replacing, revive, store, tie
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_postgres.config import PostgresConfig
from sfm_postgres.flush import Flusher
from sfm_postgres.packing import can_send
from sfm_postgres.storage import PostgresStorage, open_storage
from sfm_postgres.vocabulary import ADD, added


@pytest.fixture
def reader(postgres_server: PostgresAt) -> Iterator[psycopg.Connection]:
    """A bare connection."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        yield connection


def rows_with(reader: psycopg.Connection, config: PostgresConfig, secrets: list[str]) -> list[str]:
    """Return the tables with a live row whose text holds one of `secrets`."""
    tables = reader.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [config.schema]
    ).fetchall()
    found = []
    for (table,) in tables:
        query = f"SELECT t::text FROM {config.schema}.{table} t".encode()
        if any(secret in text for (text,) in reader.execute(query) for secret in secrets):
            found.append(table)
    return sorted(found)


def secret_fields(secrets: list[str]) -> dict[str, object]:
    """Return the fields of a memory that says `secrets` wherever something can be said."""
    return {
        "payload": {"k": [secrets[1], {secrets[2]: 1}]},
        "author": secrets[3],
        "tags": (secrets[4],),
        "thread": secrets[5],
        "position": 1,
        "source": secrets[6],
    }


async def test_no_live_row_holds_what_was_erased(
    storage: PostgresStorage, config: PostgresConfig, reader: psycopg.Connection
) -> None:
    """Content, payload, author, tags, thread, source, link metadata, words: of the newest version and of the history."""
    secrets = [f"zq{new_id().replace('-', '')}{n}" for n in range(9)]
    claim = Idempotency(scope="me", key="k", request=b"r", now=NOW, expires_at=at(9999))
    keyed = await storage.apply([put(f"tell {secrets[0]}", **secret_fields(secrets))], idempotency=claim)
    assert isinstance(keyed, list)
    one: Memory = keyed[0].memory  # type: ignore[union-attr]
    [other] = await store(storage, put("a memory that stays"))
    start = operation()
    op = start.operation.id
    await store(storage, tie(one, other, relation=secrets[7], metadata={"m": secrets[7]}), start)
    [two] = await store(storage, replacing(one, content=f"now {secrets[8]}", payload={}))
    await store(storage, remove(two, operation=op, time=at(2)), revive(two, op, time=at(3)))
    assert "memories" in rows_with(reader, config, secrets)
    await store(storage, erase(two, time=at(4)))
    assert rows_with(reader, config, secrets) == []
    assert {word for word, _ in await storage.words(HERE)} == {"a", "memory", "that", "stays"}


async def test_what_is_created_and_erased_in_one_call_leaves_nothing(
    storage: PostgresStorage, config: PostgresConfig, reader: psycopg.Connection
) -> None:
    """Not even a word."""
    secrets = [f"zq{new_id().replace('-', '')}{n}" for n in range(9)]
    write = put(f"tell {secrets[0]}", **secret_fields(secrets))
    await store(storage, write, erase(write.memory))
    assert rows_with(reader, config, secrets) == []
    assert await storage.erased([write.memory.id]) == {write.memory.id}


async def test_racing_erasures_of_the_last_holders_leave_no_word(config: PostgresConfig) -> None:
    """Two processes erase the two memories that hold a word: it goes, whoever comes last."""
    async with open_storage(config, OpenContext()) as first, open_storage(config, OpenContext()) as second:
        for number in range(8):
            one, two = await store(first, put(f"word{number} mine"), put(f"word{number} yours"))
            await asyncio.gather(store(first, erase(one)), store(second, erase(two)))
        assert await first.words(HERE) == []


async def test_a_word_that_was_erased_elsewhere_comes_back_with_its_next_memory(config: PostgresConfig) -> None:
    """A process that knew it as stored learns that it is not."""
    async with open_storage(config, OpenContext()) as first, open_storage(config, OpenContext()) as second:
        [one] = await store(first, put("secret tea"))
        await store(second, erase(one))
        assert await first.words(HERE) == []
        await store(first, put("secret tea again"))
        assert sorted(word for word, _ in await second.words(HERE)) == ["again", "secret", "tea"]


async def test_a_word_that_is_erased_while_a_writer_relies_on_it_is_stored_again(
    config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is stored and the commit, another process erases the last memory that held it."""
    async with open_storage(config, OpenContext()) as first, open_storage(config, OpenContext()) as second:
        [one] = await store(first, put("secret tea"))
        plain = Flusher.flush
        raced: list[Memory] = []

        async def late(self: Flusher, *given: Any, again: bool) -> int:
            if not raced:
                raced.append(one)
                await store(second, erase(one))
                assert await second.words(HERE) == []
            return await plain(self, *given, again=again)

        monkeypatch.setattr(Flusher, "flush", late)
        await store(first, put("secret one"), put("tea two"))
        assert raced
        assert sorted(word for word, _ in await second.words(HERE)) == ["one", "secret", "tea", "two"]


async def test_a_lone_writer_stores_a_word_again_that_was_erased_while_it_waited(
    config: PostgresConfig, reader: psycopg.Connection
) -> None:
    """The writer has looked and waits for a third one, whose new word it brings too, while the last holder is erased."""
    async with open_storage(config, OpenContext()) as first, open_storage(config, OpenContext()) as second:
        [one] = await store(first, put("secret tea"))
        new = added({HERE.namespace: [("fresh", "fresh")]})
        with psycopg.connect(reader.info.dsn) as third:
            can_send(third)
            third.execute(ADD.replace("{s}", config.schema).encode(), next(new))
            writing = asyncio.create_task(store(first, put("fresh secret")))
            await waiting(reader)
            await store(second, erase(one))
            assert not writing.done()
            third.rollback()
        await writing
        assert sorted(word for word, _ in await second.words(HERE)) == ["fresh", "secret"]


async def test_a_word_that_is_stored_while_its_last_holder_is_erased_stays(
    config: PostgresConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at who holds it and the removal, another process commits a memory that does."""
    async with open_storage(config, OpenContext()) as first, open_storage(config, OpenContext()) as second:
        [one] = await store(first, put("secret tea"))
        plain = Flusher._unheld

        async def late(self: Flusher, *given: Any) -> list[list[Any]]:
            found = await plain(self, *given)
            assert len(found[0]) == 2
            await store(first, put("more tea"))
            return found

        monkeypatch.setattr(Flusher, "_unheld", late)
        await store(second, erase(one))
        assert sorted(word for word, _ in await first.words(HERE)) == ["more", "tea"]


async def waiting(reader: psycopg.Connection) -> None:
    """Wait until somebody waits for the end of a transaction."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    async with asyncio.timeout(30):
        while reader.execute(query).fetchone() == (0,):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)


async def test_answers_whose_life_is_over_go(
    storage: PostgresStorage, config: PostgresConfig, reader: psycopg.Connection
) -> None:
    """Each write with an idempotency key takes a few of them along."""

    def claim(number: int) -> Idempotency:
        return Idempotency(scope="me", key=f"k{number}", request=b"r", now=at(number), expires_at=at(number + 60))

    for number in (*range(6), 100, 101):
        await storage.apply([put(f"n {number}")], idempotency=claim(number))
    rows = reader.execute(f"SELECT key FROM {config.schema}.answers ORDER BY expires_at".encode()).fetchall()
    assert [key for (key,) in rows] == ["k100", "k101"]
