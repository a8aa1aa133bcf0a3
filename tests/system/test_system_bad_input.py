"""Bad input: refused with a typed error that names argument, given and allowed, or stored and read back the same."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from sfm_core.errors import InvalidInput, LimitExceeded, NotFound
from sfm_core.memory import AgentMemory

UNKNOWN = str(uuid.uuid4())
MEBI = 2**20
ODD_NUMBERS = [math.nan, math.inf, -math.inf, 10**400, True, "1", None, [], {}]
ODD_OBJECTS = [object(), {1}, b"bytes", (1,), 1j, math.nan, math.inf, -math.inf, 2**63, -(2**63) - 1, "a\0", "\ud800"]


def deep(levels: int) -> dict[str, Any]:
    """Return an object of that many levels."""
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def doubling() -> dict[str, Any]:
    """Return an object whose lists share their members: small in memory, 2^60 values as JSON."""
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return {"a": value}


async def nothing_stored(memory: AgentMemory) -> None:
    """Prove that the memory is as empty as before."""
    assert (await memory.stats()).last_sequence == 0
    assert (await memory.list(namespace="**")).items == ()


def told(error: InvalidInput, field: str) -> None:
    """Prove that the error names the argument, what came and what is allowed, in few words."""
    first = error.problems[0]
    assert first.field == field
    assert first.given
    assert first.allowed
    assert field in str(error)
    assert len(str(error)) < 1000


REFUSED = [
    *[("content", value, "content") for value in ("", " ", "\n\t\u3000", "a\0b", "a\ud800", 5, b"x", ["x"], {}, True)],
    *[("namespace", value, "namespace") for value in ("", " ", "/", "a/", "/a", "a//b", ".", "a/..", "a/*", "a/**")],
    *[
        ("namespace", value, "namespace")
        for value in ("**", "*", "a*", " a", "a /b", "a\nb", "a\0", "\ud800", "x" * 257)
    ],
    *[("namespace", value, "namespace") for value in (5, b"a", ["a"], True)],
    *[("id", value, "id") for value in ("", "x", "0" * 32, "{" + UNKNOWN + "}", UNKNOWN[:-1], UNKNOWN + "\n", 5, b"")],
    *[("kind", value, "kind") for value in ("", "Episodic", "dream", 5, ["episodic"], True)],
    *[("payload", value, "payload") for value in ([], "x", 5, {1}, [("a", 1)], b"{}", True, object())],
    *[("payload", {"a": value}, "payload.a") for value in ODD_OBJECTS],
    *[("payload", {"a": [{"b": value}]}, "payload.a.0.b") for value in ODD_OBJECTS],
    *[("payload", {key: 1}, "payload") for key in (1, None, 1.5, True, (1,), b"a", "a\0", "\ud800")],
    *[("coordinate", value, "coordinate") for value in ([], (), 1, "1,2", {1.0}, b"ab", [0.0] * 65, {}, True)],
    *[("coordinate", [0.0, value], "coordinate.1") for value in ODD_NUMBERS],
    *[(field, value, field) for field in ("author", "thread", "source") for value in ("", " ", 5, "x" * 257, "a\0")],
    *[(field, "\ud800", field) for field in ("author", "thread", "source")],
    *[("position", value, "position") for value in (-1, 1.0, 0.5, "1", True, math.nan, 2**63, [])],
    *[("importance", value, "importance") for value in (-0.1, 1.1, "0.5", True, math.nan, math.inf, 10**400, [])],
    *[("tags", value, "tags") for value in ("x", 5, {"a": 1}, ["a", "a"], [f"t{n}" for n in range(65)], True)],
    *[("tags", ["ok", value], "tags.1") for value in ("", " ", 5, None, "x" * 257, "a\0", "\ud800", ["a"])],
    *[("pinned", value, "pinned") for value in (0, 1, "true", "yes", [])],
    *[
        (field, value, field)
        for field in ("occurred_at", "valid_from", "valid_to", "expires_at")
        for value in ("", "yesterday", "2024-13-01", "2024-02-30", "10000-01-01", 5, 5.0, True, [], "2024-01-01T25:00")
    ],
    *[("derived_from", value, "derived_from") for value in ("x", 5, {UNKNOWN}, {}, [UNKNOWN] * 1001)],
    *[("derived_from", [value], "derived_from.0") for value in ("x", None, 5, "")],
    *[(field, "x", field) for field in ("created_at", "updated_at", "version", "colour", "Content", "")],
    ("valid_to", "1999-01-01", "valid_to"),
    ("payload", deep(65), "payload"),
    ("payload", deep(10_000), "payload"),
    ("payload", doubling(), "payload"),
    ("payload", {"a": "x" * (256 * 1024)}, "payload"),
    ("payload", {"a": [[]] * 10**6}, "payload"),
    ("content", "x" * (MEBI + 1), "content"),
    ("content", "é" * (MEBI // 2) + "x", "content"),
]


def case(value: object) -> str:
    """Name a case shortly."""
    return ascii(value)[:40].replace("\\", "") if isinstance(value, str | int | float) else type(value).__name__


@pytest.mark.parametrize(("field", "value", "named"), REFUSED, ids=case)
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_bad_field_is_refused_by_name_on_every_way_in(
    memory: AgentMemory, field: str, value: Any, named: str
) -> None:
    """Single, in a batch of either kind, and as an update; nothing is stored."""
    item = {"content": "x", "valid_from": "2000-01-01", field: value}
    with pytest.raises(InvalidInput) as refused:
        await memory.services.remember.remember(memory.principal, item)
    told(refused.value, named)
    with pytest.raises(InvalidInput) as refused:
        await memory.remember_many([{"content": "fine"}, item], atomic=True)
    told(refused.value, f"memories.1.{named}")
    [result] = await memory.remember_many([item])
    assert isinstance(result.error, InvalidInput)
    told(result.error, f"memories.0.{named}")
    await nothing_stored(memory)
    if field in ("id", "namespace"):
        named = field
    kept = (await memory.remember("kept", valid_from="2000-01-01")).memory
    with pytest.raises(InvalidInput) as refused:
        await memory.services.remember.update(memory.principal, kept.id, {field: value})
    told(refused.value, named)
    assert await memory.get(kept.id) == kept


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x" * MEBI},
        {"content": "é" * (MEBI // 2)},
        {"content": "a\u200b\ufeff\ufffe\U0010ffff"},
        {"content": " blank at the edges \n"},
        {"content": "'; DROP TABLE memories; -- \\ \" %"},
        {"payload": {"a": [0, -0.0, 1.5, 1e308, 5e-324, 2**63 - 1, -(2**63), True, False, None, "", [], {}]}},
        {"payload": {"": 1, " ": 2, "a.b": 3, "é": 4, "'": 5, '"': 6, "\\": 7, "$": 8, "[0]": 9}},
        {"payload": deep(64)},
        {"payload": {"a": "x" * (256 * 1024 - 8)}},
        {"content": "x", "coordinate": (1e308, -1e308, 5e-324)},
        {"content": "x", "coordinate": tuple(float(n) for n in range(64))},
        {"content": "x", "author": "x" * 256, "thread": "\U0001f600" * 256, "source": " edges "},
        {"content": "x", "tags": tuple(f"tag {n}" for n in range(64))},
        {"content": "x", "position": 2**63 - 1, "importance": 0.0},
        {"content": "x", "position": 0, "importance": 1.0},
        {"content": "x", "namespace": "x" * 256},
        {"content": "x", "namespace": "A/a%/_/é/\U0001f600/a b"},
        {"content": "x", "id": UNKNOWN, "derived_from": (UNKNOWN, UNKNOWN)},
        {"content": "x", "occurred_at": "0001-01-01T00:00:00Z", "valid_to": "9999-12-31T23:59:59.999999Z"},
    ],
    ids=case,
)
async def test_what_is_accepted_is_read_back_the_same(memory: AgentMemory, fields: dict[str, Any]) -> None:
    """At the edges of what is allowed."""
    receipt = await memory.remember(**fields)
    stored = await memory.get(receipt.memory.id)
    assert stored == receipt.memory
    for field, value in fields.items():
        if field not in ("occurred_at", "valid_to"):
            assert getattr(stored, field) == value
    assert (await memory.list(namespace="**")).items == (stored,)


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_the_caller_cannot_change_what_was_stored(memory: AgentMemory) -> None:
    """A payload is copied to its depth."""
    payload: dict[str, Any] = {"a": [{"b": 1}]}
    id = (await memory.remember(payload=payload)).memory.id
    payload["a"][0]["b"] = 2
    assert (await memory.get(id)).payload == {"a": [{"b": 1}]}


@pytest.mark.parametrize("item", [None, 5, "x", ["x"], {"content": None}, {}, {"payload": {}}, {"payload": None}])
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_nothing_to_remember_is_refused(memory: AgentMemory, item: Any) -> None:
    """No object, no content and no payload."""
    with pytest.raises(InvalidInput):
        await memory.services.remember.remember(memory.principal, item)
    [result] = await memory.remember_many([item])
    assert isinstance(result.error, InvalidInput)
    assert result.error.problems[0].field.startswith("memories.0")
    await nothing_stored(memory)


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_batch_is_a_list_of_bounded_length(memory: AgentMemory) -> None:
    """Anything else and one item too many are refused."""
    batches: list[Any] = [None, 5, "x", {"content": "x"}, iter([{"content": "x"}])]
    for batch in batches:
        with pytest.raises(InvalidInput, match="memories"):
            await memory.remember_many(batch)
    with pytest.raises(LimitExceeded, match="1001 items"):
        await memory.remember_many([{"content": "x"}] * 1001)
    await nothing_stored(memory)
    assert await memory.remember_many([]) == []


Call = Callable[[AgentMemory, Any], Any]
BY_ID: dict[str, Call] = {
    "get": lambda m, id: m.get(id),
    "get as of": lambda m, id: m.get(id, as_of="2026-01-01"),
    "update": lambda m, id: m.update(id, author="x"),
    "delete": lambda m, id: m.delete(id),
    "erase": lambda m, id: m.erase(id),
    "history": lambda m, id: m.history(id),
    "restore": lambda m, id: m.restore(id, 1),
    "link from": lambda m, id: m.link(id, UNKNOWN),
    "link to": lambda m, id: m.link(UNKNOWN, id),
    "unlink": lambda m, id: m.unlink(id, UNKNOWN),
    "unlink to": lambda m, id: m.unlink(UNKNOWN, id),
    "neighbors": lambda m, id: m.neighbors(id),
    "path from": lambda m, id: m.path(id, UNKNOWN),
    "path to": lambda m, id: m.path(UNKNOWN, id),
    "undo": lambda m, id: m.undo(id),
    "operation": lambda m, id: m.operation(id),
}


@pytest.mark.parametrize("call", BY_ID)
async def test_an_unknown_id_is_not_found_and_a_malformed_one_refused(memory: AgentMemory, call: str) -> None:
    """By every method that takes one."""
    fields = {"link from": "source", "link to": "target", "unlink": "source", "unlink to": "target"}
    field = fields.get(call, {"path from": "source", "path to": "target"}.get(call, "id"))
    field = "operation" if call in ("undo", "operation") else field
    malformed: list[Any] = ["", "x", 5, None, b"", UNKNOWN + " ", "{" + UNKNOWN + "}", ["x"], "\ud800", "'"]
    for id in malformed:
        with pytest.raises(InvalidInput) as refused:
            await BY_ID[call](memory, id)
        told(refused.value, field)
    if not call.startswith(("link", "path")):
        with pytest.raises(NotFound):
            await BY_ID[call](memory, str(uuid.uuid4()))
    await nothing_stored(memory)


async def test_an_id_is_taken_in_any_spelling_of_a_uuid(memory: AgentMemory) -> None:
    """Upper case and `uuid.UUID` name the same memory as the canonical text."""
    id = uuid.uuid4()
    stored = (await memory.remember("x", id=str(id).upper())).memory
    assert stored.id == str(id)
    for spelling in (str(id), str(id).upper(), id):
        assert await memory.get(spelling) == stored  # type: ignore[arg-type]


ARGUMENTS: list[tuple[str, Callable[[AgentMemory, str], Any]]] = [
    *[
        (f, lambda m, id, f=f, v=v: m.list(**{f: v}))
        for f in ("author", "thread", "tag")
        for v in (5, "", " ", "\0", [])
    ],
    *[("kind", lambda m, id, v=v: m.list(kind=v)) for v in ("", "x", 5, [])],
    *[("order", lambda m, id, v=v: m.list(order=v)) for v in ("", "id", "+created_at", None, 5, [])],
    *[("limit", lambda m, id, v=v: m.list(limit=v)) for v in (0, -1, 1001, 10**9, True, 1.0, "1", None)],
    *[("cursor", lambda m, id, v=v: m.list(cursor=v)) for v in ("", "x", "é", 5, "A" * 2000, "\ud800", [], "bnVsbA==")],
    *[("namespace", lambda m, id, v=v: m.list(namespace=v)) for v in ("", "*", "a/*", "/**", "a/**/b", 5, "a\0")],
    *[("filter", lambda m, id, v=v: m.list(filter=v)) for v in (5, "x", [], {"and": 1, "or": 2})],
    *[("as_of", lambda m, id, v=v: m.list(as_of=v)) for v in ("", "x", 5, True)],
    *[("as_of", lambda m, id, v=v: m.get(id, as_of=v)) for v in ("", "x", 5, True)],
    *[("limit", lambda m, id, v=v: m.history(id, limit=v)) for v in (0, 1001, True, "1")],
    *[("cursor", lambda m, id, v=v: m.history(id, cursor=v)) for v in ("", "x", "-1", "²", 5, "9" * 30)],
    *[("version", lambda m, id, v=v: m.restore(id, v)) for v in (0, -1, True, 1.0, "1", None, 2**63)],
    *[
        ("expected_version", lambda m, id, v=v: m.update(id, expected_version=v))
        for v in (0, -1, True, 1.0, "1", 2**63)
    ],
    *[("expected_version", lambda m, id, v=v: m.delete(id, expected_version=v)) for v in (0, True, "1")],
    *[("expected_version", lambda m, id, v=v: m.erase(id, expected_version=v)) for v in (0, True, "1")],
    *[("id", lambda m, id, v=v: m.services.remember.update(m.principal, id, {"id": v})) for v in ("x", None, UNKNOWN)],
    *[("namespace", lambda m, id, v=v: m.update(id, namespace=v)) for v in ("other", None, 5)],
    *[("body", lambda m, id, v=v: m.services.remember.update(m.principal, id, v)) for v in (None, [], "x", 5)],
    *[("coordinate", lambda m, id, v=v: m.at_coordinate(v)) for v in ([], "1", 5, [0.0] * 65)],
    *[("coordinate.0", lambda m, id, v=v: m.at_coordinate([v])) for v in ODD_NUMBERS],
    ("coordinate", lambda m, id: m.at_coordinate()),
    ("coordinate", lambda m, id: m.at_coordinate([1], low=[1], high=[1])),
    ("coordinate", lambda m, id: m.at_coordinate(low=[1])),
    ("max", lambda m, id: m.at_coordinate(low=[1], high=[1, 2])),
    ("limit", lambda m, id: m.at_coordinate([1], limit=0)),
    ("namespace", lambda m, id: m.at_coordinate([1], namespace="a/**")),
    *[("weight", lambda m, id, v=v: m.link(id, UNKNOWN, weight=v)) for v in (0, -1, *ODD_NUMBERS)],
    *[("relation", lambda m, id, v=v: m.link(id, UNKNOWN, relation=v)) for v in ("", " ", 5, None, "x" * 257, "a\0")],
    *[("relation", lambda m, id, v=v: m.unlink(id, UNKNOWN, relation=v)) for v in ("", 5, None)],
    *[("relation", lambda m, id, v=v: m.neighbors(id, relation=v)) for v in ("", 5, "\ud800")],
    *[("relation", lambda m, id, v=v: m.path(id, UNKNOWN, relation=v)) for v in ("", 5)],
    *[("metadata", lambda m, id, v=v: m.link(id, UNKNOWN, metadata=v)) for v in (5, [], "x", deep(10_000))],
    *[("metadata.a", lambda m, id, v=v: m.link(id, UNKNOWN, metadata={"a": v})) for v in ODD_OBJECTS],
    ("target", lambda m, id: m.link(id, id)),
    *[("direction", lambda m, id, v=v: m.neighbors(id, direction=v)) for v in ("", "up", 5, None, [])],
    *[("depth", lambda m, id, v=v: m.neighbors(id, depth=v)) for v in (0, 6, True, "1", 1.0)],
    *[("limit", lambda m, id, v=v: m.neighbors(id, limit=v)) for v in (0, 1001, True)],
    *[("cursor", lambda m, id, v=v: m.neighbors(id, cursor=v)) for v in ("", "x", "-1", 5, "9" * 30)],
    *[("policy", lambda m, id, v=v: m.forget(namespace="a", policy=v)) for v in ({}, [], "x", 5, None)],
    *[("policy.x", lambda m, id, v=v: m.forget(namespace="a", policy={"x": v})) for v in (1, None)],
    *[
        ("policy.keep_newest", lambda m, id, v=v: m.forget(namespace="a", policy={"keep_newest": v}))
        for v in (-1, 1.5, True)
    ],
    *[
        ("policy.older_than_days", lambda m, id, v=v: m.forget(namespace="a", policy={"older_than_days": v}))
        for v in (-1, math.nan, math.inf, True, "1", 10**400)
    ],
    *[
        ("dry_run", lambda m, id, v=v: m.forget(namespace="a", filter={"and": []}, dry_run=v))
        for v in (None, "false", 0, 1)
    ],
    *[
        ("erase", lambda m, id, v=v: m.forget(namespace="a", filter={"and": []}, erase=v))
        for v in (None, "false", 0, 1)
    ],
    *[("erase", lambda m, id, v=v: m.delete_namespace("default", erase=v)) for v in (None, "false", 0, 1)],
    *[("erase", lambda m, id, v=v: m.services.forget.delete(m.principal, id, erase=v)) for v in (None, "false", 0, 1)],
    *[("dedupe", lambda m, id, v=v: m.remember("x", dedupe=v)) for v in (None, "false", 0, 1)],
    *[("atomic", lambda m, id, v=v: m.remember_many([{"content": "x"}], atomic=v)) for v in (None, "false", 0, 1)],
    *[("namespace", lambda m, id, v=v: m.forget(namespace=v, filter={"and": []})) for v in (None, "", "a*", 5)],
    *[("namespace", lambda m, id, v=v: m.delete_namespace(v)) for v in (None, "", "a/**", "**", 5)],
    *[("after", lambda m, id, v=v: m.changes(after=v)) for v in (-1, True, "1", 1.0, None, 2**63)],
    *[("limit", lambda m, id, v=v: m.changes(limit=v)) for v in (0, 1001, True, "1", None)],
    *[("namespace", lambda m, id, v=v: m.changes(namespace=v)) for v in ("", "a*", 5)],
    *[("namespace", lambda m, id, v=v: m.stats(namespace=v)) for v in ("", "a*", 5)],
    *[("source", lambda m, id, v=v: m.import_from(v)) for v in (None, 5, b"bytes", object())],
    *[("path", lambda m, id, v=v: m.import_from(v)) for v in ("", "no such file", "a\0b")],
    *[("path", lambda m, id, v=v: m.export_to(v)) for v in (None, 5, "", "no such folder/file", "a\0b")],
    *[("archive", lambda m, id, v=v: m.import_from(v)) for v in ([], ["text"], [5], [None])],
    *[("k", lambda m, id, v=v: m.recall("x", k=v)) for v in (0, -1, 10**9, 1001, True, 1.0, "1")],
    *[
        ("query", lambda m, id, v=v: m.recall(v))
        for v in ("", " ", None, 5, b"x", "a\0", "\ud800", "x" * (64 * 1024 + 1))
    ],
    *[("namespace", lambda m, id, v=v: m.recall("x", namespace=v)) for v in ("", "a*", "/", 5, "a/**/b")],
    *[("kinds", lambda m, id, v=v: m.recall("x", kinds=v)) for v in ("episodic", [], 5, {})],
    *[("kinds.0", lambda m, id, v=v: m.recall("x", kinds=[v])) for v in ("x", 5, None)],
    *[("deadline_ms", lambda m, id, v=v: m.recall("x", deadline_ms=v)) for v in (0, -1, math.nan, math.inf, True, "1")],
    *[("min_score", lambda m, id, v=v: m.recall("x", min_score=v)) for v in (-0.1, 1.1, math.nan, True, "1")],
    *[("min_sequence", lambda m, id, v=v: m.recall("x", min_sequence=v)) for v in (-1, True, 1.0, "1")],
    *[("expand_links", lambda m, id, v=v: m.recall("x", expand_links=v)) for v in (-1, 4, True, "1")],
    *[("explain", lambda m, id, v=v: m.recall("x", explain=v)) for v in (0, 1, "true")],
    *[("prefer", lambda m, id, v=v: m.recall("x", prefer=v)) for v in ("", "old", 5, [])],
    *[("as_of", lambda m, id, v=v: m.recall("x", as_of=v)) for v in ("", "x", 5, True)],
    ("filter.field", lambda m, id: m.recall("x", filter={"field": "colour", "op": "eq", "value": 1})),
    ("colour", lambda m, id: m.recall("x", colour=1)),
    ("query", lambda m, id: m.recall("x", vector=[1.0])),
    *[("vector", lambda m, id, v=v: m.recall_vector(v)) for v in ([], [0.0, 0.0], None, "x", 5, {}, {1.0}, b"x")],
    *[("vector.1", lambda m, id, v=v: m.recall_vector([1.0, v])) for v in ODD_NUMBERS],
    ("query", lambda m, id: m.recall_vector([1.0], query="x")),
]


@pytest.mark.parametrize("mode", ["test", "development"], indirect=True)
async def test_bad_arguments_are_refused_by_name(memory: AgentMemory) -> None:
    """Of every method; nothing changes."""
    id = (await memory.remember("kept")).memory.id
    missed = []
    for number, (field, call) in enumerate(ARGUMENTS):
        try:
            await call(memory, id)
        except InvalidInput as error:
            told(error, field)
        else:
            missed.append((number, field))
    assert missed == []
    assert (await memory.stats()).last_sequence == 1


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_refusal_does_not_repeat_the_content(memory: AgentMemory) -> None:
    """Neither text nor payload that was refused stands in the message."""
    bad: list[dict[str, Any]] = [
        {"content": "my secret \0"},
        {"content": "my secret \ud800"},
        {"content": "my secret " * MEBI},
        {"payload": {"a": "my secret \0"}},
        {"content": ["my secret"]},
        {"content": "x", "author": "my secret" * 50},
        {"content": "x", "tags": ["my secret", "my secret"]},
    ]
    for item in bad:
        with pytest.raises(InvalidInput) as refused:
            await memory.services.remember.remember(memory.principal, item)
        assert "secret" not in str(refused.value)


async def test_the_patch_of_a_payload_is_bounded_as_a_payload(memory: AgentMemory) -> None:
    """A patch 10,000 deep is refused, and so is one that makes the payload too large."""
    stored = (await memory.remember(payload={"a": "x" * 200_000})).memory
    for patch in (deep(10_000), {"b": "x" * 100_000}, doubling()):
        with pytest.raises(LimitExceeded, match="payload"):
            await memory.update(stored.id, payload=patch)
    assert await memory.get(stored.id) == stored


async def test_times_are_read_in_every_usual_form(memory: AgentMemory) -> None:
    """A time without zone is UTC, others are converted, microseconds are kept."""
    forms = {
        "2024-05-08": "2024-05-08T00:00:00+00:00",
        "2024-05-08T13:56:00.123456Z": "2024-05-08T13:56:00.123456+00:00",
        "2024-05-08T13:56:00+02:00": "2024-05-08T11:56:00+00:00",
        "2024-05-08 13:56": "2024-05-08T13:56:00+00:00",
    }
    for given, meant in forms.items():
        stored = (await memory.remember(f"at {given}", occurred_at=given)).memory
        assert (await memory.get(stored.id)).occurred_at.isoformat() == meant
    naive = datetime(2024, 5, 8, 13)  # noqa: DTZ001
    assert (
        await memory.remember("naive", occurred_at=naive)
    ).memory.occurred_at.isoformat() == "2024-05-08T13:00:00+00:00"
