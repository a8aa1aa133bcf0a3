"""Bringing a schema up to date: numbered SQL files of a package, each run once, under a lock.

A file `0001_name.sql` in the package brings a schema from version 0 to 1. In it `{s}` stands for the quoted name of the
schema. A released file never changes. Applied versions are rows of `{s}.schema_versions`, one set for each component, so
that several plugins may share a schema.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from importlib.resources import files

from sfm_core.errors import ConfigError
from sfm_postgres.database import Database
from sfm_postgres.pool import Connection

__all__ = ["lock_key", "migrate"]

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_PATIENCE = 3600.0
_TABLE = """CREATE TABLE IF NOT EXISTS {s}.schema_versions (
    component text NOT NULL,
    version integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (component, version)
)"""
_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_VERSION = "SELECT coalesce(max(version), 0) FROM {s}.schema_versions WHERE component = %s"
_APPLIED = "INSERT INTO {s}.schema_versions (component, version) VALUES (%s, %s)"


def lock_key(*parts: str) -> int:
    """Return the 64-bit key of an advisory lock that stands for `parts`."""
    return int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=8).digest(), "big", signed=True)


async def migrate(database: Database, package: str, *, component: str, create: bool) -> None:
    """Bring the tables of `component` up to date with the SQL files in `package`.

    Several processes may do so at once: one works, the others wait for it.

    Args:
        database: where; its schema is created when it is missing.
        package: dotted name of the package that holds the files.
        component: whose tables they are (the plugin's name).
        create: whether anything may be changed.

    Raises:
        ConfigError: something is missing and may not be created, or the tables are of a newer release.
    """
    steps = _steps(package)
    newest = len(steps)
    there = await _version(database, component)
    if there > newest:
        raise ConfigError(
            f"{database.where}: the tables in schema {database.schema} have version {there}, this release knows {newest}"
        )
    if there == newest:
        return
    if not create:
        raise ConfigError(
            f"{database.where}: the tables in schema {database.schema} have version {there}, {newest} is needed: "
            "run `sfm migrate`"
        )

    async def bring_up(connection: Connection) -> None:
        patience, connection.patience = connection.patience, _PATIENCE
        try:
            await _bring_up(database, connection, component, steps)
        finally:
            connection.patience = patience

    await database.transaction(bring_up)


async def _version(database: Database, component: str) -> int:
    [(exists,)] = await database.rows(_EXISTS, [f'"{database.schema}".schema_versions'])
    if not exists:
        return 0
    [(version,)] = await database.rows(_VERSION, [component])
    return int(version)


async def _bring_up(database: Database, connection: Connection, component: str, steps: list[str]) -> None:
    await connection.execute(b"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
    key = lock_key("migrate", database.schema)
    await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", [key])
    exists = await (await connection.execute(b"SELECT to_regnamespace(%s)", [f'"{database.schema}"'])).fetchone()
    if exists is None or exists[0] is None:
        await connection.execute(database.text("CREATE SCHEMA {s}"))
    await connection.execute(database.text(_TABLE))
    row = await (await connection.execute(database.text(_VERSION), [component])).fetchone()
    done = int(row[0]) if row is not None else 0
    for number in range(done + 1, len(steps) + 1):
        await connection.execute(database.text(steps[number - 1]))
        await connection.execute(database.text(_APPLIED), [component, number])


def _steps(package: str) -> list[str]:
    """Return the texts of the files in order."""
    found = {}
    for entry in files(package).iterdir():
        match = _NAME.fullmatch(entry.name)
        if match:
            found[int(match[1])] = entry.read_text(encoding="utf-8")
    return [found[number] for number in range(1, len(found) + 1)]
