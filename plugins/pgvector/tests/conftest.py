"""What the tests of the index share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import pytest

from sfm_core.config.secret import Secret
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_pgvector.config import PgvectorConfig
from sfm_pgvector.vectors import PgvectorVectors, open_vectors

Opening = Callable[..., AbstractAsyncContextManager[PgvectorVectors]]


@pytest.fixture(scope="session")
def database_url(postgres_server: PostgresAt) -> Iterator[str]:
    """A database with the extension; every test has a schema of its own in it."""
    url = postgres_server.new_database(extensions=["vector"])
    yield url
    postgres_server.drop_database(url)


@pytest.fixture
def config(database_url: str) -> PgvectorConfig:
    """What leads to an empty schema; the machine may be busy, and what is proven is never how fast the server is."""
    schema = f"test_{uuid4().hex}"
    return PgvectorConfig(url=Secret(database_url), schema=schema, connect_timeout=10.0, statement_timeout=60.0)


@pytest.fixture
def opening(config: PgvectorConfig) -> Opening:
    """Opens the test's index, again and beside; settings are those of `PgvectorConfig` and `OpenContext`."""

    def open_it(dimension: int = 16, **settings: object) -> AbstractAsyncContextManager[PgvectorVectors]:
        context = {"space": Space(dimension, f"test/{dimension}")}
        for name in ("space", "create", "read_only", "rebuild"):
            if name in settings:
                context[name] = settings.pop(name)
        given = {name: getattr(config, name) for name in PgvectorConfig.__struct_fields__}
        return open_vectors(PgvectorConfig(**{**given, **settings}), OpenContext(**context))

    return open_it


@pytest.fixture
async def vectors(opening: Opening) -> AsyncIterator[PgvectorVectors]:
    """An empty index of 16 dimensions."""
    async with opening() as opened:
        yield opened
