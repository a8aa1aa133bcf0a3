"""Opening files, and what SQLite's errors mean here."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, CorruptData, SfmError

__all__ = ["connect", "file_path", "meaning", "migrate", "prepare_file"]

_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PASSING = {
    sqlite3.SQLITE_BUSY: "the file is locked by another process",
    sqlite3.SQLITE_LOCKED: "the file is locked",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk refused to read or write",
    sqlite3.SQLITE_READONLY: "the file is not writable",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
    sqlite3.SQLITE_PERM: "the file may not be accessed",
}
_RETRY_SECONDS = 0.01


def meaning(error: sqlite3.Error, where: str) -> SfmError:
    """Return the typed error for one of SQLite's; `where` is `plugin/port`. SQLite's text holds no stored values."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in _DAMAGE:
        return CorruptData(f"{where}: the file is damaged or is not a database ({error})")
    if primary in _PASSING:
        return BackendUnavailable(f"{where}: {_PASSING[primary]} ({error})")
    return BackendError(f"{where}: {error}")


def file_path(given: str | None, folder: Path | None, name: str, where: str) -> Path:
    """Return where a file lies: as given, or `name` in the data directory.

    Raises:
        ConfigError: neither is known.
    """
    if given is not None:
        return Path(given).expanduser()
    if folder is None:
        raise ConfigError(f"{where}: no file is named and the plan has no data directory (set SFM_DATA_DIR)")
    return folder / name


def prepare_file(path: Path, where: str, *, create: bool) -> None:
    """Create the file with mode 0600 when it is missing and may be created.

    Raises:
        ConfigError: it is missing and may not be created, or its folder cannot hold it.
    """
    if path.exists():
        return
    if not create:
        raise ConfigError(f"{where}: {path} does not exist and may not be created here; run `sfm migrate`")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ConfigError(f"{where}: {path} cannot be created: {error.strerror}") from error


def connect(
    path: Path,
    *,
    timeout: float,
    synchronous: str,
    cache_kib: int,
    read_only: bool = False,
    page_size: int = 4096,
) -> sqlite3.Connection:
    """Open a connection that commits by hand and overwrites what it deletes; `page_size` is for new files.

    Nothing is written yet: `migrate` switches to WAL mode, once it knows whose file it is.

    Raises:
        sqlite3.Error: see `meaning`.
    """
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute(f"PRAGMA cache_size = -{cache_kib}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
    except BaseException:
        connection.close()
        raise
    return connection


def _to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait by itself when several processes open a new file at once."""
    (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
    until = time.monotonic() + milliseconds / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_RETRY_SECONDS)


def migrate(
    connection: sqlite3.Connection, steps: Sequence[str], *, application_id: int, where: str, create: bool = True
) -> None:
    """Switch to WAL mode and bring the schema to `len(steps)`: all missing steps in one transaction, or nothing.

    Raises:
        CorruptData: the file is another program's, or was written by a newer version; not one byte of it was changed.
        ConfigError: steps are missing and may not be applied here.
    """
    # One snapshot: another process may make the schema just now.
    connection.execute("BEGIN")
    try:
        version = _version(connection, steps, application_id, where)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if connection.execute("PRAGMA query_only").fetchone() == (0,):
        _to_wal(connection)
    if version == len(steps):
        return
    if not create:
        raise ConfigError(f"{where}: the file's schema is older than {len(steps)}; run `sfm migrate`")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[_version(connection, steps, application_id, where) :]:
            for statement in step.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection, steps: Sequence[str], application_id: int, where: str) -> int:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    if owner != application_id and not empty:
        raise CorruptData(f"{where}: the file is another program's database; nothing was changed")
    if version > len(steps):
        raise CorruptData(
            f"{where}: the file has schema version {version}, this version knows {len(steps)}; nothing was changed"
        )
    return int(version)
