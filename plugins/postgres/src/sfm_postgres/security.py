"""What a connection string lacks for modes that demand TLS and credentials."""

from __future__ import annotations

from sfm_core.plugins.types import Security
from sfm_postgres.config import ConnectionConfig

__all__ = ["security"]

_TLS = ("require", "verify-ca", "verify-full")
_CREDENTIALS = ("password", "passfile", "sslcert", "service")


def security(config: ConnectionConfig, *, prefix: str) -> Security:
    """Tell what the connections of `config` lack.

    Args:
        config: where the server is.
        prefix: of the plugin's settings, as `SFM_POSTGRES__`.
    """
    from psycopg import Error
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(config.url.reveal())
    except Error:
        # Opening it refuses it, and says why.
        return Security()
    sslmode = given.get("sslmode") or config.sslmode or "prefer"
    known = config.password is not None or any(given.get(name) for name in _CREDENTIALS)
    return Security(
        tls=None if sslmode in _TLS else f"{prefix}SSLMODE: {sslmode}, allowed: {', '.join(_TLS)}",
        credentials=None if known else f"{prefix}PASSWORD: not set, allowed: a password, or sslcert in the URL",
    )
