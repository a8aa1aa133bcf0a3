"""What the tests of the PostgreSQL storage share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest

from sfm_core.config.secret import Secret
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_postgres.config import PostgresConfig
from sfm_postgres.storage import PostgresStorage, open_storage


def config_of(url: str, **settings: object) -> PostgresConfig:
    """Return the configuration that leads to a schema of its own on the server of `url`."""
    given = {"url": Secret(url), "schema": f"test_{uuid4().hex}", "pool_size": 6}
    # The machine may be busy; what is proven is never how fast the server is.
    patient = {"connect_timeout": 20.0, "pool_timeout": 60.0, "statement_timeout": 60.0, "lock_timeout": 60.0}
    return PostgresConfig(**{**given, **patient, **settings})  # type: ignore[arg-type]


@pytest.fixture
def config(postgres_server: PostgresAt) -> Iterator[PostgresConfig]:
    """An empty schema of the session's server, dropped after the test."""
    config = config_of(postgres_server.url)
    yield config
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {config.schema} CASCADE".encode())


@pytest.fixture
async def storage(config: PostgresConfig) -> AsyncIterator[PostgresStorage]:
    """An empty storage."""
    async with open_storage(config, OpenContext()) as opened:
        yield opened
