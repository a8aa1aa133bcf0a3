"""Reads of memories by id, of their history, by coordinate, and of the log."""

from __future__ import annotations

from collections.abc import Sequence

from sfm_core.model.event import Change
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.ports.storage import NamespaceStats, Stored
from sfm_sqlite.codec import blob_or_none, decode_json, encode_json, id_of, key_of, moment
from sfm_sqlite.ledger import CHANGE_TYPES
from sfm_sqlite.readers import Reader
from sfm_sqlite.rows import CURRENT, FROM_CURRENT, FROM_PAST, PAST, memory_of, within

__all__ = [
    "at_coordinate",
    "changes",
    "erased",
    "get_past",
    "get_present",
    "history",
    "in_box",
    "locate",
    "memories_by_number",
    "namespaces",
    "scan_page",
]

_GET = f"SELECT {CURRENT} FROM {FROM_CURRENT} WHERE r.id = ? AND r.deleted = 0"  # noqa: S608 - constants only, as below
_LOCATE = f"SELECT {CURRENT}, r.deleted, r.sequence FROM {FROM_CURRENT} WHERE r.id = ?"  # noqa: S608
_AS_OF = f"""SELECT {PAST}, p.deleted FROM {FROM_PAST}
    WHERE r.id = ? AND p.updated_at <= ? ORDER BY p.version DESC LIMIT 1"""  # noqa: S608
_HISTORY = f"""SELECT {PAST}, p.deleted, p.sequence FROM {FROM_PAST}
    WHERE r.id = ? AND p.version < ? ORDER BY p.version DESC LIMIT ?"""  # noqa: S608
_AT = f"""SELECT {CURRENT} FROM {FROM_CURRENT} WHERE r.ns = (SELECT num FROM namespaces WHERE name = ?)
    AND r.coordinate = ? AND r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?) AND b.coordinate = ?"""  # noqa: S608
_PLACED = f"""SELECT b.coordinate, r.id, r.num FROM {FROM_CURRENT} WHERE r.ns = (SELECT num FROM namespaces WHERE name = ?)
    AND r.coordinate IS NOT NULL AND r.deleted = 0 AND (r.expires_at IS NULL OR r.expires_at > ?)"""  # noqa: S608
_BY_NUMBER = f"SELECT {CURRENT} FROM {FROM_CURRENT} WHERE r.num = ?"  # noqa: S608
_STATS = """SELECT n.name, a.live, a.deleted, a.held + coalesce(p.held, 0), coalesce(k.held, 0) FROM namespaces n
    JOIN (SELECT ns, count(*) AS held, sum(deleted) AS deleted,
        count(*) FILTER (WHERE deleted = 0 AND (expires_at IS NULL OR expires_at > ?)) AS live
        FROM records GROUP BY ns) a ON a.ns = n.num
    LEFT JOIN (SELECT r.ns, count(*) AS held FROM past p JOIN records r ON r.num = p.num GROUP BY r.ns) p ON p.ns = n.num
    LEFT JOIN (SELECT l.ns, count(*) AS held FROM links l JOIN records s ON s.num = l.source
        JOIN records t ON t.num = l.target WHERE s.deleted = 0 AND (s.expires_at IS NULL OR s.expires_at > ?)
        AND t.deleted = 0 AND (t.expires_at IS NULL OR t.expires_at > ?) GROUP BY l.ns) k ON k.ns = n.num"""
_ANY_VERSION = 2**63 - 1


def get_present(reader: Reader, ids: Sequence[str], now: int) -> list[Memory | None]:
    """Read live memories by id."""
    found: list[Memory | None] = []
    execute = reader.connection.execute
    for id in ids:
        row = execute(_GET, (blob_or_none(id),)).fetchone()
        if row is None or (row[16] is not None and row[16] <= now):
            found.append(None)
        else:
            found.append(memory_of(row, reader.names))
    return found


def get_past(reader: Reader, ids: Sequence[str], as_of: int) -> list[Memory | None]:
    """Read the versions that were stored at an instant."""
    found: list[Memory | None] = []
    for id in ids:
        blob = blob_or_none(id)
        row = reader.connection.execute(_LOCATE, (blob,)).fetchone()
        if row is not None and row[19] > as_of:
            row = reader.connection.execute(_AS_OF, (blob, as_of)).fetchone()
        if row is None or row[21] or (row[16] is not None and row[16] <= as_of):
            found.append(None)
        else:
            found.append(memory_of(row, reader.names))
    return found


def locate(reader: Reader, ids: Sequence[str]) -> list[Stored | None]:
    """Read the newest versions, tombstones included."""
    rows = [reader.connection.execute(_LOCATE, (blob_or_none(id),)).fetchone() for id in ids]
    return [_stored(row, reader) if row is not None else None for row in rows]


def erased(reader: Reader, ids: Sequence[str]) -> set[str]:
    """Read `Storage.erased`."""
    sql = "SELECT 1 FROM erased WHERE id = ?"
    return {id for id in ids if reader.connection.execute(sql, (blob_or_none(id),)).fetchone()}


def history(reader: Reader, id: str, *, limit: int, before: int | None) -> list[Stored]:
    """Read the versions of a memory, newest first."""
    blob, below = blob_or_none(id), _ANY_VERSION if before is None else before
    newest = reader.connection.execute(_LOCATE, (blob,)).fetchall()
    older = reader.connection.execute(_HISTORY, (blob, below, limit)).fetchall()
    return [_stored(row, reader) for row in (*newest, *older) if row[20] < below][:limit]


def at_coordinate(reader: Reader, namespace: str, coordinate: tuple[float, ...], now: int) -> Memory | None:
    """Read the live memory at a coordinate."""
    text = encode_json([float(value) + 0.0 for value in coordinate])  # -0.0 + 0.0 is 0.0
    row = reader.connection.execute(_AT, (namespace, key_of(text), now, text)).fetchone()
    return memory_of(row, reader.names) if row is not None else None


def in_box(
    reader: Reader, namespace: str, low: tuple[float, ...], high: tuple[float, ...], *, limit: int, now: int
) -> list[Memory]:
    """Read the live memories inside a box, by coordinate."""
    inside = []
    for text, id, num in reader.connection.execute(_PLACED, (namespace, now)):
        place = decode_json(text)
        bounds = zip(low, place, high, strict=False)
        if len(place) == len(low) and all(least <= value <= most for least, value, most in bounds):
            inside.append((place, id, num))
    return memories_by_number(reader, [num for _, _, num in sorted(inside)[:limit]])


def memories_by_number(reader: Reader, nums: Sequence[int]) -> list[Memory]:
    """Read memories by record number, in that order; one that was erased meanwhile is left out."""
    rows = (reader.connection.execute(_BY_NUMBER, (num,)).fetchone() for num in nums)
    return [memory_of(row, reader.names) for row in rows if row is not None]


def changes(reader: Reader, scope: Scope, *, after: int, limit: int) -> list[Change]:
    """Read the change log."""
    test, values = within(scope, "ns")
    sql = f"""SELECT sequence, type, id, version, ns, time, target FROM changes
        WHERE sequence > ? AND {test} ORDER BY sequence LIMIT ?"""  # noqa: S608
    return [
        Change(
            sequence=sequence,
            type=CHANGE_TYPES[type],
            memory_id=id_of(id),
            version=version,
            namespace=reader.names[ns],
            time=moment(time),
            target=id_of(target) if target is not None else None,
        )
        for sequence, type, id, version, ns, time, target in reader.connection.execute(sql, (after, *values, limit))
    ]


def namespaces(reader: Reader, scope: Scope, now: int) -> list[NamespaceStats]:
    """Read the namespaces that hold anything, with their counts."""
    test, values = within(scope, "n.num")
    rows = reader.connection.execute(_STATS + f" WHERE {test} ORDER BY n.name", (now, now, now, *values))
    return [
        NamespaceStats(namespace=name, memories=live, deleted=deleted, versions=versions, links=links)
        for name, live, deleted, versions, links in rows
    ]


def scan_page(reader: Reader, scope: Scope, *, after: int, limit: int) -> tuple[list[Stored], int]:
    """Read newest versions in the order their memories were first stored in; return them and the place reached."""
    test, values = within(scope)
    sql = f"""SELECT {CURRENT}, r.deleted, r.sequence, r.num FROM {FROM_CURRENT}
        WHERE r.num > ? AND {test.replace("r.ns", "+r.ns")} ORDER BY r.num LIMIT ?"""  # noqa: S608
    rows = reader.connection.execute(sql, (after, *values, limit)).fetchall()
    return [_stored(row, reader) for row in rows], rows[-1][23] if rows else after


def _stored(row: tuple[object, ...], reader: Reader) -> Stored:
    return Stored(memory=memory_of(row, reader.names), deleted=bool(row[21]), sequence=row[22])  # type: ignore[arg-type]
