"""A small HTTP client for the service's API: JSON in and out, bodies streamed either way, problems raised as errors."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from sfm_app.cli.problems import error_of
from sfm_app.cli.target import Route
from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError, shown

__all__ = ["Client"]

_PIECE = 64 * 1024
_KEY = re.compile(r"[!-~]+")
"""What can stand in a header: a stray line end must not become one of its own."""
_SECONDS = 60.0


class Client:
    """Speaks with the service at one URL; a connection per request.

    Args:
        url: where it is.
        api_key: shown with every request, when there is one.

    Raises:
        ConfigError: the URL is none of a service, or the key can be none.
    """

    def __init__(self, url: str, api_key: Secret | None = None) -> None:
        self._parts = _parsed(url)
        if api_key is not None and not _KEY.fullmatch(api_key.reveal()):
            raise ConfigError("SFM_API_KEY: allowed: an API key, sfm_<key id>_<secret>")
        self._api_key = api_key
        self._base = self._parts.path.rstrip("/")
        self.name = f"service {self._parts.scheme}://{self._parts.netloc}"

    def ask(self, route: Route, *, accepted: tuple[int, ...] = ()) -> Any:
        """Send a request and return the JSON that comes back.

        Args:
            route: the request.
            accepted: statuses from 400 on whose answer is wanted all the same.

        Raises:
            SfmError: the problem that the service answered with; `BackendUnavailable` when it cannot be reached.
        """
        body = None if route.body is None else json.dumps(route.body).encode()
        with self._answer(route, body, _SECONDS, accepted) as answer:
            return self._json(answer.read())

    def send(self, route: Route, pieces: Iterable[bytes], media_type: str) -> Any:
        """Stream a body in chunks and return the JSON that comes back, however long the service takes."""
        streamed = Route(route.method, route.path, route.query, None, {**route.headers, "Content-Type": media_type})
        with self._answer(streamed, pieces, None, ()) as answer:
            return self._json(answer.read())

    def pieces(self, route: Route) -> Iterator[bytes]:
        """Yield the body that comes back in pieces; an answer that breaks off is an error."""
        with self._answer(route, None, _SECONDS, ()) as answer:
            while piece := answer.read1(_PIECE):
                yield piece

    def lines(self, route: Route) -> Iterator[bytes]:
        """Yield the body that comes back line by line, waiting for each as long as it takes."""
        with self._answer(route, None, None, ()) as answer:
            while line := answer.readline():
                yield line

    @contextlib.contextmanager
    def _answer(
        self, route: Route, body: bytes | Iterable[bytes] | None, seconds: float | None, accepted: tuple[int, ...]
    ) -> Iterator[http.client.HTTPResponse]:
        with self._told_apart(), contextlib.closing(self._connection(seconds)) as connection:
            self._send(connection, route, body)
            answer = connection.getresponse()
            if answer.status >= 400 and answer.status not in accepted:
                headers = {name.lower(): value for name, value in answer.headers.items()}
                raise error_of(answer.status, headers, answer.read(), self.name)
            yield answer

    @contextlib.contextmanager
    def _told_apart(self) -> Iterator[None]:
        """Turn what the network does into our errors."""
        try:
            yield
        except TimeoutError as error:
            raise BackendUnavailable(
                f"{self.name}: no answer in time; whether a write took place is not known"
            ) from error
        except http.client.HTTPException as error:
            raise BackendError(f"{self.name}: the answer broke off or is no HTTP ({type(error).__name__})") from error
        except OSError as error:
            raise BackendUnavailable(f"{self.name}: cannot be reached ({error.strerror or error})") from error

    def _connection(self, seconds: float | None) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.hostname or "", self._parts.port, timeout=seconds)

    def _send(self, connection: http.client.HTTPConnection, route: Route, body: bytes | Iterable[bytes] | None) -> None:
        headers = {"Accept": "application/json", **route.headers}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key.reveal()}"
        if isinstance(body, bytes):
            headers["Content-Type"] = headers.get("Content-Type", "application/json")
        elif body is not None:
            headers["Transfer-Encoding"] = "chunked"
        # A service that refuses a body early closes its end; the refusal is there to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(route.method, self._target(route), body, headers, encode_chunked=True)

    def _target(self, route: Route) -> str:
        path = "/".join(quote(segment, safe="", errors="surrogatepass") for segment in route.path)
        query = urlencode({name: _text(value) for name, value in route.query.items()}, errors="surrogatepass")
        return f"{self._base}/{path}" + (f"?{query}" if query else "")

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise BackendError(f"{self.name}: the answer is not JSON; is it this service?") from error


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return json.dumps(value)


def _parsed(url: str) -> SplitResult:
    allowed = "http://host:port or https://host:port, with a path before /v1 if there is one"
    if "@" in url:
        # What stands before the @ may be a password.
        raise ConfigError(f"SFM_URL: got a URL with a user in it, allowed: {allowed}")
    refused = ConfigError(f"SFM_URL: got {shown(url)}, allowed: {allowed}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise refused
    return parts
