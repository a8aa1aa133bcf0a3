"""What `benchmarks.backends.postgres` measures against: two programs that use psycopg alone. See there what each promises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from msgspec.structs import replace
from psycopg.types.json import Json, Jsonb

from sfm_core.ports.writes import Put
from sfm_core.services.ids import new_id
from sfm_postgres.packing import END, START, can_send, packed, tuple_of
from sfm_postgres.rows import ALL_COLUMNS, Content, row_of

__all__ = ["NOW", "Bare", "ByHand"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)

_ALL = ", ".join(ALL_COLUMNS)
_FIELDS = ALL_COLUMNS[:21]
_GET = f"""SELECT {", ".join(_FIELDS)} FROM hand.memories
    WHERE id = %s AND NOT deleted AND (expires_at IS NULL OR expires_at > %s)"""
_CHANGE = "sequence, type, memory_id, version, namespace, time"
_BARE_INSERT = f"INSERT INTO bare.memories ({_ALL}) VALUES ({', '.join(['%s'] * len(ALL_COLUMNS))})"
_BARE_LOG = f"""INSERT INTO bare.changes ({_CHANGE})
    SELECT coalesce(max(sequence), 0) + 1, 'memory.created', %s::uuid, 1, %s, %s FROM bare.changes"""

_NAMES = (*_FIELDS, "data", "twin", "author_key", "length", "asks", "has_time", "has_duration")
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"""INSERT INTO hand.memories ({_COLUMNS}) SELECT {", ".join(["%s"] * len(_NAMES))}
    WHERE NOT EXISTS (SELECT FROM hand.memories WHERE twin = %s AND NOT deleted
        AND author = %s AND thread = %s AND position = %s) RETURNING id"""
_TWINS = """SELECT m.id, m.twin FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) k (twin, author, thread, position)
    JOIN hand.memories m USING (twin, author, thread, position) WHERE NOT m.deleted"""
_NEW_WORDS = """INSERT INTO hand.words (namespace, word, stem) SELECT %s, word, stem
    FROM unnest(%s::text[], %s::text[]) AS new (word, stem) ORDER BY word, stem ON CONFLICT DO NOTHING"""
_LOCK = "SELECT pg_advisory_xact_lock(1)"
_LOG = f"""INSERT INTO hand.changes ({_CHANGE})
    SELECT (SELECT coalesce(max(sequence), 0) FROM hand.changes) + 1, 'memory.created', id, 1, namespace, created_at
    FROM hand.memories WHERE id = %s RETURNING sequence"""
_RANK = """SELECT id, ts_rank(found, query) AS score FROM hand.memories, to_tsquery('simple', %s) query
    WHERE namespace = %s AND found @@ query AND NOT deleted AND (expires_at IS NULL OR expires_at > %s)
    ORDER BY score DESC, id LIMIT %s"""
_BM25 = """WITH held AS MATERIALIZED (SELECT id, length, found FROM hand.memories
        WHERE namespace = %s AND found @@ to_tsquery('simple', %s) AND NOT deleted
            AND (expires_at IS NULL OR expires_at > %s)),
    tf AS MATERIALIZED (SELECT h.id, h.length, t.lexeme, cardinality(t.positions) AS tf FROM held h, unnest(h.found) t
        WHERE t.lexeme = ANY(%s)),
    size AS (SELECT count(*) AS n, avg(length)::float8 AS mean FROM hand.memories
        WHERE namespace = %s AND NOT deleted AND (expires_at IS NULL OR expires_at > %s)),
    idf AS (SELECT lexeme, ln(1 + (n - count(*) + 0.5) / (count(*) + 0.5))::float8 AS idf FROM tf, size GROUP BY lexeme, n)
    SELECT id, sum(idf * tf * 1.9 / (tf + 0.9 * (0.75 + 0.25 * length / mean))) AS score FROM tf JOIN idf USING (lexeme), size
    GROUP BY id ORDER BY score DESC, id LIMIT %s"""


class Row(NamedTuple):
    """A finished row.

    Attributes:
        id: its id.
        namespace: its namespace.
        fields: its packed values.
        copied: the same as COPY takes them.
    """

    id: str
    namespace: str
    fields: tuple[bytes, ...]
    copied: bytes


class Bare:
    """Stores finished rows: nothing is made of a memory, looked up or locked while the clock runs."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        can_send(connection)

    async def prepare(self, schema: str) -> None:
        """Make tables of the same columns and indexes as those in `schema`."""
        await self.connection.execute("CREATE SCHEMA bare")
        for table in ("memories", "changes"):
            await self.connection.execute(f"CREATE TABLE bare.{table} (LIKE {schema}.{table} INCLUDING ALL)".encode())

    def row(self, write: Put) -> Row:
        """Return the plugin's own row, packed, under an id of its own."""
        id = new_id()
        packed = row_of(replace(write.memory, id=id), Content(write.analysis, write.digest))
        return Row(id, write.memory.namespace, packed, tuple_of(packed))

    async def store(self, row: Row) -> None:
        """Insert a memory and its change."""
        run = self.connection.execute
        async with self.connection.pipeline():
            await run("BEGIN")
            await run(_BARE_INSERT.encode(), [packed(field) for field in row.fields])
            await run(_BARE_LOG.encode(), (row.id, row.namespace, NOW))
            await run("COMMIT")

    async def store_many(self, rows: Sequence[Row]) -> None:
        """Copy memories and their changes."""
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            async with cursor.copy(f"COPY bare.memories ({_ALL}) FROM STDIN (FORMAT binary)".encode()) as copy:
                await copy.write(START)
                for start in range(0, len(rows), 64):
                    await copy.write(b"".join([row.copied for row in rows[start : start + 64]]))
                await copy.write(END)
            await _log_many(cursor, "bare", [(row.id, row.namespace, NOW) for row in rows])


class ByHand:
    """Keeps what the port promises of a new memory, by the shortest SQL."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self.connection = connection
        self.known: dict[str, set[tuple[str, str]]] = {}

    async def prepare(self, schema: str) -> None:
        """Make the same tables with a `tsvector` for the words."""
        run = self.connection.execute
        await run("CREATE SCHEMA hand")
        await run("CREATE EXTENSION IF NOT EXISTS btree_gin")
        for table in ("memories", "changes"):
            await run(f"CREATE TABLE hand.{table} (LIKE {schema}.{table} INCLUDING ALL)".encode())
        await run("ALTER TABLE hand.memories DROP COLUMN terms, DROP COLUMN words")
        await run("""ALTER TABLE hand.memories ADD COLUMN found tsvector
            GENERATED ALWAYS AS (to_tsvector('english', coalesce(content, ''))) STORED""")
        await run("CREATE INDEX ON hand.memories USING gin (namespace, found, data jsonb_path_ops, tags)")
        await run("CREATE TABLE hand.words (namespace text, word text, stem text, PRIMARY KEY (namespace, word, stem))")

    async def get(self, id: str) -> Any:
        """Read one row."""
        return await (await self.connection.execute(_GET.encode(), (id, NOW))).fetchone()

    async def store(self, write: Put) -> None:
        """Insert a memory unless it is there, its new words and its change."""
        row, memory = _row(write), write.memory
        words = self._new_words([write])
        run = self.connection.execute
        async with self.connection.pipeline():
            await run("BEGIN")
            await run(_INSERT.encode(), (*row, row[22], memory.author, memory.thread, memory.position))
            for name, new in words.items():
                await run(_NEW_WORDS, (name, [word for word, _ in new], [stem for _, stem in new]))
            await run(_LOCK)
            logged = await run(_LOG, (memory.id,))
            await run("COMMIT")
        await logged.fetchone()
        self._learn(words)

    async def store_many(self, writes: Sequence[Put]) -> None:
        """Copy memories that are not there, their new words and their changes."""
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            rows = [_row(write) for write in writes]
            keys = [(row[22], row[6], row[7], row[8]) for row in rows]
            await cursor.execute(_TWINS, [list(column) for column in zip(*keys, strict=True)])
            twins = {twin for _, twin in await cursor.fetchall()}
            async with cursor.copy(f"COPY hand.memories ({_COLUMNS}) FROM STDIN".encode()) as copy:
                for row in rows:
                    if row[22] not in twins:
                        await copy.write_row(row)
            words = self._new_words(writes)
            for name, new in sorted(words.items()):
                await cursor.execute(_NEW_WORDS, (name, [word for word, _ in new], [stem for _, stem in new]))
            await cursor.execute(_LOCK)
            await _log_many(cursor, "hand", [(row[0], row[1], row[18]) for row in rows if row[22] not in twins])
        self._learn(words)

    async def rank(self, namespace: str, stems: Sequence[str], k: int) -> Any:
        """Search any of the words by `ts_rank`, which knows no rarity."""
        cursor = await self.connection.execute(_RANK, (_any_of(stems), namespace, NOW, k))
        return await cursor.fetchall()

    async def bm25(self, namespace: str, stems: Sequence[str], k: int) -> Any:
        """Search any of the words by the formula of the port."""
        values = (namespace, _any_of(stems), NOW, list(stems), namespace, NOW, k)
        return await (await self.connection.execute(_BM25, values)).fetchall()

    def _new_words(self, writes: Sequence[Put]) -> dict[str, list[tuple[str, str]]]:
        found: dict[str, set[tuple[str, str]]] = {}
        for write in writes:
            name = write.memory.namespace
            found.setdefault(name, set()).update(write.analysis.words)
        new = {name: sorted(words - self.known.get(name, set())) for name, words in found.items()}
        return {name: words for name, words in new.items() if words}

    def _learn(self, words: dict[str, list[tuple[str, str]]]) -> None:
        for name, new in words.items():
            self.known.setdefault(name, set()).update(new)


async def _log_many(cursor: psycopg.AsyncCursor[Any], schema: str, rows: Sequence[tuple[Any, ...]]) -> None:
    await cursor.execute(f"SELECT coalesce(max(sequence), 0) FROM {schema}.changes".encode())
    [(last,)] = await cursor.fetchall()
    async with cursor.copy(f"COPY {schema}.changes ({_CHANGE}) FROM STDIN".encode()) as copy:
        for number, (id, namespace, time) in enumerate(rows, last + 1):
            await copy.write_row((number, "memory.created", id, 1, namespace, time))


def _any_of(stems: Sequence[str]) -> str:
    return " | ".join(f"'{stem}'" for stem in stems)


def _row(write: Put) -> tuple[Any, ...]:
    """Return the values of `_NAMES` as a program would write them."""
    memory, analysis = write.memory, write.analysis
    fields = {name: getattr(memory, name) for name in _FIELDS}
    fields["payload"] = Json(memory.payload)
    for name in ("coordinate", "tags", "derived_from"):
        fields[name] = list(fields[name]) if fields[name] is not None else None
    data = Jsonb(memory.payload) if memory.payload else None
    key = hash(analysis.author_key) if analysis.author_key else None
    told = (analysis.length, analysis.asks, analysis.time, analysis.duration)
    return (*fields.values(), data, UUID(bytes=write.digest[:16]), key, *told)
