"""Every refusal of a request for its form: status, problem document, nothing stored."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from sfm_app.http.routes import HANDLERS
from sfm_app.http.table import template_of

ROUTES = sorted(
    (method, template_of(path)) for handler in HANDLERS for path in handler.paths for method in handler.http_methods
)
JSON_ROUTES = [route for route in ROUTES if route[0] in ("POST", "PATCH") and not re.search("undo|import", route[1])]
DATA_ROUTES = [route for route in ROUTES if route[1] not in ("/schema",)]
JSON = {"Content-Type": "application/json"}


def filled(template: str) -> str:
    """Put something for the parameters of a path."""
    return template.replace("{id}", "00000000-0000-7000-8000-000000000000").replace("{namespace}", "a")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}}",
        b'{"content": }',
        b"{'content': 'x'}",
        b'{"content": "x",}',
        b'{"content": NaN}',
        b'{"importance": Infinity}',
        b'{"importance": -Infinity}',
        b'{"importance": 1e999}',
        b'{"content": "\\ud800"}',
        b'{"content": "\\udc00x"}',
        b'{"content": "\xff"}',
        b'{"content": "\xed\xa0\x80"}',
        b'{"content": "x", "content": "y"}',
        b'{"payload": {"a": 1, "a": 1}, "content": "x"}',
        b'{"content": "a\nb"}',
        b'\xef\xbb\xbf{"content": "x"}',
        b'{"content": "x"} {"content": "y"}',
        b'{"position": ' + b"9" * 5000 + b"}",
        b"\x00",
    ],
)
async def test_a_body_that_is_no_strict_json_is_400(client: httpx.AsyncClient, body: bytes) -> None:
    """NaN, Infinity, lone surrogates and a name that comes twice are no JSON here."""
    answer = await client.post("/v1/memories", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert (await client.get("/v1/stats")).json()["versions"] == 0


@pytest.mark.parametrize(("method", "template"), JSON_ROUTES)
async def test_every_route_with_a_body_refuses_bad_json_other_types_and_other_values(
    client: httpx.AsyncClient, method: str, template: str
) -> None:
    """400, 415 and 422 alike on all of them."""
    path = filled(template)
    assert (await client.request(method, path, content=b"{", headers=JSON)).status_code == 400
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/json; charset=latin-1"}):
        assert (await client.request(method, path, content=b"{}", headers=headers)).status_code == 415
    compressed = {**JSON, "Content-Encoding": "gzip"}
    assert (await client.request(method, path, content=b"{}", headers=compressed)).status_code == 415
    for other in (b"[]", b"7", b'"x"', b"null", b"true"):
        answer = await client.request(method, path, content=other, headers=JSON)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")
    answer = await client.request(method, path, content=b'{"colour": 1}', headers=JSON)
    assert answer.status_code in (404, 422), answer.text


@pytest.mark.parametrize(("method", "template"), DATA_ROUTES)
async def test_every_route_refuses_an_unknown_parameter(client: httpx.AsyncClient, method: str, template: str) -> None:
    """422 that names it."""
    answer = await client.request(method, filled(template) + "?colour=red")
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == "colour"


@pytest.mark.parametrize("template", sorted({template for _, template in ROUTES}))
async def test_another_method_is_405_and_the_allowed_ones_are_told(client: httpx.AsyncClient, template: str) -> None:
    """On every path."""
    allowed = {method for method, known in ROUTES if known == template}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - allowed:
        answer = await client.request(method, filled(template))
        assert answer.status_code == 405
        assert allowed <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v2/memories", "/v1/memories/a/b/c", "/%00", "/v1/key"]
)
async def test_an_unknown_path_is_404(client: httpx.AsyncClient, path: str) -> None:
    """With the path as instance."""
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["title"] == "Not found"


async def test_a_body_larger_than_announced_limits_is_413_before_it_is_read(start: Any) -> None:
    """By Content-Length, and by counting when it comes in pieces."""
    async with start(limits={"body_bytes": 1000}) as client:
        fits = b'{"content": "' + b"x" * 900 + b'"}'
        assert (await client.post("/v1/memories", content=fits, headers=JSON)).status_code == 201
        assert (await client.post("/v1/memories", content=fits * 2, headers=JSON)).status_code == 413

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 100

        answer = await client.post("/v1/memories", content=pieces(), headers=JSON)
        assert answer.status_code == 413


async def test_a_value_beyond_its_limit_is_422_with_the_limit(client: httpx.AsyncClient) -> None:
    """Content, payload, depth, tags, texts: the field, what came and what is allowed."""
    deep: Any = 1
    for _ in range(70):
        deep = {"a": deep}
    cases: dict[str, Any] = {
        "content": "x" * (2**20 + 1),
        "payload": {"text": "x" * 2**18},
        "tags": [str(n) for n in range(65)],
        "author": "x" * 257,
    }
    for field, value in cases.items():
        answer = await client.post("/v1/memories", json={"content": "x", field: value})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    answer = await client.post("/v1/memories", json={"content": "x", "payload": deep})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith("payload")


async def test_a_payload_nested_ten_thousand_deep_is_422_and_named(client: httpx.AsyncClient) -> None:
    """Not a crash and not a 500."""
    body = b'{"content": "x", "payload": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}"
    answer = await client.post("/v1/memories", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "payload")


async def test_all_refused_fields_are_named_at_once(client: httpx.AsyncClient) -> None:
    """A caller mends a memory in one go."""
    item = {"content": "", "importance": 7, "kind": "dream", "colour": "red", "tags": "red"}
    answer = await client.post("/v1/memories", json=item)
    assert {error["field"] for error in answer.json()["errors"]} == set(item)
    assert all(error["given"] and error["allowed"] for error in answer.json()["errors"])


async def test_a_text_of_one_megabyte_and_odd_characters_comes_back_the_same(client: httpx.AsyncClient) -> None:
    """What is accepted is what is read."""
    for content in ("x" * 2**20, "tab\tline\nend", "emoji 🧠 ümlaut \u202e", '":":":', "a\u0000b"):
        answer = await client.post("/v1/memories", json={"content": content})
        if answer.status_code == 422:
            assert answer.json()["errors"][0]["field"] == "content"
            continue
        assert answer.status_code == 201
        assert answer.json()["memory"]["content"] == content


async def test_an_unforeseen_failure_is_500_without_its_cause(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """Neither text nor traceback leaves; the log has the place, not the text."""

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret content")

    app = client.app  # type: ignore[attr-defined]
    monkeypatch.setattr(app._services.overview, "stats", broken)
    answer = await client.get("/v1/stats")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret" not in str(logs)
    [line] = [line for line in logs if line["event"] == "request failed"]
    assert line["error"] == "RuntimeError"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert any("broken" in frame for frame in line["frames"])


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        ("BackendUnavailable", 503, "7"),
        ("DeadlineExceeded", 503, "1"),
        ("Forbidden", 403, None),
        ("CorruptData", 500, None),
        ("PluginError", 500, None),
        ("CapabilityNotSupported", 501, None),
    ],
)
async def test_each_error_of_the_core_has_its_status(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: str, status: int, retry: str | None
) -> None:
    """503 says when to come back."""
    from sfm_core import errors

    async def failing(*_: object, **__: object) -> None:
        kind = getattr(errors, error)
        raise (
            kind("sqlite/storage: no", retry_after=6.2) if error == "BackendUnavailable" else kind("sqlite/storage: no")
        )

    app = client.app  # type: ignore[attr-defined]
    monkeypatch.setattr(app._services.history, "restore", failing)
    path = "/v1/memories/00000000-0000-7000-8000-000000000000/restore"
    answer = await client.post(path, json={"version": 1})
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("sqlite/storage" in answer.text) == (status != 500)
