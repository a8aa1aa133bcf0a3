"""What may be wrong with the file, and what is said about it."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, CorruptData
from sfm_core.model.namespace import Scope
from sfm_core.plugins.types import OpenContext
from sfm_core.testing.build import NOW, put, store
from sfm_sqlite.config import SqliteConfig
from sfm_sqlite.connect import connect, migrate
from sfm_sqlite.migrations import APPLICATION_ID, STEPS
from sfm_sqlite.storage import open_storage

Opening = Callable[..., Any]
NAME = "memory.sqlite3"


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of all files."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def refused(opening: Opening, **settings: Any) -> str:
    """Return the text of the error that opening ends in."""
    with pytest.raises((BackendError, ConfigError)) as caught:
        async with opening(**settings):
            raise AssertionError("it opened")
    return f"{type(caught.value).__name__}: {caught.value}"


async def test_the_files_are_for_the_owner_alone(opening: Opening, tmp_path: Path) -> None:
    """Write-ahead log and shared memory too."""
    async with opening() as storage:
        await store(storage, put("one"))
        found = modes(tmp_path)
    assert found == {NAME: 0o600, f"{NAME}-wal": 0o600, f"{NAME}-shm": 0o600}


async def test_closing_leaves_one_file(opening: Opening, tmp_path: Path) -> None:
    """Everything is in it."""
    async with opening() as storage:
        await store(storage, put("one"))
    assert list(modes(tmp_path)) == [NAME]


@pytest.mark.parametrize("content", [b"no database at all, but text" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_damaged_file_is_refused_and_left_alone(opening: Opening, tmp_path: Path, content: bytes) -> None:
    """By name, before anything is written."""
    (tmp_path / NAME).write_bytes(content)
    assert (await refused(opening)).startswith("CorruptData: sqlite/storage: ")
    assert (tmp_path / NAME).read_bytes() == content


async def test_damage_inside_is_reported_when_it_is_met(opening: Opening, tmp_path: Path) -> None:
    """As CorruptData, whether opening meets it or a read."""
    async with opening() as storage:
        stored = await store(storage, *(put(f"memory {n} " + "x" * 900) for n in range(200)))
    whole = bytearray((tmp_path / NAME).read_bytes())
    for page in range(2, len(whole) // 4096):
        whole[page * 4096 : page * 4096 + 64] = b"\xee" * 64
    (tmp_path / NAME).write_bytes(whole)
    with pytest.raises(CorruptData, match="sqlite/storage"):
        await get_all(opening, [one.id for one in stored])


async def get_all(opening: Opening, ids: list[str]) -> None:
    async with opening() as storage:
        await storage.get(ids, now=NOW)


async def test_a_newer_schema_is_refused_and_left_alone(opening: Opening, tmp_path: Path) -> None:
    """The message names both versions."""
    async with opening() as storage:
        await store(storage, put("one"))
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / NAME).read_bytes()
    message = await refused(opening)
    assert message.startswith("CorruptData")
    assert "version 99" in message
    assert f"knows {len(STEPS)}" in message
    assert (tmp_path / NAME).read_bytes() == before


async def test_another_programs_database_is_refused_and_left_alone(opening: Opening, tmp_path: Path) -> None:
    """It is not ours to write to."""
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    assert "another program's database" in await refused(opening)
    with sqlite3.connect(tmp_path / NAME) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()


async def test_a_locked_file_is_unavailable(opening: Opening, tmp_path: Path) -> None:
    """Writes wait as long as they were told to, reads go on, and all is well afterwards."""
    async with opening(busy_timeout=0.05) as storage:
        [one] = await store(storage, put("one"))
        other = sqlite3.connect(tmp_path / NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendUnavailable, match="sqlite/storage: the file is locked"):
            await storage.apply([put("two")])
        assert await storage.get([one.id], now=NOW) == [one]
        other.execute("ROLLBACK")
        other.close()
        await store(storage, put("two"))


async def test_a_folder_that_is_not_there_is_a_config_error(opening: Opening, tmp_path: Path) -> None:
    """Nothing is created outside the data directory's own files."""
    assert (await refused(opening, path=str(tmp_path / "no" / NAME))).startswith("ConfigError: sqlite/storage: ")
    with pytest.raises(ConfigError, match="SFM_DATA_DIR"):
        async with open_storage(SqliteConfig(), OpenContext()):
            raise AssertionError("it opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write anywhere")
async def test_a_folder_that_is_not_writable_is_a_config_error(opening: Opening, tmp_path: Path) -> None:
    """It says why."""
    os.chmod(tmp_path, 0o500)
    try:
        assert "ermission" in await refused(opening)
    finally:
        os.chmod(tmp_path, 0o700)


async def test_a_missing_file_is_not_created_when_schema_may_not_be(opening: Opening, tmp_path: Path) -> None:
    """Migrations are a command then."""
    assert "sfm migrate" in await refused(opening, create=False)
    assert modes(tmp_path) == {}
    (tmp_path / NAME).touch()
    assert "sfm migrate" in await refused(opening, create=False)
    async with opening(), opening(create=False) as storage:
        await store(storage, put("one"))


async def test_a_store_opened_for_reading_reads_and_refuses_writes(opening: Opening) -> None:
    """While another writes."""
    async with opening() as writer, opening(read_only=True) as reader:
        [one] = await store(writer, put("one"))
        assert await reader.get([one.id], now=NOW) == [one]
        await reader.check()
        with pytest.raises(BackendError, match="reading only"):
            await reader.apply([put("two")])


def test_missing_steps_are_applied_in_order_and_only_once(tmp_path: Path) -> None:
    """A file of version 1 is brought to version 3, with what it holds."""
    steps = (
        STEPS[0],
        "ALTER TABLE erased ADD COLUMN reason TEXT;\nCREATE TABLE extra (a);\n",
        "INSERT INTO extra VALUES (3)",
    )
    path = tmp_path / NAME
    path.touch()
    for known in (1, 3, 3):
        connection = connect(path, timeout=1, synchronous="FULL", cache_kib=100)
        migrate(connection, steps[:known], application_id=APPLICATION_ID, where="test")
        if known == 1:
            connection.execute("INSERT INTO erased VALUES (x'00')")
        connection.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("SELECT * FROM erased, extra").fetchall() == [(b"\0", None, 3)]
    connection.close()


async def test_words_of_a_file_of_version_1_are_kept(opening: Opening, tmp_path: Path) -> None:
    """They are in the same order, in rows of another table; those of an emptied row are not there."""
    path = tmp_path / NAME
    path.touch()
    connection = connect(path, timeout=1, synchronous="FULL", cache_kib=100)
    migrate(connection, STEPS[:1], application_id=APPLICATION_ID, where="test")
    connection.execute("INSERT INTO namespaces (num, name) VALUES (1, 'a'), (2, 'b')")
    rows = [(1, "zebras", "zebra"), (2, 'a"b', "ab"), (1, "apples", "apple"), (None, None, None), (2, "tea", "tea")]
    connection.executemany("INSERT INTO words (ns, key, word, stem) VALUES (?, 7, ?, ?)", rows)
    connection.close()
    async with opening() as storage:
        assert await storage.words(Scope("a")) == [("zebras", "zebra"), ("apples", "apple")]
        assert await storage.words(Scope("b")) == [('a"b', "ab"), ("tea", "tea")]


def test_a_failing_step_changes_nothing(tmp_path: Path) -> None:
    """The file stays at the version it had."""
    path = tmp_path / NAME
    path.touch()
    connection = connect(path, timeout=1, synchronous="FULL", cache_kib=100)
    migrate(connection, STEPS, application_id=APPLICATION_ID, where="test")
    broken = (*STEPS, "CREATE TABLE extra (a);\nINSERT INTO nowhere VALUES (1)")
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, broken, application_id=APPLICATION_ID, where="test")
    assert connection.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").fetchone() == (0,)
    connection.close()
