"""What the tests of the SQLite backends share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sfm_core.plugins.types import OpenContext
from sfm_core.ports.vectors import Space
from sfm_sqlite.config import SqliteConfig
from sfm_sqlite.storage import SqliteStorage, open_storage
from sfm_sqlite.vectors import SqliteVectors, open_vectors

Opening = Callable[..., AbstractAsyncContextManager[SqliteStorage]]


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    """Opens the test's storage, again and beside; settings are those of `SqliteConfig` and `OpenContext`."""

    def open_it(**settings: object) -> AbstractAsyncContextManager[SqliteStorage]:
        known = {name: settings.pop(name) for name in ("create", "read_only") if name in settings}
        return open_storage(SqliteConfig(**settings), OpenContext(data_dir=tmp_path, **known))

    return open_it


@pytest.fixture
async def storage(opening: Opening) -> AsyncIterator[SqliteStorage]:
    """An empty storage."""
    async with opening() as opened:
        yield opened


@pytest.fixture
def opening_vectors(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[SqliteVectors]]:
    """Opens the test's vector index, again and beside."""

    def open_it(dimension: int = 16, **settings: object) -> AbstractAsyncContextManager[SqliteVectors]:
        space = Space(dimension, f"test/{dimension}")
        return open_vectors(SqliteConfig(**settings), OpenContext(data_dir=tmp_path, space=space))

    return open_it
