"""Leases, and cursors that are fenced by them: judged by SQLite's clock."""

from __future__ import annotations

import sqlite3

from sfm_core.errors import LeaseLost
from sfm_core.ports.storage import Lease
from sfm_sqlite.aside import Aside
from sfm_sqlite.ledger import WHERE
from sfm_sqlite.notes import CURSOR

__all__ = ["acquire", "release", "save_fenced_cursor"]

_NOW = "((julianday('now') - 2440587.5) * 86400.0)"
_HELD = f"SELECT holder, token, until > {_NOW} FROM leases WHERE name = ?"  # noqa: S608 - constants only, as below
_KEEP = f"""INSERT INTO leases (name, holder, token, until) VALUES (?, ?, ?, {_NOW} + ?)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = excluded.token, until = excluded.until"""  # noqa: S608
_RUNS = f"SELECT 1 FROM leases WHERE name = ? AND holder = ? AND token = ? AND until > {_NOW}"  # noqa: S608
_FREE = "UPDATE leases SET until = 0 WHERE name = ? AND holder = ? AND token = ?"


def acquire(aside: Aside, name: str, holder: str, seconds: float) -> Lease | None:
    """Carry out `Leases.acquire_lease`."""

    def take(connection: sqlite3.Connection) -> Lease | None:
        held = connection.execute(_HELD, (name,)).fetchone()
        last, token, runs = held if held is not None else ("", 0, False)
        if runs and last != holder:
            return None
        token += not runs
        connection.execute(_KEEP, (name, holder, token, seconds))
        return Lease(name, holder, token)

    return aside.transaction(take)


def release(aside: Aside, lease: Lease) -> None:
    """Carry out `Leases.release_lease`."""
    aside.transaction(lambda connection: connection.execute(_FREE, (lease.name, lease.holder, lease.token)))


def save_fenced_cursor(aside: Aside, name: str, sequence: int, fence: Lease) -> None:
    """Carry out a fenced `Storage.save_cursor`."""

    def save(connection: sqlite3.Connection) -> None:
        if connection.execute(_RUNS, (fence.name, fence.holder, fence.token)).fetchone() is None:
            raise LeaseLost(f"{WHERE}: lease {fence.name} with token {fence.token} is not the current one")
        connection.execute(CURSOR, {"name": name, "sequence": sequence, "reset": sequence == 0})

    aside.transaction(save)
