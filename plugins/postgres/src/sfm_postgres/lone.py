"""One new memory in one round trip, which is what most calls write: a function of the server looks, stores, logs."""

from __future__ import annotations

from typing import Any

from sfm_core.model.namespace import Scope
from sfm_core.ports.writes import Applied, Put
from sfm_postgres.database import Database
from sfm_postgres.keys import place_of, scope_key
from sfm_postgres.needs import NARROWING, Needs
from sfm_postgres.packing import record
from sfm_postgres.pool import Connection
from sfm_postgres.rows import TYPES, Content, row_of
from sfm_postgres.vocabulary import Known, columns_of

__all__ = ["put_alone"]

_PUT = """SELECT {s}.put_new(%s::{s}.memories, %s::bigint[], %s::boolean, %s::text[], %s::bigint, %s::bigint,
    %s::bigint, %s::bigint[], %s::integer[], %s::bigint[], %s::text[], %s::text[])"""


async def put_alone(
    database: Database, connection: Connection, known: Known, write: Put, *, stripes: int, log: int
) -> Applied | None:
    """Store a memory that nothing stands in the way of, as a transaction of its own.

    Args:
        database: whose `attempt` lent the connection.
        connection: outside a transaction.
        known: the words that are known to be stored; takes in those of the memory.
        write: what is to be stored.
        stripes: the first of the locks that `Needs` counts.
        log: the lock of the change log.

    Returns:
        None when it has to be decided by what is there; nothing was stored then.
    """
    memory, namespace = write.memory, write.memory.namespace
    needs = Needs()
    needs.put(write)
    new = known.unknown(namespace, write.analysis.words)
    removed = known.removals(namespace)
    row = row_of(memory, Content(write.analysis, write.digest), place=place_of(memory))
    values: list[Any] = [
        record(TYPES, row),
        [stripes + number for number in sorted(needs.stripes)],
        write.dedupe,
        [name for name in NARROWING if name in write.given],
        removed,
        log,
        scope_key(Scope(namespace)),
        *columns_of(new),
    ]
    [(sequence,)] = await database.alone(connection, _PUT, values)
    if sequence is None:
        return None
    known.stored(namespace, new, removed)
    return Applied(memory, "created", sequence)
