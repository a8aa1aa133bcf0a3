"""Settings of the PostgreSQL storage, and those that every plugin on PostgreSQL has."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

from sfm_core.config.secret import Secret

__all__ = ["ConnectionConfig", "PostgresConfig"]

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class ConnectionConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a plugin reaches its server.

    Attributes:
        url: the connection string, `postgresql://user@host:5432/database` or libpq's `key=value` form; may hold any of libpq's
            options, several hosts and `sslmode` among them. Required.
        password: the password when `url` holds none.
        sslmode: libpq's `sslmode` when `url` holds none: disable, allow, prefer, require, verify-ca or verify-full.
        sslrootcert: file with the certificates of trusted authorities, or `system`, when `url` names none.
        schema: the schema that holds all tables; created when it is missing and may be.
        transaction_pooling: whether a proxy that hands out its connections by transaction (PgBouncer, RDS Proxy, Supavisor) is
            in between: nothing is prepared then, and timeouts are set inside each transaction.
        pool_size: most connections of this process.
        pool_timeout: seconds to wait for a free connection.
        connect_timeout: seconds until a connection must be open.
        statement_timeout: seconds that one statement may take.
        lock_timeout: seconds that one statement may wait for a lock.
        idle_transaction_timeout: seconds that an open transaction may be silent before the server ends it.
    """

    url: Secret
    password: Secret | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    schema: str = "sfm"
    transaction_pooling: bool = False
    pool_size: Annotated[int, Meta(ge=1, le=1000)] = 10
    pool_timeout: Seconds = 5.0
    connect_timeout: Seconds = 5.0
    statement_timeout: Seconds = 10.0
    lock_timeout: Seconds = 5.0
    idle_transaction_timeout: Seconds = 10.0

    def __post_init__(self) -> None:
        if not _SCHEMA.fullmatch(self.schema):
            raise ValueError("schema: allowed: up to 48 lower-case letters, digits and underscores, no digit first")


class PostgresConfig(ConnectionConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the storage reaches its server: see `ConnectionConfig`."""
