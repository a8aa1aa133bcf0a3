"""What the driver's errors mean here, in one place. Their texts may hold stored values: none is kept."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg

from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, CorruptData, SfmError

__all__ = ["Blocked", "is_lost", "is_transient", "meaning", "refused_connection"]


class Blocked(BackendUnavailable):
    """The server is well, but what was asked for stood in another's way for too long."""


_TRANSIENT = (pg.SerializationFailure, pg.DeadlockDetected)
_PASSING = {
    "08": "the connection was lost",
    "53": "the server is short of resources",
    "57": "the server is stopping or stopped the statement",
    "58": "the server's operating system failed",
    "40": "the transaction collided with others again and again",
}
_PASSING_STATES = {
    "57014": "a statement took longer than its timeout",
    "55P03": "a lock was not free within its timeout",
    "53300": "the server has no free connection",
    "53100": "the server's disk is full",
    "25006": "the server takes no writes now (a standby?)",
    "25P03": "the transaction was silent for too long and was ended",
}
_BLOCKED_STATES = frozenset({"57014", "55P03"})
_DAMAGE = "XX"
# No event and no request is to blame for these: whoever carries out events waits until they are mended.
_UNUSABLE = {
    "3F000": "the schema is missing; run `sfm migrate`",
    "42P01": "a table is missing; run `sfm migrate`",
    "42703": "a column is missing; run `sfm migrate`",
    "42501": "the user lacks a privilege",
}
# Texts of libpq and of the server without a state; they are looked for, never shown.
_REFUSALS = {
    "authentication failed": "the server refused the credentials",
    "no password supplied": "the server wants a password",
    "no pg_hba.conf entry": "the server takes no such connection (pg_hba.conf)",
    "certificate verify failed": "the server's certificate is not trusted",
    "does not support SSL": "the server does not speak TLS",
    "root certificate file": "the file of trusted certificates cannot be read",
    "invalid sslmode": "sslmode must be disable, allow, prefer, require, verify-ca or verify-full",
    "unsupported startup parameter": "a pooling proxy is in between: set transaction_pooling",
}
_REFUSAL_STATES = {
    "28000": "the server refused the user",
    "28P01": "the server refused the credentials",
    "3D000": "there is no such database",
}


def is_transient(error: BaseException) -> bool:
    """Tell whether the transaction collided with another and was taken back: running it again may work."""
    return isinstance(error, _TRANSIENT)


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection is gone, whatever became of what was sent."""
    return isinstance(error, OSError) or (
        isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        and (error.sqlstate is None or (error.sqlstate[:2] in ("08", "57") and error.sqlstate != "57014"))
    )


def meaning(error: BaseException, where: str) -> SfmError:
    """Return the typed error for one of the driver, the pool or the system; `where` is `plugin/port`."""
    if isinstance(error, TimeoutError):
        return BackendUnavailable(f"{where}: the server did not answer in time")
    if isinstance(error, OSError):
        return BackendUnavailable(f"{where}: the server cannot be reached")
    state = getattr(error, "sqlstate", None)
    if state is None:
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return BackendUnavailable(f"{where}: the connection was lost")
        return BackendError(f"{where}: the driver refused the statement ({type(error).__name__})")
    passing = _PASSING_STATES.get(state) or _PASSING.get(state[:2])
    if passing is not None:
        kind = Blocked if state in _BLOCKED_STATES else BackendUnavailable
        return kind(f"{where}: {passing} ({state})")
    if state.startswith(_DAMAGE):
        return CorruptData(f"{where}: the server reports damaged data or an internal error ({state})")
    if state in _UNUSABLE:
        return ConfigError(f"{where}: {_UNUSABLE[state]} ({state})")
    return BackendError(f"{where}: the server refused the statement ({state}, {type(error).__name__})")


def refused_connection(error: psycopg.Error, where: str) -> SfmError:
    """Return the typed error for a connection that could not be opened."""
    state = error.sqlstate
    known = _REFUSAL_STATES.get(state or "")
    if known is None:
        text = str(error)
        known = next((told for part, told in _REFUSALS.items() if part in text), None)
        if known is None and "does not exist" in text:
            known = "there is no such database or user"
    if known is not None:
        return ConfigError(f"{where}: {known}")
    if state is not None:
        return meaning(error, where)
    return BackendUnavailable(f"{where}: the server cannot be reached")
