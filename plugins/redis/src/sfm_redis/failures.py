"""From an error of the driver to one of ours. Its text is never passed on: it may hold a login, keys or values."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

from redis import exceptions as driver

from sfm_core.errors import BackendError, BackendUnavailable
from sfm_redis.config import RedisConfig

__all__ = ["DRIVER_ERRORS", "failure", "may_be_repeated"]

DRIVER_ERRORS = (driver.RedisError, driver.RedisClusterException, OSError)
"""What a request to a server may raise; `asyncio.timeout` included, whose error is an `OSError`."""

_Kind = Callable[[str], BackendError]

_TEXTS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], _Kind, str], ...] = (
    (
        (driver.AuthenticationError, driver.AuthorizationError, driver.AuthenticationWrongNumberOfArgsError),
        BackendError,
        "refuses the login; check the settings username and password",
    ),
    (driver.NoPermissionError, BackendError, "does not permit the user what a cache needs: see the plugin's README"),
    (
        driver.OutOfMemoryError,
        BackendError,
        "has no memory left and may evict nothing; set its maxmemory-policy to allkeys-lru",
    ),
    (
        (driver.AskError, driver.ClusterCrossSlotError),
        BackendError,
        "is a node of a Redis Cluster; name a server, or a proxy, that holds all keys",
    ),
    (driver.BusyLoadingError, BackendUnavailable, "is still loading its data"),
    (driver.ReadOnlyError, BackendUnavailable, "is a replica that may not be written to"),
    ((driver.ClusterDownError, driver.TryAgainError), BackendUnavailable, "has no primary now"),
)
"""In this order: some of the driver's classes derive from others."""


def failure(error: Exception, config: RedisConfig) -> BackendError:
    """Return what `error` means.

    Args:
        error: one of `DRIVER_ERRORS`.
        config: names the server.

    Returns:
        `BackendUnavailable` for a server that is down, refuses connections, does not answer in time or cannot serve now;
        else `BackendError`.
    """
    server = f"redis/cache: the server {config.host}:{config.port}"
    if isinstance(error, TimeoutError | driver.TimeoutError):
        return BackendUnavailable(f"{server} gave no answer within {config.timeout:g} s")
    if any(isinstance(behind, ssl.SSLCertVerificationError) for behind in _chain(error)):
        return BackendError(
            f"{server} shows a certificate that is not trusted; check the settings host and tls_ca_file"
        )
    for types, kind, text in _TEXTS:
        if isinstance(error, types):
            return kind(f"{server} {text}")
    if isinstance(error, driver.ConnectionError | OSError):
        return BackendUnavailable(f"{server} cannot be reached{_cause(error)}")
    return BackendError(f"{server} refuses a request ({type(error).__name__})")


def may_be_repeated(error: Exception) -> bool:
    """Tell whether `error` may come from a connection that the server closed while it was idle."""
    final = (driver.AuthenticationError, driver.AuthorizationError, driver.BusyLoadingError, driver.TimeoutError)
    return isinstance(error, driver.ConnectionError) and not isinstance(error, final)


def _cause(error: BaseException) -> str:
    """Return the operating system's words for what is behind `error`, in brackets."""
    words = (behind.strerror for behind in _chain(error) if isinstance(behind, OSError) and behind.strerror)
    return next((f" ({text})" for text in words), "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    behind: BaseException | None = error
    while behind is not None:
        yield behind
        behind = behind.__cause__ or behind.__context__
