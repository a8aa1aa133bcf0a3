"""What ranking reads of memories: candidates with their thread neighbours, and authors by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sfm_core.model.filter import Filter
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import Candidate
from sfm_sqlite.codec import blob_or_none, encode_json, id_of, key_of, moment
from sfm_sqlite.filters import compile_filter
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import within

__all__ = ["Candidates", "authors"]

_LIVE = "r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?)"
_COLUMNS = (
    "r.id, r.version, r.ns, r.author, r.thread, r.position, r.occurred_at, r.importance, r.created_at, r.length, r.asks, "
    "r.traits, r.body"
)
_NEIGHBOURS = """(SELECT group_concat(num || ' ' || hex(id)) FROM (
    SELECT n.num, n.id FROM records n INDEXED BY records_thread
    WHERE n.deleted = 0 AND n.thread IS NOT NULL AND n.position IS NOT NULL AND n.ns = r.ns AND n.thread = r.thread
        AND (n.position, n.id) {0} (r.position, r.id) AND (n.expires_at IS NULL OR n.expires_at > ?)
    ORDER BY n.position {1}, n.id {1} LIMIT 2))"""
_AROUND = f"{_NEIGHBOURS.format('<', 'DESC')}, {_NEIGHBOURS.format('>', 'ASC')}"
_TEXTS = "SELECT author, thread FROM bodies WHERE num = ?"
_AUTHOR = """SELECT j.value, r.author, (SELECT author FROM bodies WHERE num = r.body)
    FROM json_each(?) j CROSS JOIN records r
    WHERE r.author_key = j.value AND {0} AND r.deleted = 0 AND r.author IS NOT NULL GROUP BY j.value, r.author"""
_MOST_TEXTS = 20_000
_CHUNK = 500


class Candidates:
    """Reads candidates, remembering the texts that author and thread keys stand for. For one thread."""

    def __init__(self) -> None:
        self._texts: dict[int | None, str | None] = {None: None}

    def read(
        self, reader: Reader, ids: Sequence[str], *, now: int, around: bool, filter: Filter | None
    ) -> dict[str, Candidate]:
        """Read `FullText.candidates`."""
        blobs = list(dict.fromkeys(blob for id in ids if (blob := blob_or_none(id)) is not None))
        found: dict[str, Candidate] = {}
        near: list[str] = []
        for start in range(0, len(blobs), _CHUNK):
            part = blobs[start : start + _CHUNK]
            sql = f"""SELECT {_COLUMNS}, {_AROUND if around else "NULL, NULL"} FROM records r
                WHERE r.id IN ({", ".join("?" * len(part))}) AND {_LIVE}"""  # noqa: S608
            for row in reader.connection.execute(sql, (*((now, now) if around else ()), *part, now)):
                before, after = _split(row[13], near), _split(row[14], near)
                candidate = self._candidate(reader, row, before, after)
                found[candidate.id] = candidate
        if near:
            for candidate in self._by_number(reader, near, now, filter):
                found.setdefault(candidate.id, candidate)
        return found

    def _by_number(self, reader: Reader, nums: list[str], now: int, filter: Filter | None) -> list[Candidate]:
        condition, values = compile_filter(filter)
        source = "records r" if filter is None else "records r CROSS JOIN bodies b ON b.num = r.body"
        found = []
        for start in range(0, len(nums), _CHUNK):
            part = ", ".join(nums[start : start + _CHUNK])
            sql = f"SELECT {_COLUMNS} FROM {source} WHERE r.num IN ({part}) AND {_LIVE} AND {condition}"  # noqa: S608
            rows = reader.connection.execute(sql, (now, *values))
            found += [self._candidate(reader, row, (), ()) for row in rows]
        return found

    def _candidate(
        self, reader: Reader, row: Sequence[Any], before: tuple[str, ...], after: tuple[str, ...]
    ) -> Candidate:
        author, thread, texts = row[3], row[4], self._texts
        if author not in texts or thread not in texts:
            self._learn(reader, row)
        traits = row[11]
        return Candidate(
            id_of(row[0]),
            row[1],
            reader.names[row[2]],
            texts[author],
            texts[thread],
            row[5],
            moment(row[6]),
            row[7],
            moment(row[8]),
            row[9],
            row[10],
            traits & 1 == 1,
            traits & 2 == 2,
            before,
            after,
        )

    def _learn(self, reader: Reader, row: Sequence[Any]) -> None:
        if len(self._texts) > _MOST_TEXTS:
            self._texts.clear()
            self._texts[None] = None
        author, thread = reader.connection.execute(_TEXTS, (row[12],)).fetchone()
        self._texts[row[3]], self._texts[row[4]] = author, thread


def authors(reader: Reader, scope: Scope, keys: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Read `FullText.authors`."""
    names = {key_of(key): key for key in keys}
    test, values = within(scope)
    sql = _AUTHOR.format(test)
    found: dict[str, set[str]] = {}
    for key, _, author in reader.connection.execute(sql, (encode_json(list(names)), *values)):
        found.setdefault(names[key], set()).add(author)
    return {key: sorted(authors) for key, authors in found.items()}


def _split(joined: str | None, near: list[str]) -> tuple[str, ...]:
    """Return the ids of neighbours, and add their record numbers to `near`."""
    if joined is None:
        return ()
    ids = []
    for pair in joined.split(","):
        num, id = pair.split(" ")
        near.append(num)
        id = id.lower()
        ids.append(f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}")
    return tuple(ids)
