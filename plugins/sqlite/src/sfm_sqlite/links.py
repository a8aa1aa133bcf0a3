"""Links: writes and reads. A link's row is never changed in place and never removed: it is emptied and appended anew."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from sfm_core.errors import InvalidInput, NotFound
from sfm_core.model.filter import json_equal
from sfm_core.model.link import Direction, Link
from sfm_core.model.namespace import Scope
from sfm_core.ports.writes import AppliedLink, ImportLink, PutLink, RemoveLink
from sfm_sqlite.codec import blob_of, blob_or_none, decode_json, encode_json, id_of, key_of, micros, moment
from sfm_sqlite.ledger import Ledger, refuse
from sfm_sqlite.memories import Head, known
from sfm_sqlite.rows import Names, within

__all__ = ["drop_links", "import_link", "links_in", "links_of", "put_link", "remove_link"]

_ADD = """INSERT INTO links
    (source, target, key, relation, weight, metadata, ns, created_at, updated_at, sequence)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_EMPTY = """UPDATE links SET source = NULL, target = NULL, key = NULL, relation = NULL, weight = NULL, metadata = NULL,
    ns = NULL, created_at = NULL, updated_at = NULL, sequence = NULL WHERE """
_COLUMNS = "s.id, t.id, l.relation, l.weight, l.metadata, l.ns, l.created_at, l.updated_at, l.sequence, l.num"
_JOIN = "JOIN records s ON s.num = l.source JOIN records t ON t.num = l.target"
_ONE = f"SELECT {_COLUMNS} FROM links l {_JOIN} WHERE l.source = ? AND l.target = ? AND l.key = ? AND l.relation = ?"  # noqa: S608
_ENDS_LIVE = """s.deleted = 0 AND (s.expires_at IS NULL OR s.expires_at > :now)
    AND t.deleted = 0 AND (t.expires_at IS NULL OR t.expires_at > :now)"""
_ORDER = "ORDER BY l.weight, s.id, t.id, l.relation"


def put_link(ledger: Ledger, write: PutLink) -> AppliedLink:
    """Carry out `PutLink`."""
    link = write.link
    now = micros(link.updated_at)
    ends = [known(ledger, id) for id in (link.source, link.target)]
    for end, id in zip(ends, (link.source, link.target), strict=True):
        if not end.is_live(now):
            ledger.not_there(id)
    return _tie(ledger, link, *ends)


def import_link(ledger: Ledger, write: ImportLink) -> AppliedLink:
    """Carry out `ImportLink`."""
    link = write.link
    return _tie(ledger, link, known(ledger, link.source), known(ledger, link.target))


def remove_link(ledger: Ledger, write: RemoveLink) -> AppliedLink:
    """Carry out `RemoveLink`."""
    now = micros(write.time)
    source, target = known(ledger, write.source), known(ledger, write.target)
    row = _find(ledger, source, target, write.relation)
    if row is None or not (source.is_live(now) and target.is_live(now)):
        refuse(NotFound, f"no link of that relation from memory {write.source} to {write.target}")
    ledger.connection.execute(_EMPTY + "num = ?", (row[9],))
    sequence = ledger.log(
        "memory.unlinked", source.id, source.num, source.version, source.ns, write.time, blob_of(write.target)
    )
    return AppliedLink(_link(row, ledger.names), "deleted", sequence)


def drop_links(ledger: Ledger, num: int) -> None:
    """Remove every link of an erased memory."""
    ledger.connection.execute(_EMPTY + "source = ?", (num,))
    ledger.connection.execute(_EMPTY + "target = ?", (num,))


def links_of(
    connection: sqlite3.Connection,
    names: Names,
    ids: Sequence[str],
    *,
    relation: str | None,
    direction: Direction,
    now: int,
) -> list[Link]:
    """Read `Storage.links`."""
    blobs = [blob for id in ids if (blob := blob_or_none(id)) is not None]
    asked = f"SELECT num FROM records WHERE id IN ({', '.join('?' * len(blobs))})"  # noqa: S608 - question marks
    nums = [num for (num,) in connection.execute(asked, blobs)]
    touching = {"out": "l.source IN ({})", "in": "l.target IN ({})", "both": "(l.source IN ({0}) OR l.target IN ({0}))"}
    sql = f"SELECT {_COLUMNS} FROM links l {_JOIN} WHERE {_ENDS_LIVE} AND {touching[direction]}".format(  # noqa: S608
        ", ".join(map(str, nums))
    )
    values: dict[str, object] = {"now": now}
    if relation is not None:
        sql += " AND l.relation = :relation"
        values["relation"] = relation
    return [_link(row, names) for row in connection.execute(f"{sql} {_ORDER}", values)]


def links_in(
    connection: sqlite3.Connection, names: Names, scope: Scope, *, after: str | None, limit: int
) -> tuple[list[Link], str | None]:
    """Read `Storage.links_in`, in the order they were written in."""
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise InvalidInput.of("cursor", after, "the `next` of a former page of links")
    test, values = within(scope, "l.ns")
    sql = f"SELECT {_COLUMNS} FROM links l {_JOIN} WHERE l.num > ? AND {test} ORDER BY l.num LIMIT ?"  # noqa: S608
    rows = connection.execute(sql, (int(after or 0), *values, limit + 1)).fetchall()
    page = rows[:limit]
    return [_link(row, names) for row in page], str(page[-1][9]) if len(rows) > len(page) > 0 else None


def _tie(ledger: Ledger, link: Link, source: Head, target: Head) -> AppliedLink:
    ns = ledger.namespace(link.namespace)
    if source.ns != ns or target.ns != ns:
        refuse(NotFound, f"memories {link.source} and {link.target} are not both in the link's namespace")
    row = _find(ledger, source, target, link.relation)
    if row is not None:
        there = _link(row, ledger.names)
        if there.weight == link.weight and json_equal(there.metadata, link.metadata):
            return AppliedLink(there, "unchanged", row[8])
        link = replace(link, created_at=there.created_at)
        ledger.connection.execute(_EMPTY + "num = ?", (row[9],))
    target_id = blob_of(link.target)
    sequence = ledger.log("memory.linked", source.id, source.num, source.version, ns, link.updated_at, target_id)
    times = (micros(link.created_at), micros(link.updated_at))
    metadata = encode_json(link.metadata) if link.metadata else None
    values = (source.num, target.num, key_of(link.relation), link.relation, link.weight, metadata, ns, *times, sequence)
    ledger.connection.execute(_ADD, values)
    return AppliedLink(link, "created" if row is None else "updated", sequence)


def _find(ledger: Ledger, source: Head, target: Head, relation: str) -> Any:
    return ledger.connection.execute(_ONE, (source.num, target.num, key_of(relation), relation)).fetchone()


def _link(row: Any, names: Names) -> Link:
    return Link(
        source=id_of(row[0]),
        target=id_of(row[1]),
        relation=row[2],
        weight=row[3],
        metadata=decode_json(row[4]) if row[4] is not None else {},
        namespace=names[row[5]],
        created_at=moment(row[6]),
        updated_at=moment(row[7]),
    )
