"""What ranking reads of memories: candidates with their thread neighbours, and authors by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Candidate
from sfm_sqlite.codec import blob_or_none, encode_json, id_of, key_of, moment
from sfm_sqlite.filters import compile_filter
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import FROM_CURRENT, within

__all__ = ["Candidates", "authors"]

_LIVE = "r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?)"
_NEIGHBOURS = """(SELECT group_concat(num) FROM (
    SELECT n.num FROM records n INDEXED BY records_thread
    WHERE n.deleted = 0 AND n.thread IS NOT NULL AND n.position IS NOT NULL AND n.ns = r.ns AND n.thread = r.thread
        AND (n.position, n.id) {0} (r.position, r.id) AND (n.expires_at IS NULL OR n.expires_at > ?)
    ORDER BY n.position {1}, n.id {1} LIMIT 2))"""
_AROUND = f"{_NEIGHBOURS.format('<', 'DESC')}, {_NEIGHBOURS.format('>', 'ASC')}"
_ROWS = """SELECT r.num, r.id, r.version, r.ns, b.author, b.thread, r.position, r.occurred_at, r.importance, r.created_at,
    r.length, r.asks, r.traits FROM records r CROSS JOIN bodies b ON b.num = r.body WHERE r.num IN """
_CHANGED = "SELECT sequence, num FROM changes WHERE sequence > ? ORDER BY sequence LIMIT ?"
_LAST = "SELECT coalesce(max(sequence), 0) FROM changes"
_MOST_CHANGED = 2000
_MOST_KEPT = 16_000
_CHUNK = 500

_AUTHOR_KEYS = """SELECT n.num, k.value FROM namespaces n CROSS JOIN json_each(?) k WHERE {0} AND EXISTS (
    SELECT 1 FROM records r WHERE r.ns = n.num AND r.author_key = k.value AND r.deleted = 0)"""
# Steps from one spelling of the author to the next in the index, however many memories there are of each.
_AUTHORS = """WITH RECURSIVE spelling (author) AS (
    SELECT min(author) FROM records WHERE ns = :ns AND author_key = :key AND deleted = 0
    UNION ALL
    SELECT (SELECT min(author) FROM records WHERE ns = :ns AND author_key = :key AND deleted = 0 AND author > s.author)
    FROM spelling s WHERE s.author IS NOT NULL)
    SELECT (SELECT b.author FROM records r CROSS JOIN bodies b ON b.num = r.body
        WHERE r.ns = :ns AND r.author_key = :key AND r.author = s.author AND r.deleted = 0 LIMIT 1)
    FROM spelling s WHERE s.author IS NOT NULL"""


class Candidates:
    """Reads candidates, keeping those it has read until the change log says that they changed. For one thread."""

    def __init__(self) -> None:
        self._kept: dict[int, Candidate] = {}
        self._seen: int | None = None

    def read(
        self, reader: Reader, ids: Sequence[str], *, now: int, around: bool, filter: Filter | None
    ) -> dict[str, Candidate]:
        """Read `FullText.candidates`."""
        self._refresh(reader)
        asked = _asked(reader, ids, now, around=around)
        near = {num for _, before, after in asked for num in (*before, *after)}
        self._load(reader, near.union(num for num, _, _ in asked))
        kept = self._kept
        found: dict[str, Candidate] = {}
        for num, before, after in asked:
            if (one := kept.get(num)) is not None:
                found[one.id] = _placed(one, self._ids(before), self._ids(after)) if before or after else one
        near.difference_update(num for num, _, _ in asked)
        for num in near if filter is None else _passing(reader, near, filter):
            if (one := kept.get(num)) is not None:
                found[one.id] = one
        return found

    def _ids(self, nums: Iterable[int]) -> tuple[str, ...]:
        return tuple([self._kept[num].id for num in nums if num in self._kept])

    def _refresh(self, reader: Reader) -> None:
        rows = [] if self._seen is None else reader.connection.execute(_CHANGED, (self._seen, _MOST_CHANGED)).fetchall()
        if self._seen is None or len(rows) == _MOST_CHANGED or len(self._kept) > _MOST_KEPT:
            self._kept.clear()
            (self._seen,) = reader.connection.execute(_LAST).fetchone()
        elif rows:
            for _, num in rows:
                self._kept.pop(num, None)
            self._seen = rows[-1][0]

    def _load(self, reader: Reader, nums: Iterable[int]) -> None:
        missing = [num for num in nums if num not in self._kept]
        for start in range(0, len(missing), _CHUNK):
            part = ", ".join(map(str, missing[start : start + _CHUNK]))
            for row in reader.connection.execute(f"{_ROWS} ({part})"):
                self._kept[row[0]] = _candidate(row, reader)


def authors(reader: Reader, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Read `FullText.authors`."""
    names = {key_of(key): key for key in keys}
    test, values = within(scope, "n.num")
    found: dict[str, set[str]] = {}
    for ns, key in reader.connection.execute(_AUTHOR_KEYS.format(test), (encode_json(list(names)), *values)).fetchall():
        spellings = reader.connection.execute(_AUTHORS, {"ns": ns, "key": key})
        found.setdefault(names[key], set()).update(author for (author,) in spellings if author is not None)
    return {key: sorted(spellings) for key, spellings in found.items()}


def _asked(
    reader: Reader, ids: Sequence[str], now: int, *, around: bool
) -> list[tuple[int, Sequence[int], Sequence[int]]]:
    """Return (number, numbers before, numbers after) of the live memories among `ids`."""
    blobs = list(dict.fromkeys(blob for id in ids if (blob := blob_or_none(id)) is not None))
    rows: list[Any] = []
    for start in range(0, len(blobs), _CHUNK):
        part = blobs[start : start + _CHUNK]
        sql = f"""SELECT r.num, {_AROUND if around else "NULL, NULL"} FROM records r
            WHERE r.id IN ({", ".join("?" * len(part))}) AND {_LIVE}"""  # noqa: S608
        rows += reader.connection.execute(sql, (*((now, now) if around else ()), *part, now))
    return [(num, _split(before), _split(after)) for num, before, after in rows]


def _passing(reader: Reader, nums: Iterable[int], filter: Filter) -> list[int]:
    condition, values = compile_filter(filter)
    sql = f"SELECT r.num FROM {FROM_CURRENT} WHERE r.num IN (SELECT value FROM json_each(?)) AND {condition}"  # noqa: S608
    return [num for (num,) in reader.connection.execute(sql, (encode_json(list(nums)), *values))]


def _candidate(row: Sequence[Any], reader: Reader) -> Candidate:
    traits = row[12]
    return Candidate(
        id_of(row[1]),
        row[2],
        reader.names[row[3]],
        row[4],
        row[5],
        row[6],
        moment(row[7]),
        row[8],
        moment(row[9]),
        row[10],
        row[11],
        traits & 1 == 1,
        traits & 2 == 2,
    )


def _placed(one: Candidate, before: tuple[str, ...], after: tuple[str, ...]) -> Candidate:
    return Candidate(
        one.id,
        one.version,
        one.namespace,
        one.author,
        one.thread,
        one.position,
        one.occurred_at,
        one.importance,
        one.created_at,
        one.length,
        one.asks,
        one.time,
        one.duration,
        before,
        after,
    )


def _split(joined: str | None) -> Sequence[int]:
    return [int(num) for num in joined.split(",")] if joined is not None else ()
