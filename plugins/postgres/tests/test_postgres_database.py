"""Connections: retries, limits, secrets, migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.servers.postgres import PostgresAt, PostgresServer
from sfm_postgres import database as module
from sfm_postgres.config import PostgresConfig
from sfm_postgres.database import Database, open_database
from sfm_postgres.migrations import migrate
from sfm_postgres.pool import Connection
from sfm_postgres.storage import open_storage

WHERE = "postgres/storage"


@pytest.fixture
async def database(config: PostgresConfig) -> AsyncIterator[Database]:
    """An open database with a table of two rows."""
    async with open_database(config, WHERE) as database:
        await database.rows("CREATE SCHEMA {s}")
        await database.rows("CREATE TABLE {s}.pair (id integer PRIMARY KEY, value text UNIQUE)")
        await database.rows("INSERT INTO {s}.pair VALUES (1, 'a'), (2, 'b')")
        yield database


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    """Two transactions that wait for each other both end well."""
    met = asyncio.Barrier(2)
    runs = 0

    def crossing(first: int, second: int) -> asyncio.Task[None]:
        fresh = True

        async def work(connection: Connection) -> None:
            nonlocal fresh, runs
            runs += 1
            update = database.text("UPDATE {s}.pair SET value = value || 'x' WHERE id = %s")
            await connection.execute(update, [first])
            if fresh:
                fresh = False
                await met.wait()
            await connection.execute(update, [second])

        return asyncio.ensure_future(database.transaction(work))

    await asyncio.gather(crossing(1, 2), crossing(2, 1))
    assert runs >= 3  # the one that was taken back may come in the way once more
    assert await database.rows("SELECT value FROM {s}.pair ORDER BY id") == [("axx",), ("bxx",)]


async def test_a_serialisation_failure_is_tried_again(database: Database) -> None:
    """Both increments count."""
    met = asyncio.Barrier(2)
    runs = 0

    async def add(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        await connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await connection.execute(b"SELECT 1")
        if runs <= 2:
            await met.wait()
        await connection.execute(database.text("UPDATE {s}.pair SET value = value || 'x' WHERE id = 1"))

    await asyncio.gather(database.transaction(add), database.transaction(add))
    assert runs == 3
    assert await database.rows("SELECT value FROM {s}.pair WHERE id = 1") == [("axx",)]


async def test_a_transaction_that_always_collides_gives_up(database: Database) -> None:
    """As unavailable, after a bounded number of times."""
    runs = 0

    async def collide(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        await connection.execute(b"DO $$ BEGIN RAISE serialization_failure; END $$")

    with pytest.raises(BackendUnavailable, match="collided"):
        await database.transaction(collide)
    assert runs > 2


async def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    """Neither rows nor an open transaction on the connection that goes back."""

    async def fail(connection: Connection) -> None:
        await connection.execute(database.text("UPDATE {s}.pair SET value = 'z' WHERE id = 1"))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.transaction(fail)
    assert await database.rows("SELECT value FROM {s}.pair WHERE id = 1") == [("a",)]


async def test_when_all_connections_are_in_use_a_caller_is_told(config: PostgresConfig) -> None:
    """After the pool's timeout, by a message that names the limit; later callers are served again."""
    async with open_database(replace(config, pool_size=2, pool_timeout=0.2), WHERE) as database:
        held, release = asyncio.Barrier(3), asyncio.Event()

        async def hold(connection: Connection) -> None:
            await held.wait()
            await release.wait()

        holders = [asyncio.create_task(database.use(hold)) for _ in range(2)]
        await held.wait()
        with pytest.raises(BackendUnavailable, match="all 2 connections are in use"):
            await database.rows("SELECT 1")
        release.set()
        await asyncio.gather(*holders)
        assert await database.rows("SELECT 1") == [(1,)]


async def test_a_statement_that_takes_too_long_is_stopped(config: PostgresConfig) -> None:
    """By the server, and the connection serves the next one."""
    async with open_database(replace(config, statement_timeout=0.2, pool_size=1), WHERE) as database:
        with pytest.raises(BackendUnavailable, match="timeout"):
            await database.rows("SELECT pg_sleep(60)")
        assert await database.rows("SELECT 1") == [(1,)]


@pytest.mark.parametrize("pooling", [False, True])
async def test_limits_hold_inside_transactions(config: PostgresConfig, pooling: bool) -> None:
    """Whether they are the session's or the transaction's."""
    async with open_database(replace(config, lock_timeout=0.25, transaction_pooling=pooling), WHERE) as database:

        async def ask(connection: Connection) -> object:
            return await (await connection.execute(b"SHOW lock_timeout")).fetchone()

        assert await database.transaction(ask) == ("250ms",)


async def test_a_cancelled_caller_frees_its_connection(config: PostgresConfig) -> None:
    """Without waiting for the server, on which the statement ends soon, too."""
    async with open_database(replace(config, pool_size=1), WHERE) as database:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await database.rows("SELECT pg_sleep(59.7)")
        async with asyncio.timeout(30):
            query = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(59.7)' AND state = 'active'"
            while await database.rows(query):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.05)


async def test_errors_tell_no_values(database: Database) -> None:
    """The driver's text quotes what was given; ours does not, nor does what is chained to it."""
    for sql in (
        "INSERT INTO {s}.pair VALUES (3, 'a'), (4, %s), (5, %s)",
        "SELECT %s::text::uuid, %s",
        "SELECT 1 FROM {s}.nothing WHERE 'x' IN (%s, %s)",
    ):
        with pytest.raises((BackendError, ConfigError)) as caught:
            await database.rows(sql, ["hush-hush", "hush-hush"])
        assert "hush" not in str(caught.value) + repr(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hush-hush@127.0.0.1:1/x",
        "postgresql://me:hush-hush@[::1/x",
        "hush-hush",
        "host=127.0.0.1 password=hush-hush port=1",
        "postgresql://me:hush-hush@127.0.0.1:1/x?sslmode=hush-hush",
    ],
)
async def test_no_error_tells_a_secret(url: str) -> None:
    """Whatever is wrong with a connection string, its password is not told."""
    config = PostgresConfig(url=Secret(url))
    assert "hush" not in repr(config)
    with pytest.raises((ConfigError, BackendUnavailable)) as caught:
        async with open_database(config, WHERE):
            pass
    assert str(caught.value).startswith("postgres/storage: ")
    assert "hush" not in str(caught.value) + repr(caught.value.__cause__)


async def test_a_missing_database_or_user_is_a_setting(postgres_server: PostgresAt) -> None:
    """Not something to wait for."""
    for url in (f"{postgres_server.url}_none", postgres_server.url.replace("postgres@", "nobody-here@")):
        with pytest.raises(ConfigError, match="no such database or user"):
            async with open_database(PostgresConfig(url=Secret(url)), WHERE):
                pass


async def test_an_old_server_is_refused(config: PostgresConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its version and the least that is supported."""
    monkeypatch.setattr(module, "MINIMUM_VERSION", 99)
    with pytest.raises(ConfigError, match="allowed: 99 or newer"):
        async with open_database(config, WHERE):
            pass


async def test_another_encoding_is_refused(postgres_server: PostgresAt) -> None:
    """Texts need UTF-8."""
    postgres_server.psql("DROP DATABASE IF EXISTS sfm_latin")
    postgres_server.psql("CREATE DATABASE sfm_latin ENCODING LATIN1 TEMPLATE template0")
    url = postgres_server.url.rsplit("/", 1)[0] + "/sfm_latin"
    try:
        with pytest.raises(ConfigError, match="LATIN1, allowed: UTF8"):
            async with open_database(PostgresConfig(url=Secret(url)), WHERE):
                pass
    finally:
        postgres_server.psql("DROP DATABASE sfm_latin WITH (FORCE)")


@pytest.mark.parametrize("schema", ["", "1a", "A", "a-b", 'a"b', "x" * 49])
def test_a_schema_has_a_plain_name(schema: str) -> None:
    """So that it can stand in every statement."""
    with pytest.raises(ValueError, match="schema"):
        PostgresConfig(url=Secret("postgresql://h/d"), schema=schema)


async def test_a_missing_schema_is_not_created_unasked(config: PostgresConfig) -> None:
    """The message names the command that does; afterwards it opens."""
    with pytest.raises(ConfigError, match="sfm migrate"):
        async with open_storage(config, OpenContext(create=False)):
            pass
    async with open_storage(config, OpenContext()):
        pass
    async with open_storage(config, OpenContext(create=False)) as storage:
        assert await storage.last_sequence() == 0


async def test_racing_openings_migrate_once(config: PostgresConfig) -> None:
    """All of them open."""

    async def open_and_ask() -> int:
        async with open_storage(config, OpenContext()) as storage:
            return await storage.last_sequence()

    assert await asyncio.gather(*(open_and_ask() for _ in range(6))) == [0] * 6


async def test_tables_of_a_newer_release_are_refused(config: PostgresConfig) -> None:
    """And left as they are."""
    async with open_database(config, WHERE) as database:
        await migrate(database, "sfm_postgres.sql", component="postgres", create=True)
        await database.rows("INSERT INTO {s}.schema_versions (component, version) VALUES ('postgres', 99)")
    with pytest.raises(ConfigError, match="have version 99"):
        async with open_storage(config, OpenContext()):
            pass


async def test_a_server_without_tls_is_refused_where_tls_is_asked_for(own_postgres: PostgresServer) -> None:
    """As a setting, not as something to wait for; by the setting as by the URL."""
    url = own_postgres.url
    for config in (
        PostgresConfig(url=Secret(url), sslmode="require"),
        PostgresConfig(url=Secret(f"{url}?sslmode=verify-full")),
    ):
        with pytest.raises(ConfigError, match=r"TLS|certificate"):
            async with open_database(config, WHERE):
                pass
