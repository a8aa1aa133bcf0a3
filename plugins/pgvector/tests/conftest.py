"""What the tests of the index share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest

from sfm_core.config.secret import Secret
from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_core.testing.build import memory
from sfm_core.testing.servers.postgres import PostgresAt
from sfm_core.testing.vectors import point
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


@pytest.fixture
def peek(database_url: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Runs a statement beside the index and returns its rows."""

    def run(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description is not None else []

    return run


@pytest.fixture
def clustered() -> Clustered:
    """3,000 memories around 60 directions; one in a hundred is tagged."""
    return Clustered(3_000, 60)


class Clustered:
    """Points around random directions in one namespace, and the truth about them."""

    def __init__(self, count: int, centres: int, dimension: int = 16) -> None:
        self._draw = np.random.default_rng(11)
        self._centres = self._draw.normal(size=(centres, dimension))
        self.rows = self._near(count)
        self.tagged = self._draw.permutation(count) < count // 100
        memories = [memory(f"n {n}", tags=("rare",) if tag else ()) for n, tag in enumerate(self.tagged)]
        self.points = [point(one, row) for one, row in zip(memories, self.rows.tolist(), strict=True)]

    def questions(self, count: int) -> list[list[float]]:
        """Return directions near those of the points."""
        rows: list[list[float]] = self._near(count).tolist()
        return rows

    def nearest(self, question: Sequence[float], limit: int, among: Any = True) -> set[str]:
        """Return the ids of the true nearest ones of those that the mask `among` leaves."""
        cosines = np.where(among, self.rows @ np.asarray(question), -2.0)
        return {self.points[place].id for place in np.argsort(-cosines)[:limit]}

    def _near(self, count: int) -> Any:
        chosen = self._draw.integers(0, len(self._centres), count)
        rows = self._centres[chosen] + 0.5 * self._draw.normal(size=(count, self._centres.shape[1]))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
