"""API keys over REST: who is asked for one, what it opens, what each credential has of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sfm_app.application import Application
from sfm_app.http import door
from sfm_app.http.door import Door
from sfm_app.http.routes import HANDLERS
from sfm_core.errors import BackendUnavailable, ConfigError
from sfm_core.services.authentication import Authentication
from sfm_core.services.clock import now
from sfm_core.services.keys import Keys
from sfm_core.services.limits import Limits
from sfm_core.services.principal import EVERYTHING, Verb
from sfm_inmemory.storage import InmemoryStorage

ALL = [verb.value for verb in Verb]
OPEN = {"/healthz", "/readyz", "/metrics", "/schema", "/schema/openapi.json"}


async def make(client: httpx.AsyncClient, *namespaces: str, verbs: Any = ("read", "write"), **more: Any) -> Any:
    """Make a key, and return what is told of it with the header that shows it."""
    fields = {"namespaces": list(namespaces) or ["**"], "verbs": list(verbs), **more.pop("fields", {})}
    answer = await client.post("/v1/keys", json=fields, **more)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return {**answer.json(), "header": bearer(answer.json()["key"])}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def admin(client: httpx.AsyncClient) -> Any:
    """The first key, made while nobody was asked for one: it may do everything."""
    return await make(client, verbs=ALL)


@pytest.fixture
async def required(start: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that asks for keys although none was made."""
    async with start(require_keys=True) as found:
        yield found


async def test_from_the_first_key_on_every_request_must_show_one(client: httpx.AsyncClient) -> None:
    """At once in the process that made it; before it nobody was asked."""
    assert (await client.get("/v1/stats")).status_code == 200
    key = await make(client)
    answer = await client.get("/v1/stats")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json()["title"] == "Unauthenticated"
    assert (await client.get("/v1/stats", headers=key["header"])).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for handler in HANDLERS for path in handler.paths for method in handler.http_methods],
)
async def test_every_route_but_those_for_machines_asks_for_a_key(
    required: httpx.AsyncClient, method: str, path: str
) -> None:
    """Before the body, the parameters or the store are looked at."""
    answer = await required.request(
        method, path.replace("{id:str}", "x").replace("{namespace:path}", "x"), content=b"{"
    )
    assert (answer.status_code == 401) == (path not in OPEN)
    assert answer.status_code in (200, 401)


async def test_a_path_that_is_none_asks_for_a_key_too(required: httpx.AsyncClient) -> None:
    """Strangers do not learn what there is."""
    assert (await required.get("/nowhere")).status_code == 401
    assert (await required.head("/v1/stats")).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic dTpw", "Bearer sfm_x_y", "Bearer é", "sfm_x_y", "{key}0"]
)
async def test_what_shows_no_key_is_401(client: httpx.AsyncClient, admin: Any, header: str) -> None:
    """Whatever else it shows; the answer tells nothing of it."""
    shown = header.format(key=admin["header"]["Authorization"]).encode("latin-1")
    answer = await client.get("/v1/stats", headers=[(b"authorization", shown)])
    assert answer.status_code == 401
    assert admin["key"].rpartition("_")[2] not in answer.text


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_scheme_is_read_in_any_case(client: httpx.AsyncClient, admin: Any, scheme: str) -> None:
    """As RFC 9110 says."""
    assert (await client.get("/v1/stats", headers={"Authorization": f"{scheme} {admin['key']}"})).status_code == 200


async def test_a_key_has_its_namespaces_and_verbs_only(client: httpx.AsyncClient, admin: Any) -> None:
    """403 outside of them, 404 for what is stored outside of them."""
    reader = await make(client, "a/**", verbs=["read"], headers=admin["header"])
    writer = await make(client, "a/**", verbs=["write"], headers=admin["header"])
    for namespace, expected in (("a", 201), ("a/b", 201), ("ab", 403), ("a-b", 403), ("b", 403)):
        body = {"content": "x", "namespace": namespace}
        assert (await client.post("/v1/memories", json=body, headers=writer["header"])).status_code == expected
        assert (await client.post("/v1/memories", json=body, headers=reader["header"])).status_code == 403
        got = await client.get("/v1/memories", params={"namespace": namespace}, headers=reader["header"])
        assert got.status_code == (200 if expected == 201 else 403)
    stored = await client.post("/v1/memories", json={"content": "x", "namespace": "b"}, headers=admin["header"])
    path = f"/v1/memories/{stored.json()['memory']['id']}"
    assert (await client.get(path, headers=reader["header"])).status_code == 404
    assert (await client.get(path, headers=admin["header"])).status_code == 200


async def test_a_revoked_key_is_refused_at_once_and_an_expired_one_in_time(
    client: httpx.AsyncClient, admin: Any
) -> None:
    """Revoking tells when; the list still knows both, without their secrets."""
    soon = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat()
    brief = await make(client, headers=admin["header"], fields={"expires_at": soon, "name": "brief"})
    other = await make(client, headers=admin["header"])
    assert (await client.get("/v1/stats", headers=other["header"])).status_code == 200
    revoked = await client.delete(f"/v1/keys/{other['id']}", headers=admin["header"])
    assert (revoked.status_code, revoked.json()["id"]) == (200, other["id"])
    assert revoked.json()["revoked_at"] is not None
    assert (await client.get("/v1/stats", headers=other["header"])).status_code == 401
    while datetime.now(UTC).isoformat() < soon:  # noqa: ASYNC110 - the instant is what counts
        await asyncio.sleep(0.02)
    assert (await client.get("/v1/stats", headers=brief["header"])).status_code == 401
    listed = (await client.get("/v1/keys", headers=admin["header"])).json()
    assert [item["id"] for item in listed["items"]] == [admin["id"], brief["id"], other["id"]]
    assert not any(key["key"].rpartition("_")[2] in json.dumps(listed) for key in (admin, brief, other))


async def test_a_key_that_is_shown_counts_where_none_is_asked_for(start: Any) -> None:
    """A wrong one is refused, a right one opens what it opens; without one all is open, as the setting says."""
    async with start(require_keys=False) as client:
        key = await make(client, "a/**")
        for headers, namespace, expected in (
            ({}, "b", 201),
            (key["header"], "a", 201),
            (key["header"], "b", 403),
            (bearer(key["key"][:-1]), "a", 401),
            ({"Authorization": "Basic dTpw"}, "a", 200),
        ):
            body = {"content": "x", "namespace": namespace}
            assert (await client.post("/v1/memories", json=body, headers=headers)).status_code == expected


async def test_the_host_is_judged_only_where_nobody_is_asked_for_a_key(required: httpx.AsyncClient) -> None:
    """Behind a key other names and pages of other origins do no harm."""
    assert (await required.get("/healthz", headers={"Host": "memory.example.com"})).status_code == 200
    assert (await required.get("/v1/stats", headers={"Host": "memory.example.com"})).status_code == 401


async def test_each_key_has_a_rate_limit_of_its_own(start: Any) -> None:
    """Whoever is refused takes nothing of it."""
    async with start(rate_limit=3) as client:
        one = await make(client, verbs=ALL)
        two = await make(client, headers=one["header"])
        for key in (one, two):
            statuses = [(await client.get("/v1/stats", headers=key["header"])).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]
        assert [(await client.get("/v1/stats")).status_code for _ in range(5)] == [401] * 5


async def test_idempotency_keys_of_two_credentials_are_apart(client: httpx.AsyncClient, admin: Any) -> None:
    """Also of two with one name; the same credential is answered as the first time."""
    keys = [await make(client, headers=admin["header"], fields={"name": "agent"}) for _ in range(2)]
    ids = []
    for key in (*keys, *keys):
        headers = {**key["header"], "Idempotency-Key": "once"}
        body = {"content": "x"}
        answer = await client.post("/v1/memories", params={"dedupe": "off"}, json=body, headers=headers)
        ids.append(answer.json()["memory"]["id"])
    assert ids[0] != ids[1]
    assert ids[2:] == ids[:2]


async def test_making_a_key_takes_no_idempotency_key(client: httpx.AsyncClient) -> None:
    """The answer could not be repeated, so nobody is to rely on it."""
    fields = {"namespaces": ["a"], "verbs": ["read"]}
    answer = await client.post("/v1/keys", json=fields, headers={"Idempotency-Key": "once"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")
    assert (await client.get("/v1/keys")).json()["items"] == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "namespaces"),
        ({"verbs": ["read"]}, "namespaces"),
        ({"namespaces": ["a"]}, "verbs"),
        ({"namespaces": ["a/*"], "verbs": ["read"]}, "namespaces.0"),
        ({"namespaces": ["a"], "verbs": ["own"]}, "verbs.0"),
        ({"namespaces": ["a"], "verbs": ["read"], "scope": "a"}, "scope"),
        ({"namespaces": ["a"], "verbs": ["read"], "expires_at": "2001-01-01"}, "expires_at"),
        ({"namespaces": ["a"], "verbs": ["read"], "name": 7}, "name"),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_422(client: httpx.AsyncClient, fields: Any, named: str) -> None:
    """And nobody is asked for a key afterwards, because none was made."""
    answer = await client.post("/v1/keys", json=fields)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, named)
    assert (await client.get("/v1/stats")).status_code == 200


async def test_an_unknown_key_cannot_be_revoked(client: httpx.AsyncClient) -> None:
    """404; what is no id is 422."""
    assert (await client.delete("/v1/keys/00000000-0000-7000-8000-000000000000")).status_code == 404
    assert (await client.delete("/v1/keys/x")).status_code == 422


async def test_a_key_is_nowhere_but_in_the_answer_that_made_it(
    client: httpx.AsyncClient, admin: Any, logs: list[Any]
) -> None:
    """Not in logs, metrics, changes, archives, nor in what an error says."""
    await client.post("/v1/memories", json={"content": "x"}, headers=admin["header"])
    seen = [
        await client.get(path, headers=admin["header"])
        for path in (
            "/v1/keys",
            "/v1/changes",
            "/v1/export",
            "/metrics",
            "/v1/stats?key=x",
            "/v1/keys/x",
            "/v1/capabilities",
        )
    ]
    seen.append(await client.delete(f"/v1/keys/{admin['key']}", headers=admin["header"]))
    secret = admin["key"].rpartition("_")[2]
    assert not any(secret in answer.text for answer in seen[:-1])
    assert secret not in repr(logs)
    assert seen[-1].status_code == 422


async def test_a_storage_that_is_down_is_503_and_no_401(client: httpx.AsyncClient, admin: Any) -> None:
    """A good key is not called a bad one."""
    app: Any = client.app  # type: ignore[attr-defined]
    authentication = app._services.authentication

    async def down(id: str) -> Any:
        raise BackendUnavailable("inmemory/storage: down")

    authentication._store.api_key = down
    answer = await client.get("/v1/stats", headers=admin["header"])
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_who_listens_for_others_asks_for_keys(live: Any) -> None:
    """By setting; without it, and without a key, it does not open."""
    async with live(Application({"mode": "test", "host": "0.0.0.0", "require_keys": True})):
        pass
    with pytest.raises(AssertionError, match=r"SFM_HOST.*sfm keys create"):
        async with live(Application({"mode": "test", "host": "0.0.0.0"})):
            pass


async def test_a_first_key_of_another_process_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Soon, also when the storage is down for a while; the address of others is open then, and not before."""
    storage = InmemoryStorage()
    here, there = Authentication(storage, now), Authentication(storage, now)
    opened = Door(here, None, "127.0.0.1")
    await opened.open()
    with pytest.raises(ConfigError, match="SFM_HOST"):
        await Door(here, None, "0.0.0.0").open()
    looked = asyncio.Event()
    look = here.look
    failures = iter([BackendUnavailable("down")])

    async def looking() -> bool:
        for failure in failures:
            raise failure
        found = await look()
        looked.set()
        return found

    monkeypatch.setattr(here, "look", looking)
    monkeypatch.setattr(door, "KEPT_SECONDS", 0.001)
    watching = asyncio.create_task(opened.watch())
    await asyncio.wait_for(looked.wait(), 5)
    assert not opened.demands
    await Keys(storage, there, now, Limits()).create(EVERYTHING, namespaces=["a"], verbs=["read"])
    looked.clear()
    await asyncio.wait_for(looked.wait(), 5)
    assert opened.demands
    await Door(here, None, "0.0.0.0").open()
    watching.cancel()


@pytest.mark.parametrize(
    ("required", "made", "said"),
    [
        (None, False, "no API key is asked for"),
        (True, False, "none was made yet"),
        (True, True, "API keys are asked for"),
        (False, True, "no API key is asked for"),
    ],
)
async def test_the_log_says_whether_keys_are_asked_for(
    required: bool | None, made: bool, said: str, logs: list[Any]
) -> None:
    """At every start."""
    storage = InmemoryStorage()
    authentication = Authentication(storage, now)
    if made:
        await Keys(storage, authentication, now, Limits()).create(EVERYTHING, namespaces=["a"], verbs=["read"])
    await Door(authentication, required, "localhost").open()
    assert [said in line["event"] for line in logs] == [True]
