"""One database: its connections, its transactions, its timeouts and the meaning of its errors.

Safe behind a proxy that pools by transaction: nothing is kept in a session (no `SET`, no temporary tables, no `LISTEN`, no
session locks); with `transaction_pooling` nothing is prepared either and timeouts are set inside each transaction. Other
plugins build on this module.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from sfm_core.errors import ConfigError
from sfm_postgres.config import ConnectionConfig
from sfm_postgres.errors import Blocked, is_lost, is_transient, meaning
from sfm_postgres.pool import Connection, Pool

__all__ = ["MINIMUM_VERSION", "Database", "open_database"]

T = TypeVar("T")
Row = tuple[Any, ...]

MINIMUM_VERSION = 14
_ATTEMPTS = 10
_CHECK_SECONDS = 1.5
_GRACE_SECONDS = 1.0
_DEFAULTS = {
    "application_name": "somafractalmemory",
    "client_encoding": "UTF8",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_LIMITS = """SELECT set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
    set_config('idle_in_transaction_session_timeout', %s, true)"""


class Database:
    """Statements and transactions on one database.

    In every statement `{s}` stands for the quoted name of the schema. Values are passed as `%s`. Rows come in the binary
    format; instants in UTC, `uuid` as text, `json` and `jsonb` decoded (see `sfm_postgres.adapt`).

    Attributes:
        where: what error messages begin with, `plugin/port`.
        schema: the name of the schema.
    """

    def __init__(self, config: ConnectionConfig, where: str) -> None:
        self.where = where
        self.schema = config.schema
        self._quoted = f'"{config.schema}"'
        self._texts: dict[str, bytes] = {}
        limits = (config.statement_timeout, config.lock_timeout, config.idle_transaction_timeout)
        self._limits = tuple(str(max(1, round(seconds * 1000))) for seconds in limits)
        self._sets_limits = config.transaction_pooling
        self._pool = Pool(
            _parameters(config, self._limits, where),
            size=config.pool_size,
            timeout=config.pool_timeout,
            connect_timeout=config.connect_timeout,
            patience=config.statement_timeout + _GRACE_SECONDS,
            prepare=not config.transaction_pooling,
            where=where,
        )

    def text(self, sql: str) -> bytes:
        """Return a statement with the schema's name in it, as the driver takes it."""
        found = self._texts.get(sql)
        if found is None:
            found = sql.replace("{s}", self._quoted).encode()
            if len(self._texts) < 1024:
                self._texts[sql] = found
        return found

    async def rows(self, sql: str, values: Sequence[Any] = (), *, seconds: float | None = None) -> list[Row]:
        """Run one statement by itself, in one round trip, and return its rows.

        It is run again when the connection turns out to be dead, so it must do no harm twice.

        Args:
            sql: the statement.
            values: its values.
            seconds: give up after so long instead of the statement timeout.

        Raises:
            BackendUnavailable, BackendError: see `sfm_postgres.errors`.
        """
        text = self.text(sql)

        async def run(connection: Connection) -> list[Row]:
            cursor = await connection.execute(text, values, binary=True)
            return await cursor.fetchall() if cursor.pgresult is not None and cursor.pgresult.nfields else []

        return await self.use(run, seconds=seconds)

    async def use(
        self, work: Callable[[Connection], Awaitable[T]], *, seconds: float | None = None, again: bool = True
    ) -> T:
        """Lend a connection in autocommit to `work`, bounded in time, with typed errors.

        Args:
            work: what to do with it. It is run a second time, on a new connection, when the first one turns out to be dead.
            seconds: give up after so long, all waits together; default only the bound of each wait.
            again: whether a second time does no harm even when a commit was sent already.
        """
        try:
            if seconds is None:
                return await self._lend(work, again=again)
            async with asyncio.timeout(seconds):
                return await self._lend(work, again=again)
        except (psycopg.Error, OSError, TimeoutError) as error:
            # Not `from error`: its text may hold stored values.
            raise meaning(error, self.where) from None

    async def transaction(
        self, work: Callable[[Connection], Awaitable[T]], *, collisions: tuple[type[psycopg.Error], ...] = ()
    ) -> T:
        """Run `work` inside a transaction and commit; run it again when it collided with others (serialisation, deadlock).

        Args:
            work: gets the connection; must be fit to be run again.
            collisions: further errors of the driver after which it is run again.

        Raises:
            BackendUnavailable: also when it collided too often. When the connection is lost during the commit the outcome
                is unknown.
        """

        async def run(connection: Connection) -> T:
            await self.begin(connection)
            result = await work(connection)
            await self.commit(connection)
            return result

        return await self.attempt(run, collisions=collisions)

    async def attempt(
        self, work: Callable[[Connection], Awaitable[T]], *, collisions: tuple[type[psycopg.Error], ...] = ()
    ) -> T:
        """As `transaction`, for a `work` that calls `begin` and `commit` itself (in pipelines, to save round trips)."""

        async def run(connection: Connection) -> T:
            try:
                return await work(connection)
            except BaseException as error:
                await _roll_back(connection)
                if is_transient(error) or isinstance(error, collisions):
                    raise _CollidedError from None
                raise

        for number in range(_ATTEMPTS):
            try:
                return await self.use(run, again=False)
            except _CollidedError:
                await asyncio.sleep(random.uniform(0, 0.002 * 2**number))
        raise Blocked(f"{self.where}: the transaction collided with others again and again")

    async def alone(self, connection: Connection, sql: str, values: Sequence[Any]) -> list[Row]:
        """Run one statement as a transaction of its own, inside `attempt` and before any `begin`; return its rows.

        Its commit is sent with it: when the connection is lost nobody knows whether it was carried out. One that the server
        closed while it was idle is therefore recognised first.
        """
        for _ in range(2):  # the first time may read a farewell, the second time the end is seen
            connection.pgconn.consume_input()
        connection.committing = True
        if self._sets_limits:
            async with connection.pipeline():
                await self.begin(connection)
                cursor = await connection.execute(self.text(sql), values, binary=True)
                await self.commit(connection)
        else:
            cursor = await connection.execute(self.text(sql), values, binary=True)
        connection.committing = False
        return await cursor.fetchall()

    async def begin(self, connection: Connection) -> None:
        """Begin a transaction with the timeouts of the settings; inside a pipeline it costs no round trip."""
        await connection.execute(b"BEGIN")
        if self._sets_limits:
            await connection.execute(_LIMITS.encode(), self._limits)

    async def commit(self, connection: Connection) -> None:
        """Commit; inside a pipeline it costs no round trip, and has happened when the pipeline's results are in."""
        connection.committing = True
        await connection.execute(b"COMMIT")

    async def handshake(self) -> None:
        """Look at what kind of server it is.

        Raises:
            ConfigError: it is too old, or keeps its texts in another encoding than UTF-8.
            BackendUnavailable: it cannot be reached.
        """

        async def look(connection: Connection) -> tuple[int, str]:
            status = connection.info.parameter_status("server_encoding")
            return connection.info.server_version // 10000, status or "UTF8"

        version, encoding = await self.use(look)
        if version < MINIMUM_VERSION:
            raise ConfigError(f"{self.where}: the server is PostgreSQL {version}, allowed: {MINIMUM_VERSION} or newer")
        if encoding != "UTF8":
            raise ConfigError(f"{self.where}: the database's encoding is {encoding}, allowed: UTF8")

    async def check(self) -> None:
        """Prove, within two seconds, that the server answers.

        Raises:
            BackendUnavailable: it does not.
        """
        await self.rows("SELECT 1", seconds=_CHECK_SECONDS)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close()

    async def _lend(self, work: Callable[[Connection], Awaitable[T]], *, again: bool) -> T:
        fresh = False
        while True:
            connection = await self._pool.take(fresh=fresh)
            connection.committing = False
            try:
                return await work(connection)
            except psycopg.Error as error:
                if fresh or not is_lost(error) or connection.void or (connection.committing and not again):
                    raise
                connection.void = True
            finally:
                self._pool.give_back(connection)
            fresh = True


class _CollidedError(Exception):
    """The transaction was taken back; it may be run again."""


@asynccontextmanager
async def open_database(config: ConnectionConfig, where: str) -> AsyncIterator[Database]:
    """Open a database after a look at what kind of server it is.

    Raises:
        ConfigError: the connection string cannot be used, or the server is older than `MINIMUM_VERSION` or does not keep its
            texts as UTF-8.
        BackendUnavailable: the server cannot be reached.
    """
    database = Database(config, where)
    try:
        await database.handshake()
        yield database
    finally:
        await database.close()


async def _roll_back(connection: Connection) -> None:
    """Take the open transaction back; a connection on which that fails is closed by the pool."""
    if connection.closed or connection.void:
        return
    if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
        return
    try:
        await connection.execute(b"ROLLBACK")
    except (psycopg.Error, OSError, TimeoutError):
        connection.void = True


def _parameters(config: ConnectionConfig, limits: Sequence[str], where: str) -> Mapping[str, Any]:
    """Return libpq's parameters.

    Raises:
        ConfigError: the connection string is malformed.
    """
    try:
        given = conninfo_to_dict(config.url.reveal())
    except psycopg.Error:
        raise ConfigError(f"{where}: url: allowed: postgresql://user@host:5432/database or key=value pairs") from None
    parameters: dict[str, Any] = {**_DEFAULTS, **given}
    if config.password is not None:
        parameters.setdefault("password", config.password.reveal())
    for name in ("sslmode", "sslrootcert"):
        value = getattr(config, name)
        if value is not None:
            parameters.setdefault(name, value)
    if not config.transaction_pooling:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        options = " ".join(f"-c {name}={value}" for name, value in zip(names, limits, strict=True))
        # The driver reads instants faster in UTC; short statements win nothing by workers and compilation.
        options += " -c timezone=UTC -c jit=off -c max_parallel_workers_per_gather=0"
        parameters["options"] = f"{options} {parameters.get('options') or ''}".strip()
    return parameters
