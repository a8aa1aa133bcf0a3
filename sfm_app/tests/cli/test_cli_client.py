"""The HTTP client against a real server that does what ours never would, and problems turned back into errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sfm_app.cli.client import Client
from sfm_app.cli.problems import error_of
from sfm_app.cli.remote import RemoteTarget
from sfm_app.cli.target import Route
from sfm_core import errors
from sfm_core.errors import SfmError


class Odd(BaseHTTPRequestHandler):
    """Answers by the path: in full, cut off, not JSON, refused before the body is read."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/text":
            self._answer(200, b"hello", "text/plain")
        elif self.path == "/html":
            self._answer(502, b"<h1>Bad gateway</h1>", "text/html")
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n")
            self.close_connection = True
        elif self.path.startswith("/v1/changes"):
            event = b'{"data": {"sequence": 7}}'
            self._answer(
                200, b"retry: 1000\n\n: beat\n\nid: 7\nevent: x\ndata: " + event + b"\n\n", "text/event-stream"
            )
        else:
            self._answer(200, json.dumps({"path": self.path}).encode(), "application/json")

    def do_POST(self) -> None:
        problem = {"type": "urn:somafractalmemory:problem:content-too-large", "status": 413, "detail": "too large"}
        self.close_connection = True
        self._answer(413, json.dumps(problem).encode(), "application/problem+json")

    def _answer(self, status: int, body: bytes, media_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_paths_and_queries_are_written_so_that_they_mean_what_they_say(url: str) -> None:
    """Segments and values are percent-encoded; a path of the URL stands before."""
    client = Client(f"{url}/under/")
    answer = client.ask(Route("GET", ("a/b", "ü"), {"n": 1, "t": True, "c": [1.0, 2.5], "s": "x&y=z ?"}))
    assert answer["path"] == "/under/a%2Fb/%C3%BC?n=1&t=true&c=1.0%2C2.5&s=x%26y%3Dz+%3F"


@pytest.mark.parametrize("path", ["text", "html"])
def test_an_answer_of_another_service_is_told_as_such(url: str, path: str) -> None:
    """Whatever answers there, it is not this API."""
    with pytest.raises(errors.BackendError, match="is it this service"):
        Client(url).ask(Route("GET", (path,)))


def test_a_stream_that_breaks_off_is_an_error(url: str) -> None:
    """A short archive is never taken for a whole one."""
    pieces = Client(url).pieces(Route("GET", ("cut",)))
    assert next(pieces) == b"hello"
    with pytest.raises(errors.BackendError, match="broke off"):
        next(pieces)


def test_an_early_refusal_of_a_long_body_is_read(url: str) -> None:
    """The service closes its end while the body is still being sent; its reason arrives all the same."""
    with pytest.raises(errors.LimitExceeded, match="too large"):
        Client(url).send(Route("POST", ("import",)), (b"x" * 65536 for _ in range(1000)), "application/x-ndjson")


def test_a_stream_of_changes_that_ends_names_where_to_go_on(url: str) -> None:
    """Comments and other fields are passed over; the end of the stream is not the end of changes."""
    events = RemoteTarget(url).follow(None, 3)
    assert next(events) == {"data": {"sequence": 7}}
    with pytest.raises(errors.BackendUnavailable, match="--after 7"):
        next(events)


PROBLEMS: list[tuple[int, str, type[SfmError]]] = [
    (400, "bad-request", errors.InvalidInput),
    (401, "unauthorized", errors.Unauthenticated),
    (401, "unauthenticated", errors.Unauthenticated),
    (403, "forbidden", errors.Forbidden),
    (404, "not-found", errors.NotFound),
    (409, "conflict", errors.Conflict),
    (412, "stale-version", errors.StaleVersion),
    (413, "content-too-large", errors.LimitExceeded),
    (422, "refused-value", errors.InvalidInput),
    (422, "idempotency-mismatch", errors.IdempotencyMismatch),
    (429, "too-many-requests", errors.BackendUnavailable),
    (501, "not-supported", errors.CapabilityNotSupported),
    (503, "unavailable", errors.BackendUnavailable),
    (503, "deadline-exceeded", errors.DeadlineExceeded),
    (500, "internal-server-error", errors.BackendError),
]


@pytest.mark.parametrize(("status", "slug", "kind"), PROBLEMS)
def test_a_problem_becomes_the_error_it_came_from(status: int, slug: str, kind: type[SfmError]) -> None:
    """By its type, else by its status; the detail is the message."""
    body = {"type": f"urn:somafractalmemory:problem:{slug}", "title": "T", "status": status, "detail": "what happened"}
    error = error_of(status, {"retry-after": "7"}, json.dumps(body).encode(), "service x")
    assert type(error) is kind
    assert "what happened" in str(error)
    if isinstance(error, errors.BackendUnavailable):
        assert error.retry_after == 7.0


def test_refused_fields_come_back_with_what_is_allowed() -> None:
    """`errors` of the problem are the problems of the error."""
    problem = {"field": "k", "given": "0", "allowed": "a whole number from 1 to 1000"}
    body = {"type": "urn:somafractalmemory:problem:refused-value", "status": 422, "detail": "d", "errors": [problem]}
    error = error_of(422, {}, json.dumps(body).encode(), "service x")
    assert isinstance(error, errors.InvalidInput)
    assert (error.problems[0].field, str(error)) == ("k", "k: got 0, allowed: a whole number from 1 to 1000")
