"""API keys on a real service of several workers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx

from sfm_core.services.authentication import KEPT_SECONDS

LEEWAY = 10.0


def statuses(service: Any, headers: dict[str, str]) -> set[int]:
    """Ask over new connections until every worker has most likely answered."""
    found = set()
    for _ in range(20):
        found.add(httpx.get(f"{service.url}/v1/stats", headers=headers, timeout=30).status_code)
    return found


def settled(service: Any, headers: dict[str, str], status: int) -> None:
    """Wait until every worker answers so; it must not take long, and never turn back."""
    until = time.monotonic() + KEPT_SECONDS + LEEWAY
    while statuses(service, headers) != {status}:
        assert time.monotonic() < until, f"not every worker answers {status}"
    assert statuses(service, headers) == {status}


def test_all_workers_ask_for_keys_and_know_what_was_revoked(serve: Any, tmp_path: Any) -> None:
    """Soon after the first key was made over one of them, and after a restart at once; secrets are in no file and no log."""
    with serve(UVICORN_WORKERS=2) as service:
        assert statuses(service, {}) == {200}
        fields = {"namespaces": ["**"], "verbs": ["read", "admin"]}
        keys = []
        shown: dict[str, str] = {}
        for _ in range(2):
            answer = httpx.post(f"{service.url}/v1/keys", json=fields, headers=shown)
            assert answer.status_code == 201
            keys.append(answer.json())
            shown = {"Authorization": f"Bearer {answer.json()['key']}"}
        first, second = [{"Authorization": f"Bearer {key['key']}"} for key in keys]
        settled(service, {}, 401)
        assert statuses(service, first) == statuses(service, second) == {200}
        assert httpx.delete(f"{service.url}/v1/keys/{keys[0]['id']}", headers=second).status_code == 200
        settled(service, first, 401)
        assert statuses(service, second) == {200}
    with serve(UVICORN_WORKERS=2) as again:
        assert statuses(again, {}) == statuses(again, first) == {401}
        assert statuses(again, second) == {200}
        stored = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
        for key in keys:
            secret = key["key"].rpartition("_")[2]
            assert key["id"].encode() in stored
            assert secret.encode() not in stored
            assert bytes.fromhex(secret) not in stored
            assert secret not in service.text + again.text


async def test_a_stream_of_changes_ends_when_its_key_is_revoked(serve: Any) -> None:
    """Within the same few seconds, complete."""
    with serve() as service:
        async with service.client() as client, asyncio.timeout(KEPT_SECONDS + LEEWAY):
            fields = {"namespaces": ["**"], "verbs": ["read", "admin"]}
            key = (await client.post("/v1/keys", json=fields)).json()
            client.headers["Authorization"] = f"Bearer {key['key']}"
            stream = client.stream("GET", "/v1/changes", headers={"Accept": "text/event-stream"})
            async with stream as answer:
                lines = answer.aiter_lines()
                assert await anext(lines) == "retry: 1000"
                assert (await client.delete(f"/v1/keys/{key['id']}")).status_code == 200
                async for _ in lines:
                    pass
