"""What was erased is in no file any more."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.testing.build import HERE, NOW, erase, memory, new_id, put, remove, replacing, store, tie, write
from sfm_sqlite.storage import SqliteStorage


def files(folder: Path) -> bytes:
    """Return the bytes of all files of the data directory."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def secret(number: int) -> str:
    return f"zq{number:06d}kxv"


def full(number: int, **fields: Any) -> Memory:
    """Return a memory that holds its secret in every text field."""
    word = secret(number)
    return memory(
        f"the word is {word} " + "filler " * random.Random(number).randint(0, 120),
        payload={"key": {word: [word]}},
        author=f"{word} author",
        thread=f"{word} thread",
        position=number,
        source=f"{word} source",
        tags=(f"{word} tag",),
        **fields,
    )


async def test_no_text_field_of_any_version_leaves_a_byte(storage: SqliteStorage, tmp_path: Path) -> None:
    """Newest and older versions, tombstones, links and the vocabulary."""
    one, other = await store(storage, put(full(1)), put(memory("other")))
    await store(storage, tie(one, other, relation=secret(2), metadata={"note": secret(3)}))
    [newer] = await store(storage, replacing(one, content=f"now {secret(4)}", thread=secret(5)))
    await store(storage, tie(one, other, relation=secret(2), metadata={"note": secret(6)}))
    [gone] = await store(storage, remove(newer))
    assert all(secret(number).encode() in files(tmp_path) for number in range(1, 7))
    await store(storage, erase(gone))
    left = files(tmp_path)
    assert [secret(number) for number in range(1, 7) if secret(number).encode() in left] == []
    assert not {word for word, _ in await storage.words(ALL) if word.startswith("zq")}
    assert b"other" in left


async def test_rows_that_sqlite_moves_leave_no_copies(storage: SqliteStorage, tmp_path: Path) -> None:
    """Many inserts, growing updates and erasures in random order split and merge pages all over the file."""
    draw = random.Random(5)
    live: dict[int, Memory] = {}
    erased: list[int] = []
    for start in range(0, 1500, 50):
        stored = await store(storage, *(put(full(n, namespace=f"n{n % 7}")) for n in range(start, start + 50)))
        live.update(zip(range(start, start + 50), stored, strict=True))
        for number in draw.sample(list(live), 12):
            text = f"{secret(number)} longer " + "and longer " * draw.randint(0, 90)
            [live[number]] = await store(storage, replacing(live[number], content=text, author=secret(number) * 3))
        chosen = draw.sample(list(live), 8)
        await store(storage, *(erase(live.pop(number)) for number in chosen))
        erased += chosen
    left = files(tmp_path)
    assert [number for number in erased if secret(number).encode() in left] == []
    assert all(secret(number).encode() in left for number in live)


async def test_another_process_with_the_file_open_keeps_nothing(storage: SqliteStorage, tmp_path: Path) -> None:
    """Its connection has read what is erased, and is idle."""
    [one] = await store(storage, put(full(1)))
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM bodies').fetchall()"
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"{script}; print('read', flush=True); sys.stdin.readline()",
        str(tmp_path / "memory.sqlite3"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert reader.stdout is not None
        assert await reader.stdout.readline() == b"read\n"
        await store(storage, erase(one))
        assert secret(1).encode() not in files(tmp_path)
    finally:
        await reader.communicate(b"\n")


async def test_a_long_read_elsewhere_delays_the_wiping_to_a_later_write(tmp_path: Path, opening: Any) -> None:
    """The erasure is acknowledged and hidden; the log is emptied as soon as the other read is over."""

    async with opening(busy_timeout=0.1) as storage:
        [one] = await store(storage, put(full(1)))
        other = sqlite3.connect(tmp_path / "memory.sqlite3")
        reading = other.execute("SELECT * FROM changes, bodies")
        reading.fetchone()
        await store(storage, erase(one))
        assert await storage.locate([one.id]) == [None]
        other.close()
        await store(storage, put("later"))
        assert secret(1).encode() not in files(tmp_path)


async def test_words_that_others_hold_stay(storage: SqliteStorage) -> None:
    """By word, not by stem: another form of the word goes when nobody holds it."""

    def told(content: str, words: list[tuple[str, str]], **fields: Any) -> Any:
        given = put(content, dedupe=False, **fields)
        stems = tuple(stem for _, stem in words)
        return replace(given, analysis=replace(given.analysis, stems=stems, words=tuple(words)))

    one, two, _ = await store(
        storage,
        told("Running teapots", [("running", "run"), ("teapots", "teapot")]),
        told("Runs far", [("runs", "run"), ("far", "far")]),
        told("Teapots elsewhere", [("teapots", "teapot")], namespace="b"),
    )
    await store(storage, erase(one))
    assert sorted(await storage.words(HERE)) == [("far", "far"), ("runs", "run")]
    assert sorted(await storage.words(ALL)) == [("far", "far"), ("runs", "run"), ("teapots", "teapot")]
    await store(storage, remove(two))
    assert sorted(await storage.words(HERE)) == [("far", "far"), ("runs", "run")]
    await store(storage, erase(two))
    assert sorted(await storage.words(HERE)) == []


async def test_words_come_back_with_a_later_memory(storage: SqliteStorage) -> None:
    """What was remembered of the erased words in the process is forgotten with them."""
    [one] = await store(storage, put("teapot"))
    before = await storage.words_token(HERE)
    await store(storage, erase(one))
    assert await storage.words_token(HERE) != before
    assert sorted(await storage.words(HERE)) == []
    await store(storage, put("teapot"))
    assert sorted(await storage.words(HERE)) == [("teapot", "teapot")]


@pytest.mark.parametrize("tombstone", [True, False])
async def test_a_refused_batch_with_an_erasure_erases_nothing(storage: SqliteStorage, tombstone: bool) -> None:
    """Words and terms stay as well, and are found."""
    [one] = await store(storage, put("teapot"))
    if tombstone:
        await store(storage, remove(one))
    results = await storage.apply([erase(one), erase(one)], atomic=False)
    assert [type(result).__name__ for result in results] == ["Applied", "NotFound"]
    [two] = await store(storage, put("kettle"))
    with pytest.raises(Exception, match="is not there"):
        await write(storage, erase(two), erase(memory(id=new_id())))
    assert sorted(await storage.words(HERE)) == [("kettle", "kettle")]
    assert await storage.get([two.id], now=NOW) == [two]
