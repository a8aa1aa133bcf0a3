"""Settings of the Redis cache."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from sfm_core.config.secret import Secret

__all__ = ["RedisConfig"]

_Seconds = Annotated[float, Meta(gt=0)]


class RedisConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the server is, how to log in, and how patient to be.

    Attributes:
        host, port: of the server, or of what stands in front of it (`REDIS_HOST`, `REDIS_PORT`).
        username, password: to log in with; without a username the password is that of the server's default user.
        db: number of the database.
        tls: speak TLS; the server's certificate is verified.
        tls_ca_file: certificates to trust instead of the system's.
        tls_cert_file, tls_key_file: the certificate to show, where the server asks for one.
        prefix: every key begins with it and ":"; installations that share a server need different ones.
        connect_timeout: seconds a connection may take, the login included.
        timeout: seconds a request may take, waiting for a connection and connecting included.
        connections: most connections of one process.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 6379
    username: str | None = None
    password: Secret | None = None
    db: Annotated[int, Meta(ge=0)] = 0
    tls: bool = False
    tls_ca_file: Path | None = None
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "sfm"
    connect_timeout: _Seconds = 0.5
    timeout: _Seconds = 0.5
    connections: Annotated[int, Meta(ge=1)] = 32
