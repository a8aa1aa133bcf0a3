"""The first round trip of a transaction: locks, then everything that the writes are decided by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from psycopg import AsyncCursor

from sfm_postgres.adapt import escape, plain_id, texts, unescape
from sfm_postgres.database import Database
from sfm_postgres.keys import STRIPES
from sfm_postgres.links import LINK, link_of
from sfm_postgres.migrations import lock_key
from sfm_postgres.needs import Needs
from sfm_postgres.packing import BIGINT, TEXT, TIME, UUID, Packed, array, bigint, packed, text, time, uuid
from sfm_postgres.pool import Connection
from sfm_postgres.rows import columns, memory_of
from sfm_postgres.view import Held, View
from sfm_postgres.vocabulary import Known

__all__ = ["Loader"]

_LAST = """(SELECT c.sequence FROM {s}.changes c WHERE c.memory_id = m.id AND c.target IS NULL
    ORDER BY c.version DESC, c.sequence DESC LIMIT 1)"""
_HELD = f"{columns('m')}, m.deleted, m.operation, m.twin, m.place, {_LAST}"
_LOCK = "SELECT count(pg_advisory_xact_lock(key)) FROM unnest(%s::bigint[]) key"
# Sorted, so that two transactions lock the same rows in the same order.
_BY_ID = f"SELECT {_HELD} FROM {{s}}.memories m WHERE m.id = ANY(%s::uuid[]) ORDER BY m.id FOR UPDATE OF m"  # noqa: S608
_ONE_BY_ID = f"SELECT {_HELD} FROM {{s}}.memories m WHERE m.id = %s FOR UPDATE OF m"  # noqa: S608
_BY_PLACE = f"SELECT {_HELD} FROM {{s}}.memories m WHERE m.place = ANY(%s::uuid[]) ORDER BY m.id FOR UPDATE OF m"  # noqa: S608
_BY_PLACE_OF = f"""SELECT {_HELD} FROM {{s}}.memories m JOIN {{s}}.memories d ON d.id = ANY(%s::uuid[])
        AND m.namespace = d.namespace AND m.coordinate = d.coordinate
    WHERE m.coordinate IS NOT NULL AND NOT m.deleted ORDER BY m.id FOR UPDATE OF m"""  # noqa: S608
_TWINS = f"SELECT {_HELD} FROM {{s}}.memories m WHERE NOT m.deleted AND m.twin = %s"  # noqa: S608
_MANY_TWINS = f"""SELECT {_HELD} FROM <asked> JOIN {{s}}.memories m ON m.twin = k.twin
    WHERE NOT m.deleted"""  # noqa: S608
_NARROWED = {"twin": "uuid", "author": "text", "thread": "text", "position": "bigint", "occurred_at": "timestamptz"}
_PACKED: Mapping[str, tuple[int, Callable[[Any], bytes]]] = {
    "twin": (UUID, uuid),
    "author": (TEXT, text),
    "thread": (TEXT, text),
    "position": (BIGINT, bigint),
    "occurred_at": (TIME, time),
}
# Ids in use, ids that were erased, and how often words of namespaces were removed.
_TAKEN = """SELECT 0, id::text, 0 FROM {s}.memories WHERE id = ANY(%s::uuid[])
    UNION ALL SELECT 1, id::text, 0 FROM {s}.erased WHERE id = ANY(%s::uuid[])
    UNION ALL SELECT 2, namespace, removed FROM {s}.vocabularies WHERE namespace = ANY(%s::text[])"""
_LINKS = f"""SELECT {LINK}, (SELECT max(c.sequence) FROM {{s}}.changes c
        WHERE c.memory_id = l.source AND c.target = l.target AND c.type = 'memory.linked')
    FROM {{s}}.links l JOIN unnest(%s::uuid[], %s::uuid[], %s::text[]) AS k (source, target, relation)
        ON l.source = k.source AND l.target = k.target AND l.relation = k.relation"""  # noqa: S608
_FIGURES = """SELECT operation, count(DISTINCT memory_id), max(sequence) FROM {s}.changes
    WHERE operation = ANY(%s::text[]) GROUP BY operation"""
_MEMBERS = """SELECT DISTINCT operation, memory_id FROM {s}.changes
    WHERE operation = ANY(%s::text[]) AND memory_id = ANY(%s::uuid[])"""
_ANSWERS = """SELECT a.scope, a.key, a.request, a.answer, a.base, a.expires_at FROM {s}.answers a
    JOIN unnest(%s::text[], %s::text[]) AS k (scope, key) ON a.scope = k.scope AND a.key = k.key"""

_Read = tuple[AsyncCursor[Any], Callable[[Iterable[Sequence[Any]]], None]]


class Loader:
    """Locks and reads for groups of writes."""

    def __init__(self, database: Database, known: Known) -> None:
        self._database = database
        self._known = known
        self.stripes = lock_key("stripes", database.schema) & ~(STRIPES - 1)
        self._erasures = lock_key("erasures", database.schema)

    async def load(self, connection: Connection, needs: Needs) -> View:
        """Begin the transaction and return what the group is decided by, in one round trip."""
        view = View()
        reads: list[_Read] = []
        async with connection.pipeline():
            await self._database.begin(connection)
            await self._lock(connection, needs)
            for sql, values, take in self._questions(needs, view):
                cursor = connection.cursor(binary=True)
                await cursor.execute(self._database.text(sql), values)
                reads.append((cursor, take))
        for cursor, take in reads:
            take(await cursor.fetchall())
        return view

    async def _lock(self, connection: Connection, needs: Needs) -> None:
        """Lock, always in the same order. Erasures exclude each other, else two could each leave a word to the other."""
        if needs.stripes:
            keys = [self.stripes + number for number in sorted(needs.stripes)]
            await connection.execute(_LOCK.encode(), [keys])
        if needs.erasures:
            await connection.execute(_LOCK.encode(), [[self._erasures]])

    def _questions(self, needs: Needs, view: View) -> Iterable[tuple[str, list[Any], Callable[[Any], None]]]:
        take = _take_records(view)
        for names, searches in needs.twins.items():
            yield from _twin_questions(names, list(searches), take)
        if needs.places:
            yield _BY_PLACE, [sorted(needs.places)], take
        if needs.revived:
            yield _BY_PLACE_OF, [sorted(id for id in needs.revived if plain_id(id))], take
        ids = sorted(id for id in needs.ids if plain_id(id))
        if len(ids) == 1:
            yield _ONE_BY_ID, [ids[0]], take
        elif ids:
            yield _BY_ID, [ids], take
        if needs.fresh or needs.namespaces:
            fresh = packed(array(UUID, [uuid(id) for id in needs.fresh if plain_id(id)]))
            yield _TAKEN, [fresh, fresh, texts(needs.namespaces)], self._take_taken(needs, view)
        links = [key for key in sorted(needs.links) if plain_id(key[0]) and plain_id(key[1])]
        if links:
            ends = [[key[0] for key in links], [key[1] for key in links], [escape(key[2]) for key in links]]
            yield _LINKS, ends, _take_links(view)
        if needs.operations:
            yield from _operation_questions(needs, view)
        if needs.answers:
            keys = sorted(needs.answers)
            pairs = [[escape(scope) for scope, _ in keys], [escape(key) for _, key in keys]]
            yield _ANSWERS, pairs, _take_answers(view)

    def _take_taken(self, needs: Needs, view: View) -> Callable[[Iterable[Sequence[Any]]], None]:
        def take(rows: Iterable[Sequence[Any]]) -> None:
            removed: dict[str, int] = {}
            for kind, name, count in rows:
                if kind == 2:
                    removed[name] = count
                else:
                    view.put(view.erased if kind == 1 else view.taken, name, True)
            self._known.check(needs.namespaces, removed)
            view.removals = {name: removed.get(name, 0) for name in needs.namespaces}

        return take


def _twin_questions(
    names: Sequence[str], searches: Sequence[Sequence[Any]], take: Callable[[Any], None]
) -> Iterable[tuple[str, list[Any], Callable[[Any], None]]]:
    if len(searches) == 1:
        [search] = searches
        tests = "".join(
            f" AND m.{name} IS NULL" if value is None else f" AND m.{name} = %s"
            for name, value in zip(names, search[1:], strict=True)
        )
        yield _TWINS + tests, [_plain(value) for value in search if value is not None], take
        return
    columns = [f"%s::{_NARROWED[name]}[]" for name in ("twin", *names)]
    tests = "".join(f" AND m.{name} IS NOT DISTINCT FROM k.{name}" for name in names)
    asked = f"unnest({', '.join(columns)}) AS k ({', '.join(('twin', *names))})"
    values = [_column(name, column) for name, column in zip(("twin", *names), zip(*searches, strict=True), strict=True)]
    yield _MANY_TWINS.replace("<asked>", asked) + tests, values, take


def _column(name: str, values: Iterable[Any]) -> Packed | None:
    type, pack = _PACKED[name]
    return packed(array(type, list(map(pack, values))))


def _plain(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value


def _operation_questions(needs: Needs, view: View) -> Iterable[tuple[str, list[Any], Callable[[Any], None]]]:
    asked = [escape(id) for id in sorted(needs.operations)]

    def take_figures(rows: Iterable[Sequence[Any]]) -> None:
        for operation, count, sequence in rows:
            view.counts[unescape(operation)] = count
            view.sequences[unescape(operation)] = sequence

    def take_members(rows: Iterable[Sequence[Any]]) -> None:
        view.members.update(((unescape(operation), id), True) for operation, id in rows)

    yield _FIGURES, [asked], take_figures
    members = sorted({id for operation, id in needs.members if operation in needs.operations and plain_id(id)})
    if members:
        yield _MEMBERS, [asked, members], take_members


def _take_records(view: View) -> Callable[[Iterable[Sequence[Any]]], None]:
    def take(rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            memory = memory_of(row)
            deleted, operation, twin, place, sequence = row[21:26]
            view.seen(
                Held(
                    memory=memory,
                    deleted=deleted,
                    operation=unescape(operation) if operation is not None else None,
                    sequence=sequence or 0,
                    twin=twin,
                    place=place,
                    row=memory.version,
                )
            )

    return take


def _take_links(view: View) -> Callable[[Iterable[Sequence[Any]]], None]:
    def take(rows: Iterable[Sequence[Any]]) -> None:
        for row in rows:
            link = link_of(row)
            view.links[link.source, link.target, link.relation] = (link, row[8] or 0)

    return take


def _take_answers(view: View) -> Callable[[Iterable[Sequence[Any]]], None]:
    def take(rows: Iterable[Sequence[Any]]) -> None:
        for scope, key, *rest in rows:
            view.answers[unescape(scope), unescape(key)] = tuple(rest)

    return take
