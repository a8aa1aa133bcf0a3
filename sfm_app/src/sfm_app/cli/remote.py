"""A running service as a target."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from sfm_app.cli.client import Client
from sfm_app.cli.target import Call, Progress, Route, given
from sfm_core.config.secret import Secret
from sfm_core.errors import BackendUnavailable

__all__ = ["RemoteTarget"]

_ARCHIVE = "application/x-ndjson"
_STREAM = "text/event-stream"


class RemoteTarget:
    """Sends each operation to the service at `url`, with an API key where there is one."""

    def __init__(self, url: str, api_key: Secret | None = None) -> None:
        self._client = Client(url, api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing stays open between two operations."""

    def ask(self, call: Call) -> Any:
        """Carry out an operation and return its answer as JSON values."""
        return self._client.ask(_versioned(call.route))

    def export(self, namespace: str | None) -> Iterator[bytes]:
        """Yield an archive in pieces, as it arrives."""
        route = Route("GET", ("export",), given(namespace=namespace), headers={"Accept": _ARCHIVE})
        return self._client.pieces(_versioned(route))

    def import_(self, pieces: Iterable[bytes], key: str | None, progress: Progress) -> Any:
        """Send an archive in pieces and return the report; how far the service is with storing it is not seen."""
        route = Route("POST", ("import",), headers={} if key is None else {"Idempotency-Key": key})
        return self._client.send(_versioned(route), pieces, _ARCHIVE)

    def follow(self, namespace: str | None, after: int) -> Iterator[Any]:
        """Yield change events as JSON values, those to come included, until the service ends the stream.

        Raises:
            BackendUnavailable: the service ended it; names the sequence to go on from.
        """
        query = given(namespace=namespace, after=after)
        lines = self._client.lines(_versioned(Route("GET", ("changes",), query, headers={"Accept": _STREAM})))
        for data in _events(lines):
            event = json.loads(data)
            after = event["data"]["sequence"]
            yield event
        raise BackendUnavailable(f"{self._client.name}: the stream of changes ended; go on with --after {after}")

    def health(self) -> Any:
        """Return the readiness document, whether it says ready or not."""
        return self._client.ask(Route("GET", ("readyz",)), accepted=(503,))


def _versioned(route: Route) -> Route:
    return Route(route.method, ("v1", *route.path), route.query, route.body, route.headers)


def _events(lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each server-sent event; comments and other fields are passed over."""
    data: list[str] = []
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
