"""What is looked at before an index is used, and what is said when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from sfm_core.config.secret import Secret
from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, ConfigError
from sfm_core.model.filter import parse_filter
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Point, Space
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_core.testing.vectors import point
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.vectors import open_vectors

SPACE = Space(8, "test/8")
UP = [1.0] + [0.0] * 7


def settings(url: str, **others: Any) -> PgvectorConfig:
    return PgvectorConfig(url=Secret(url), connect_timeout=10.0, statement_timeout=60.0, **others)


@pytest.fixture
def execute(postgres_database: str) -> Any:
    """Runs statements in the test's own database, as its superuser."""

    def run(*statements: str) -> None:
        with psycopg.connect(postgres_database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    return run


@pytest.fixture
def plain_user(postgres_server: PostgresAt, postgres_database: str, execute: Any) -> Iterator[str]:
    """The URL of the test's database for a user who may make schemas there, but no extension."""
    name = f"plain_{postgres_database.rpartition('_')[2]}"
    execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw-of-plain'")
    yield postgres_database.replace("//postgres", f"//{name}:pw-of-plain", 1)
    execute(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


async def test_everything_that_is_missing_is_made(postgres_database: str) -> None:
    """Extension, schema, table: in an empty database, by whoever comes first, and by several at once."""

    async def work(number: int) -> None:
        async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)) as vectors:
            await vectors.upsert([point(memory(f"n {number}"), UP)])

    await asyncio.gather(*map(work, range(4)))
    async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)) as vectors:
        assert await vectors.count(ALL) == 4


async def test_nothing_is_made_where_nothing_may_be(postgres_database: str, execute: Any) -> None:
    """First the extension is missing, then the schema, then the table; each error names the command that helps."""
    closed = OpenContext(space=SPACE, create=False)
    for lacks in ("`CREATE EXTENSION vector`", "`sfm migrate`"):
        with pytest.raises(ConfigError, match=lacks):
            async with open_vectors(settings(postgres_database), closed):
                pass
        execute("CREATE EXTENSION IF NOT EXISTS vector")
    async with open_vectors(settings(postgres_database), OpenContext()):
        pass
    with pytest.raises(ConfigError, match="`sfm migrate`"):
        async with open_vectors(settings(postgres_database), closed):
            pass
    async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)):
        pass
    async with open_vectors(settings(postgres_database), closed) as vectors:
        await vectors.upsert([point(memory(), UP)])
    async with open_vectors(settings(postgres_database), OpenContext(space=SPACE, read_only=True)) as vectors:
        assert await vectors.count(ALL) == 1


async def test_a_user_who_may_not_create_the_extension_is_told_who_can(plain_user: str) -> None:
    """By the command, without the password."""
    with pytest.raises(
        ConfigError, match="`CREATE EXTENSION vector` in the database as its owner or a superuser"
    ) as said:
        async with open_vectors(settings(plain_user), OpenContext(space=SPACE)):
            pass
    assert "pw-of-plain" not in f"{said.value!r} {said.value.__cause__!r}"


async def test_a_user_without_privileges_needs_the_schema_only(
    plain_user: str, postgres_database: str, execute: Any
) -> None:
    """Once the extension is there, in whatever schema, and schemas may be made."""
    name = plain_user.split("//")[1].split(":")[0]
    execute(
        'CREATE SCHEMA "Odd place"',
        'CREATE EXTENSION vector SCHEMA "Odd place"',
        f'GRANT USAGE ON SCHEMA "Odd place" TO {name}',
        f"GRANT CREATE ON DATABASE {postgres_database.rpartition('/')[2]} TO {name}",
    )
    one = memory()
    async with open_vectors(settings(plain_user, exact_below=0), OpenContext(space=SPACE)) as vectors:
        await vectors.upsert([point(one, UP)])
        assert ids_of(await vectors.search(HERE, UP, limit=9)) == [one.id]
        await vectors.clear(Space(3, "test/3"))


async def test_an_old_extension_is_refused(postgres_database: str, execute: Any) -> None:
    """By both versions and the command."""
    execute("CREATE EXTENSION vector", "UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector'")
    with pytest.raises(ConfigError, match=r"version 0\.6\.2, allowed: 0\.7 or newer.*`ALTER EXTENSION vector UPDATE`"):
        async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)):
            pass


async def test_an_extension_that_does_not_iterate_fills_filters_too(
    postgres_database: str, execute: Any, clustered: Any
) -> None:
    """As 0.7: nothing is set that it does not know, and what HNSW lets go is found exactly."""
    execute("CREATE EXTENSION vector", "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    space = Space(16, "test/16")
    async with open_vectors(settings(postgres_database, exact_below=100), OpenContext(space=space)) as vectors:
        await vectors.upsert(clustered.points[:1_000])
        execute("ANALYZE sfm_vectors.points_1")
        assert not (await vectors.greet()).extension.iterates
        for question in clustered.questions(3):
            assert len(await vectors.search(HERE, question, limit=20)) == 20


async def test_a_newer_schema_is_refused(postgres_database: str, execute: Any) -> None:
    """It is left as it is."""
    async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)):
        pass
    execute("INSERT INTO sfm_vectors.schema_versions (component, version) VALUES ('pgvector', 99)")
    with pytest.raises(ConfigError, match="have version 99"):
        async with open_vectors(settings(postgres_database), OpenContext(space=SPACE)):
            pass


async def test_an_index_of_no_space_takes_nothing(postgres_database: str) -> None:
    """Without an embedding there is nothing to be found, and a write says what is missing."""
    async with open_vectors(settings(postgres_database), OpenContext()) as vectors:
        assert await vectors.search(ALL, UP, limit=9) == []
        assert (await vectors.count(ALL), await vectors.versions([memory().id])) == (0, {})
        await vectors.check()
        for write in (vectors.upsert([point(memory(), UP)]), vectors.delete([(memory().id, 1)])):
            with pytest.raises(ConfigError, match="no embedding"):
                await write


async def test_a_point_without_a_vector_is_refused(vectors: Any) -> None:
    """Words are not indexed here; the points that came with it are not stored either."""
    one, two = memory(), memory()
    with pytest.raises(CapabilityNotSupported, match="pgvector/vectors"):
        await vectors.upsert([point(one, [1.0] * 16), Point(two.id, 1, two.namespace, None, two)])
    assert await vectors.count(ALL) == 0


async def test_too_many_dimensions_are_refused(opening: Any) -> None:
    """By their number, before anything is made."""
    with pytest.raises(ConfigError, match="16001 dimensions, allowed: at most 16000"):
        async with opening(16_001):
            pass


async def test_ids_that_are_none_are_nowhere(vectors: Any) -> None:
    """Among them or asked for; never an error."""
    await vectors.upsert([point(memory(), [1.0] * 16)])
    assert await vectors.search(ALL, [1.0] * 16, limit=9, among=["no id", ""]) == []
    assert await vectors.versions(["no id"]) == {}


async def test_texts_with_nul_are_filtered_as_all_others(vectors: Any) -> None:
    """PostgreSQL cannot hold NUL; it is written in another way, in fields and in the payload."""
    odd = memory("odd", author="a\x00b\x01", tags=("\x00",), payload={"k\x00": ["\x01\x00"]})
    plain = memory("plain", author="ab", tags=("",), payload={"k": [""]})
    await vectors.upsert([point(one, [1.0] * 16) for one in (odd, plain)])
    for field, op, value in (
        ("author", "eq", "a\x00b\x01"),
        ("author", "prefix", "a\x00"),
        ("tags", "contains", "\x00"),
        ("payload.k\x00", "contains", "\x01\x00"),
    ):
        filter = parse_filter({"field": field, "op": op, "value": value})
        assert ids_of(await vectors.search(ALL, [1.0] * 16, limit=9, filter=filter)) == [odd.id]


async def test_a_malformed_url_is_refused_without_being_shown() -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError) as said:
        async with open_vectors(PgvectorConfig(url=Secret("postgresql://u:pw-in-url@[bad")), OpenContext(space=SPACE)):
            pass
    assert "pw-in-url" not in f"{said.value!r} {said.value.__cause__!r}"


async def test_a_closed_index_stays_closed(opening: Any) -> None:
    """No connection is opened behind the back of the runtime."""
    async with opening() as vectors:
        pass
    with pytest.raises(BackendUnavailable, match="closed"):
        await vectors.count(ALL)
