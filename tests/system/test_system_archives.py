"""Export and import: whole round trips, damage, conflicts, repeats."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sfm_core.errors import Conflict, InvalidInput, LimitExceeded, NotFound, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.services.archive import Spool, spooled
from sfm_core.testing.fakes import SettableClock

Lines = list[dict[str, Any]]


async def exported(memory: AgentMemory, namespace: str | None = None) -> bytes:
    """Return an archive as bytes."""
    return b"".join([line async for line in memory.export(namespace=namespace)])


def parsed(archive: bytes) -> Lines:
    """Return the lines of an archive."""
    return [json.loads(line) for line in archive.splitlines()]


def sealed(lines: Lines) -> bytes:
    """Return an archive of these lines with a fitting checksum line in place of the last one."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines[:-1])
    counts = {
        f"{kind}": sum(line["line"] == name for line in lines)
        for kind, name in (("memories", "memory"), ("links", "link"))
    }
    end = {"line": "checksum", "algorithm": "sha256", "value": hashlib.sha256(body).hexdigest(), **counts}
    return body + json.dumps(end).encode() + b"\n"


@pytest.fixture
async def filled(memory: AgentMemory, clock: SettableClock) -> AgentMemory:
    """A memory with everything in it: versions, tombstones old and new, links, an expired one, odd values."""
    one = (await memory.remember("one é\u2028 \U0001f600", namespace="a", coordinate=[1, 2], tags=["t"])).memory
    await memory.update(one.id, content="two", payload={"n": [1, -0.0, 1e300, None, {"": True}]})
    await memory.undo(str((await memory.delete(one.id)).operation))
    two = (await memory.remember(payload={"k": 1}, namespace="a", author="Ada", thread="t", position=3)).memory
    await memory.link(one.id, two.id, weight=0.25, metadata={"why": ["x", 1.5]})
    await memory.link(two.id, one.id, relation="causes")
    gone = (await memory.remember("gone", namespace="a/b", coordinate=[1, 2])).memory
    await memory.remember("again", namespace="a/b")
    await memory.link(gone.id, (await memory.list(namespace="a/b")).items[0].id)
    await memory.delete(gone.id)
    await memory.remember("taken over", namespace="a/b", coordinate=[1, 2], derived_from=[one.id])
    await memory.remember("expired", namespace="c", expires_at=clock() + timedelta(seconds=1))
    clock.advance(5)
    return memory


async def everything(memory: AgentMemory) -> dict[str, Any]:
    """Return all that can be read of a memory but the change log."""
    lines = parsed(await exported(memory))
    ids = [line["versions"][0]["id"] for line in lines if line["line"] == "memory"]
    stats = await memory.stats()
    return {
        "lines": lines[1:-1],
        "live": (await memory.list(namespace="**")).items,
        "history": {id: (await memory.history(id)).items for id in ids},
        "stats": (stats.namespaces, stats.memories, stats.deleted, stats.versions, stats.links),
    }


async def test_a_round_trip_keeps_everything(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """Versions, tombstones of the past and the present, links and times; another import adds nothing."""
    archive = await exported(filled)
    before = await everything(filled)
    async with opening(mode="test") as other:
        report = await other.import_from([archive])
        assert (report.memories, report.links, report.added, report.skipped) == (6, 3, 9, 0)
        assert await everything(other) == before
        assert parsed(await exported(other))[1:-1] == parsed(archive)[1:-1]
        for version in (await other.history(next(iter(before["history"])))).items:
            assert await other.get(version.id, as_of=version.updated_at) if version.version != 3 else True
        again = await other.import_from([archive])
        assert (again.memories, again.links, again.added, again.skipped) == (6, 3, 0, 9)
        assert (await other.stats()).last_sequence == report.sequence
        assert await everything(other) == before
        assert (await other.recall("taken over", namespace="a/b")).hits[0].memory.content == "taken over"


async def test_a_tombstone_between_two_lives_stays_in_the_past(
    memory: AgentMemory, opening: Callable[..., Any]
) -> None:
    """After the round trip the past of that time is as empty, and the tombstone cannot be restored."""
    id = (await memory.remember("x")).memory.id
    deleted = (await memory.delete(id)).memory
    await memory.restore(id, 1)
    archive = await exported(memory)
    async with opening(mode="test") as other:
        await other.import_from([archive])
        for place in (memory, other):
            with pytest.raises(NotFound):
                await place.get(id, as_of=deleted.updated_at)
            with pytest.raises(NotFound):
                await place.restore(id, 2)


async def test_an_archive_is_of_a_namespace_or_subtree(filled: AgentMemory) -> None:
    """Or of everything, as its manifest tells."""
    for asked, names, memories in ((None, ["**"], 6), ("a", ["a"], 2), ("a/**", ["a/**"], 5), ("x", ["x"], 0)):
        lines = parsed(await exported(filled, asked))
        assert lines[0]["namespaces"] == names
        assert sum(line["line"] == "memory" for line in lines) == memories
        assert lines[-1]["memories"] == memories


async def test_a_changed_byte_anywhere_stores_nothing(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """Of every line, its edges and its middle, and some at random."""
    archive = await exported(filled)
    places = {0, 1, len(archive) - 1, len(archive) - 2}
    start = 0
    for line in archive.splitlines(keepends=True):
        places |= {start, start + len(line) // 2, start + len(line) - 2, start + len(line) - 1}
        start += len(line)
    places |= set(random.Random(1).sample(range(len(archive)), 60))
    async with opening(mode="test") as other:
        for place in sorted(places):
            for new in (archive[place] ^ 1, ord(" "), ord("\n"), 0):
                if new == archive[place]:
                    continue
                damaged = archive[:place] + bytes([new]) + archive[place + 1 :]
                with pytest.raises(InvalidInput):
                    await other.import_from([damaged])
        assert (await other.stats()).last_sequence == 0


async def test_a_cut_or_reordered_archive_stores_nothing(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """Cut at every line and inside them, lines doubled, swapped, missing or appended."""
    archive = await exported(filled)
    lines = archive.splitlines(keepends=True)
    damaged = [b"".join(lines[:n]) for n in range(len(lines))]
    damaged += [archive[:n] for n in range(0, len(archive), 97)]
    damaged += [b"".join([*lines[:n], *lines[n + 1 :]]) for n in range(len(lines))]
    damaged += [archive + line for line in lines] + [
        archive + b"\n",
        archive + b"x",
        b"\n" + archive,
        b"\xff" + archive,
    ]
    damaged += [b"".join([lines[0], lines[2], lines[1], *lines[3:]]), archive.replace(b"\n", b"\r\n"), b"{}\n", b"[]\n"]
    async with opening(mode="test") as other:
        for bad in damaged:
            with pytest.raises(InvalidInput):
                await other.import_from([bad])
        assert (await other.stats()).last_sequence == 0


def change(path: str, value: Any) -> Callable[[Lines], Lines]:
    """Return what sets a value deep in the lines of an archive."""

    def apply(lines: Lines) -> Lines:
        at: Any = lines
        *keys, last = path.split(".")
        for key in keys:
            at = at[int(key)] if isinstance(at, list) else at[key]
        at[int(last) if isinstance(at, list) else last] = value
        return lines

    return apply


FORGED: dict[str, Callable[[Lines], Lines]] = {
    "another format": change("0.format", "other"),
    "a later version": change("0.version", 2),
    "an unknown field": change("0.colour", "red"),
    "no versions": change("1.versions", []),
    "an odd id": change("1.versions.0.id", "x"),
    "another id in one version": change("1.versions.0.id", "00000000-0000-4000-8000-000000000000"),
    "another namespace in one version": change("1.versions.0.namespace", "other"),
    "a bad namespace": lambda lines: [
        {**line, "versions": [{**v, "namespace": "a/*"} for v in line["versions"]]}
        if line["line"] == "memory"
        else line
        for line in lines
    ],
    "falling versions": change("1.versions.0.version", 9),
    "version 0": change("1.versions.0.version", 0),
    "a huge version": change("1.versions.3.version", 2**64),
    "blank content": change("1.versions.0.content", " "),
    "a NUL": change("1.versions.0.content", "a\0b"),
    "a lone surrogate": change("1.versions.0.content", "\ud800"),
    "too much content": change("1.versions.0.content", "x" * (2**20 + 1)),
    "an odd kind": change("1.versions.0.kind", "dream"),
    "importance 2": change("1.versions.0.importance", 2),
    "a null importance": change("1.versions.0.importance", None),
    "a null payload": change("1.versions.0.payload", None),
    "a deep payload": change("1.versions.0.payload", json.loads('{"a":' * 70 + "1" + "}" * 70)),
    "a huge number": change("1.versions.0.payload", {"a": 2**64}),
    "equal tags": change("1.versions.0.tags", ["a", "a"]),
    "an empty coordinate": change("1.versions.0.coordinate", []),
    "no time": change("1.versions.0.created_at", "yesterday"),
    "unknown tombstones": change("1.tombstones", [99]),
    "the newest as an earlier tombstone": change("1.tombstones", [4]),
    "the same memory twice": lambda lines: [*lines[:2], *lines[1:]],
    "a link to itself": change("-2.link.target", "00000000-0000-4000-8000-000000000000"),
    "a link of weight 0": change("-2.link.weight", 0),
    "a link of weight -1": change("-2.link.weight", -1),
    "a blank relation": change("-2.link.relation", " "),
    "odd metadata": change("-2.link.metadata", {"a": "\0"}),
    "another namespace of a link": change("-2.link.namespace", "other"),
    "a link time without zone": change("-2.link.created_at", "2024-01-01T00:00:00"),
    "a link without its end": lambda lines: [
        line for line in lines if line["line"] != "memory" or line["versions"][0]["content"] != "again"
    ],
    "a coordinate held twice": lambda lines: [
        {**line, "deleted": False} if line["line"] == "memory" else line for line in lines
    ],
}


@pytest.mark.parametrize("forgery", FORGED)
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_forged_archive_stores_nothing(filled: AgentMemory, opening: Callable[..., Any], forgery: str) -> None:
    """Its checksum fits, but a value is refused; the error names the line."""
    archive = sealed(FORGED[forgery](parsed(await exported(filled))))
    async with opening(mode="test") as other:
        with pytest.raises(InvalidInput, match="line "):
            await other.import_from([archive])
        assert (await other.stats()).last_sequence == 0


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_line_of_many_levels_is_refused(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """100,000 of them do not break the reader."""
    lines = (await exported(filled)).splitlines(keepends=True)
    lines.insert(1, b'{"line":"memory","versions":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    async with opening(mode="test") as other:
        with pytest.raises(InvalidInput, match="line 2"):
            await other.import_from(lines)


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_times_of_other_zones_are_taken_as_instants(memory: AgentMemory, opening: Callable[..., Any]) -> None:
    """And are told in UTC afterwards."""
    await memory.remember("x", occurred_at="2024-05-08T12:00:00Z")
    lines = parsed(await exported(memory))
    lines[1]["versions"][0]["occurred_at"] = "2024-05-08T14:00:00+02:00"
    async with opening(mode="test") as other:
        assert (await other.import_from([sealed(lines)])).added == 1
        [stored] = (await other.list()).items
        assert stored.occurred_at.isoformat() == "2024-05-08T12:00:00+00:00"
        assert (await other.import_from([sealed(lines)])).added == 0


async def test_an_id_or_coordinate_of_another_memory_stores_nothing(
    filled: AgentMemory, opening: Callable[..., Any]
) -> None:
    """However late in the archive it comes."""
    archive = await exported(filled)
    last = [line for line in parsed(archive) if line["line"] == "memory"][-1]["versions"][0]["id"]
    for item in ({"content": "else", "id": last}, {"content": "else", "namespace": "a/b", "coordinate": [1, 2]}):
        async with opening(mode="test") as other:
            await other.remember(**item)
            with pytest.raises(Conflict):
                await other.import_from([archive])
            assert (await other.stats()).last_sequence == 1
    one = parsed(archive)[1]["versions"][0]["id"]
    await filled.update(one, author="changed since")
    before = (await filled.stats()).last_sequence
    with pytest.raises(Conflict):
        await filled.import_from([archive])
    assert (await filled.stats()).last_sequence == before


async def test_an_archive_does_not_bring_back_what_was_erased(filled: AgentMemory) -> None:
    """The rest is there already; the erased one and its links are skipped."""
    archive = await exported(filled)
    one = parsed(archive)[1]["versions"][0]["id"]
    await filled.erase(one)
    before = await everything(filled)
    report = await filled.import_from([archive])
    assert (report.added, report.skipped) == (0, 9)
    assert await everything(filled) == before
    with pytest.raises(NotFound):
        await filled.get(one)


async def test_an_imported_tombstone_is_not_found(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """By no arm of recall, with vectors neither."""
    archive = await exported(filled)

    def embed(texts: list[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    async with opening(mode="test", embed=embed) as other:
        await other.import_from([archive])
        for namespace in ("a/b", "c"):
            found = [h.memory.content for h in (await other.recall_vector([1.0, 4.0], namespace=namespace, k=9)).hits]
            assert "gone" not in found
            assert "gone" not in [h.memory.content for h in (await other.recall("gone", namespace=namespace)).hits]
        report = await other.services.maintenance.reconcile(other.principal, repair=False)
        assert (report.missing, report.stale, report.orphaned) == (0, 0, 0)


async def test_archives_go_through_files(filled: AgentMemory, opening: Callable[..., Any], tmp_path: Path) -> None:
    """Only this user can read them, an existing file is never overwritten, a failed export leaves none behind."""
    path = tmp_path / "archive.ndjson"
    size = await filled.export_to(path)
    assert (path.stat().st_size, path.stat().st_mode & 0o777) == (size, 0o600)
    with pytest.raises(InvalidInput, match="path"):
        await filled.export_to(path)
    with pytest.raises(InvalidInput, match="namespace"):
        await filled.export_to(tmp_path / "bad", namespace="a*")
    assert not (tmp_path / "bad").exists()
    async with opening(mode="test") as other:
        assert (await other.import_from(str(path))).added == 9
        assert (await other.import_from(path)).added == 0


async def test_pieces_of_any_size_make_an_archive(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """Split inside lines, empty pieces, other kinds of bytes."""
    archive = await exported(filled)
    pieces: list[Any] = [archive[n : n + 7] for n in range(0, len(archive), 7)]
    pieces.insert(3, b"")
    pieces[5] = bytearray(pieces[5])
    pieces[6] = memoryview(pieces[6])
    async with opening(mode="test") as other:
        assert (await other.import_from(pieces)).added == 9


async def test_a_failing_source_stores_nothing(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """Its error reaches the caller."""
    archive = await exported(filled)

    async def broken() -> Any:
        yield archive[:-10]
        raise ConnectionResetError

    async with opening(mode="test") as other:
        with pytest.raises(ConnectionResetError):
            await other.import_from(broken())
        assert (await other.stats()).last_sequence == 0


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_a_large_archive_is_kept_in_the_data_directory_alone(
    memory: AgentMemory, opening: Callable[..., Any], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is checked, and nowhere afterwards."""
    monkeypatch.setattr("sfm_core.services.archive._SPOOL", 1)
    asked: list[Any] = []
    real = spooled

    def watched(place: Path | None) -> Any:
        asked.append(place)
        return real(place)

    monkeypatch.setattr("sfm_core.services.transfer.spooled", watched)
    await memory.remember("x")
    before = sorted(os.listdir(data_dir))
    await memory.import_from([await exported(memory)])
    assert asked == [data_dir]
    assert sorted(os.listdir(data_dir)) == before


async def test_without_a_data_directory_an_archive_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is kept in memory then; the error says what to set."""
    monkeypatch.setattr("sfm_core.services.archive._IN_MEMORY", 100)

    async def chunks() -> Any:
        for _ in range(3):
            yield b"x" * 50

    spool: Spool
    with spooled(None) as spool, pytest.raises(LimitExceeded, match="SFM_DATA_DIR"):
        await spool.fill(chunks())


async def test_what_is_written_meanwhile_does_not_spoil_an_archive(
    memory: AgentMemory, opening: Callable[..., Any]
) -> None:
    """Memories that come, change, are linked or erased while an export runs."""
    stored = await memory.remember_many([{"content": f"m{n}"} for n in range(450)])
    ids = [result.memory.id for result in stored if result.memory is not None]
    for n in range(0, 40, 2):
        await memory.link(ids[n], ids[n + 1])
    lines: list[bytes] = []
    async for line in memory.export():
        lines.append(line)
        step = len(lines)
        if step > 9:
            continue
        await memory.update(ids[-step], content=f"changed {step}")
        await memory.erase(ids[step])
        await memory.delete(ids[-10 - step])
        new = (await memory.remember(f"new {step}")).memory.id
        await memory.link(ids[-step], new)
    async with opening(mode="test") as other:
        report = await other.import_from(lines)
        assert report.added == report.memories + report.links
        for id in {m.id for m in (await other.list(limit=1000)).items}:
            history = (await other.history(id)).items
            assert await is_erased(memory, id) or history == (await memory.history(id)).items[-len(history) :]


async def is_erased(memory: AgentMemory, id: str) -> bool:
    """Tell whether a memory is gone for good."""
    try:
        await memory.history(id)
    except NotFound:
        return True
    return False


async def test_progress_is_told(filled: AgentMemory, opening: Callable[..., Any]) -> None:
    """In rising steps up to all lines."""
    archive = await exported(filled)
    steps: list[tuple[int, int]] = []

    async def chunks() -> Any:
        yield archive

    async with opening(mode="test") as other:
        await other.services.transfer.import_(other.principal, chunks(), progress=lambda *step: steps.append(step))
    assert steps == [(6, 9), (9, 9)]


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_an_empty_archive_is_an_archive(memory: AgentMemory) -> None:
    """Of nothing; no bytes at all are none."""
    assert (await memory.import_from([await exported(memory)])).memories == 0
    for nothing in ([], [b""]):
        with pytest.raises(SfmError):
            await memory.import_from(nothing)
