"""Every way in which an engine can fail, as errors of this system. The one place; driver texts never leave it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from sfm_core.errors import BackendError, BackendUnavailable, SfmError

__all__ = ["NAME", "Missing", "Patience", "Silent", "bounded", "repeated", "translated"]

NAME = "qdrant/vectors"

T = TypeVar("T")

_PAUSE = 0.05
_LULL = 0.5
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_DOWN = frozenset({"CANCELLED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN"})
_LOCAL = (ValueError, KeyError, TypeError, AssertionError, RuntimeError, OSError)


class Missing(BackendUnavailable):
    """The collection is not there (any more)."""


class Silent(BackendUnavailable):
    """There was no answer in time."""


class Patience:
    """Spares callers the timeout of a server that is known to be silent: one asks, the others fail at once until it answers."""

    def __init__(self) -> None:
        self._until = 0.0

    async def run(self, call: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Return what `call` returns.

        Args:
            call: raises `Silent` when there was no answer in time.
            seconds: about how long that takes.

        Raises:
            Silent: there was none, or shortly before there was none.
        """
        known = self._until > 0.0
        if time.monotonic() < self._until:
            raise Silent(f"{NAME}: no answer in time a moment ago")
        if known:
            self._until = time.monotonic() + seconds + _LULL
        try:
            result = await call()
        except Silent:
            self._until = time.monotonic() + _LULL
            raise
        except BaseException:
            # It answered, if only with an error, or nobody waits for the answer any more.
            self._until = 0.0
            raise
        self._until = 0.0
        return result


class _Broken(BackendUnavailable):
    """The connection could not be made, or broke: what was asked may or may not have happened."""


def translated(error: Exception) -> SfmError:
    """Return the error of this system for what client, wire or engine raised."""
    if isinstance(error, SfmError):
        return error
    if isinstance(error, TimeoutError):
        return Silent(f"{NAME}: no answer in time")
    causes = list(_chain(error))
    for cause in causes:
        known = _from_http(cause) or _from_grpc(cause)
        if known is not None:
            return known
    if isinstance(error, _LOCAL) and "not found" in str(error):
        return Missing(f"{NAME}: the collection is gone; `sfm reindex` builds it anew")
    if isinstance(error, RuntimeError) and "closed" in str(error):
        return BackendUnavailable(f"{NAME}: the connection is closed")
    return BackendError(f"{NAME}: {type(causes[-1]).__name__}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    yield error
    source = getattr(error, "source", None)
    if isinstance(source, BaseException):
        yield from _chain(source)


def _from_http(error: BaseException) -> SfmError | None:
    import httpx
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import UnexpectedResponse

    if isinstance(error, httpx.TimeoutException):
        return Silent(f"{NAME}: no answer in time")
    if isinstance(error, httpx.TransportError):
        return _Broken(f"{NAME}: cannot be reached, {type(error).__name__}")
    if isinstance(error, json.JSONDecodeError):
        return BackendUnavailable(f"{NAME}: answered with something that is no JSON")
    if isinstance(error, ResourceExhaustedResponse):
        return BackendUnavailable(f"{NAME}: has too much to do", retry_after=error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        return _of_status(error.status_code or 0)
    return None


def _of_status(status: int) -> SfmError:
    if status in _BUSY:
        return BackendUnavailable(f"{NAME}: the server answered with status {status}")
    if status == 404:
        return Missing(f"{NAME}: the collection is gone; `sfm reindex` builds it anew")
    if status in (401, 403):
        return BackendError(f"{NAME}: the server refuses these credentials (status {status})")
    return BackendError(f"{NAME}: the server refused the request (status {status})")


def _from_grpc(error: BaseException) -> SfmError | None:
    import grpc

    if not isinstance(error, grpc.RpcError):
        return None
    code = getattr(error, "code", lambda: None)()
    name = getattr(code, "name", "UNKNOWN")
    if name == "UNAVAILABLE":
        return _Broken(f"{NAME}: cannot be reached over gRPC")
    if name == "DEADLINE_EXCEEDED":
        return Silent(f"{NAME}: no answer in time")
    if name in _DOWN:
        return BackendUnavailable(f"{NAME}: gRPC answered {name}")
    if name == "NOT_FOUND":
        return Missing(f"{NAME}: the collection is gone; `sfm reindex` builds it anew")
    if name in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return BackendError(f"{NAME}: the server refuses these credentials ({name})")
    return BackendError(f"{NAME}: the server refused the request ({name})")


@asynccontextmanager
async def bounded(seconds: float) -> AsyncIterator[None]:
    """Give what is inside so much time, and translate what it raises."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except Exception as error:  # noqa: BLE001  each becomes one of ours; the driver's text may hold content
        raise translated(error) from None


async def repeated(call: Callable[[], Awaitable[T]]) -> T:
    """Return what `call` returns; once more when the connection broke, which an idle one does at a restart of the server.

    Only for what may happen twice.
    """
    try:
        return await call()
    except _Broken:
        await asyncio.sleep(_PAUSE)
        return await call()
