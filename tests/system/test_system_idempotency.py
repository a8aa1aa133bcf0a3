"""A write repeated with its key answers as the first time and writes nothing; with another request it is refused."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec import Struct

from sfm_core.errors import Conflict, Forbidden, IdempotencyMismatch, InvalidInput, NotFound, StaleVersion
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import parse_scope
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.wiring import Services
from sfm_core.testing.fakes import SettableClock

Make = Callable[..., IdempotencyKey]
NS = "default"


class World(Struct, frozen=True):
    """Three memories, a link between the first two, and an operation that deleted a fourth."""

    ids: tuple[str, ...]
    operation: str
    archive: bytes


async def chunks(archive: bytes) -> AsyncIterator[bytes]:
    """Yield an archive."""
    yield archive


ALL: dict[str, Any] = {"and": []}
CALLS: dict[str, Callable[[Services, Principal, World, IdempotencyKey], Any]] = {
    "remember.remember": lambda s, p, w, k: s.remember.remember(p, {"content": "new"}, dedupe=False, key=k),
    "remember.remember_many": lambda s, p, w, k: s.remember.remember_many(
        p,
        [{"content": " "}, {"content": "n1"}, {"content": "n2", "id": w.ids[0]}, {"bad": 1}, {"content": "n1"}],
        key=k,
    ),
    "remember.update": lambda s, p, w, k: s.remember.update(p, w.ids[0], {"author": "Ada"}, expected_version=1, key=k),
    "history.restore": lambda s, p, w, k: s.history.restore(p, w.ids[0], 1, expected_version=1, key=k),
    "forget.delete": lambda s, p, w, k: s.forget.delete(p, w.ids[0], expected_version=1, key=k),
    "forget.forget": lambda s, p, w, k: s.forget.forget(p, namespace=NS, filter=ALL, dry_run=False, key=k),
    "forget.delete_namespace": lambda s, p, w, k: s.forget.delete_namespace(p, NS, key=k),
    "forget.undo": lambda s, p, w, k: s.forget.undo(p, w.operation, key=k),
    "links.link": lambda s, p, w, k: s.links.link(p, w.ids[1], w.ids[2], weight=2, metadata={"a": 1}, key=k),
    "links.unlink": lambda s, p, w, k: s.links.unlink(p, w.ids[0], w.ids[1], key=k),
    "transfer.import_": lambda s, p, w, k: s.transfer.import_(p, chunks(w.archive), key=k),
}
MORE: dict[str, Callable[[Services, Principal, World, IdempotencyKey], Any]] = {
    **CALLS,
    "an erasure": lambda s, p, w, k: s.forget.delete(p, w.ids[0], erase=True, key=k),
    "an erasure by filter": lambda s, p, w, k: s.forget.forget(
        p, namespace=NS, filter=ALL, dry_run=False, erase=True, key=k
    ),
    "an update that changes nothing": lambda s, p, w, k: s.remember.update(p, w.ids[0], {"content": "m0"}, key=k),
    "a duplicate": lambda s, p, w, k: s.remember.remember(p, {"content": "m0"}, key=k),
    "a batch that is refused whole": lambda s, p, w, k: s.remember.remember_many(p, [{"content": ""}, 5], key=k),
    "an empty batch": lambda s, p, w, k: s.remember.remember_many(p, [], key=k),
    "an atomic batch": lambda s, p, w, k: s.remember.remember_many(
        p, [{"content": "x"}, {"content": "y"}], atomic=True, key=k
    ),
    "forgetting nothing": lambda s, p, w, k: s.forget.forget(p, namespace="empty", filter=ALL, dry_run=False, key=k),
    "an unchanged link": lambda s, p, w, k: s.links.link(p, w.ids[0], w.ids[1], key=k),
}


def comparable(answer: Any) -> Any:
    """Return an answer with errors as type and text."""
    if isinstance(answer, Struct):
        return {field: comparable(getattr(answer, field)) for field in answer.__struct_fields__}
    if isinstance(answer, tuple):
        return [comparable(item) for item in answer]
    return (type(answer), str(answer)) if isinstance(answer, Exception) else answer


@pytest.fixture
async def world(memory: AgentMemory, opening: Callable[..., Any]) -> World:
    """Fill the memory."""
    ids = [(await memory.remember(f"m{n}")).memory.id for n in range(3)]
    await memory.link(ids[0], ids[1])
    gone = (await memory.remember("gone")).memory.id
    operation = str((await memory.delete(gone)).operation)
    async with opening(mode="test") as other:
        await other.remember("from elsewhere")
        archive = b"".join([line async for line in other.export()])
    return World(tuple(ids), operation, archive)


def test_every_write_takes_a_key() -> None:
    """Each method with a `key` has a case here."""
    methods = {
        f"{name}.{method}"
        for name in (
            "remember",
            "recall",
            "history",
            "forget",
            "links",
            "changes",
            "transfer",
            "overview",
            "maintenance",
        )
        for method, function in inspect.getmembers(
            inspect.getmodule(Services).__dict__[Services.__annotations__[name]],  # type: ignore[union-attr]
            inspect.isfunction,
        )
        if not method.startswith("_") and "key" in inspect.signature(function).parameters
    }
    assert methods == set(CALLS)


@pytest.mark.parametrize("name", MORE)
async def test_a_repeat_is_answered_as_the_first_and_writes_nothing(
    memory: AgentMemory, world: World, key: Make, clock: SettableClock, name: str
) -> None:
    """Although what it asks for cannot be done twice; another request under the key is refused."""
    call = MORE[name]
    first = await call(memory.services, memory.principal, world, key())
    before = (await memory.stats()).last_sequence
    clock.advance(3600)
    again = await call(memory.services, memory.principal, world, key())
    if name == "links.unlink":
        assert (again.outcome, again.sequence) == (first.outcome, first.sequence)
        assert (again.link.source, again.link.target) == (first.link.source, first.link.target)
    else:
        assert comparable(again) == comparable(first)
    assert (await memory.stats()).last_sequence == before
    with pytest.raises(IdempotencyMismatch):
        await call(memory.services, memory.principal, world, key(request="another"))
    assert (await memory.stats()).last_sequence == before


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_key_belongs_to_its_scope_and_time(memory: AgentMemory, key: Make, clock: SettableClock) -> None:
    """Another credential, route or key writes anew, and so does the same one after a day."""

    async def store(**options: str) -> int:
        item = {"content": "x"}
        return (
            await memory.services.remember.remember(memory.principal, item, dedupe=False, key=key(**options))
        ).sequence

    assert [await store(), await store(), await store(scope="you POST"), await store(name="k2")] == [1, 1, 2, 3]
    clock.advance(86_000)
    assert await store() == 1
    clock.advance(500)
    assert await store(request="another") == 4


@pytest.mark.parametrize("bad", ["", "x" * 256, "a b", "é", "a\n", "\0", "a\x7f"])
@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_malformed_key_is_refused(memory: AgentMemory, key: Make, bad: str) -> None:
    """1 to 255 visible ASCII characters."""
    with pytest.raises(InvalidInput, match="Idempotency-Key"):
        await memory.services.remember.remember(memory.principal, {"content": "x"}, key=key(name=bad))
    assert (await memory.stats()).last_sequence == 0


async def test_a_refused_request_leaves_its_key_free(memory: AgentMemory, key: Make) -> None:
    """What was not done may be asked for again."""
    services, who = memory.services, memory.principal
    id = (await memory.remember("x")).memory.id
    with pytest.raises(InvalidInput):
        await services.remember.remember(who, {"content": ""}, key=key())
    with pytest.raises(StaleVersion):
        await services.remember.update(who, id, {"author": "a"}, expected_version=9, key=key())
    with pytest.raises(Conflict):
        await services.remember.remember(who, {"content": "y", "id": id}, key=key())
    with pytest.raises(InvalidInput):
        await services.remember.remember_many(who, [{"content": "y"}, {}], atomic=True, key=key())
    assert (await services.remember.remember(who, {"content": "y"}, key=key())).outcome == "created"


async def test_a_repeat_tells_the_version_of_then(memory: AgentMemory, key: Make) -> None:
    """Whatever happened to the memory since, but not once it was erased."""
    services, who = memory.services, memory.principal
    first = await services.remember.remember(who, {"content": "x"}, key=key())
    update = await services.remember.update(who, first.memory.id, {"author": "a"}, key=key("k2"))
    await memory.update(first.memory.id, content="later")
    await memory.delete(first.memory.id)
    assert await services.remember.remember(who, {"content": "x"}, key=key()) == first
    assert await services.remember.update(who, first.memory.id, {"author": "a"}, key=key("k2")) == update
    await memory.erase(first.memory.id)
    with pytest.raises(NotFound, match="erased since"):
        await services.remember.remember(who, {"content": "x"}, key=key())
    with pytest.raises(NotFound, match="erased since"):
        await services.remember.update(who, first.memory.id, {"author": "a"}, key=key("k2"))


async def test_racing_requests_with_one_key_are_carried_out_once(memory: AgentMemory, key: Make) -> None:
    """Sixteen at once, of writes that would each make something of their own."""
    services, who = memory.services, memory.principal
    id = (await memory.remember("x")).memory.id
    made = await asyncio.gather(
        *(services.remember.remember(who, {"content": "y"}, dedupe=False, key=key()) for _ in range(16))
    )
    assert len({receipt.memory.id for receipt in made}) == 1
    updated = await asyncio.gather(
        *(services.remember.update(who, id, {"payload": {"n": 1}}, key=key("k2")) for _ in range(16))
    )
    assert {receipt.memory.version for receipt in updated} == {2}
    deleted = await asyncio.gather(*(services.forget.delete(who, id, key=key("k3")) for _ in range(16)))
    assert len({receipt.operation for receipt in deleted}) == 1


@pytest.mark.parametrize("mode", ["test"], indirect=True)
async def test_a_repeat_shows_nothing_outside_the_principal(memory: AgentMemory, key: Make) -> None:
    """A credential that lost its namespaces since is refused."""
    services = memory.services
    await services.remember.remember(memory.principal, {"content": "secret", "namespace": "a"}, key=key())
    elsewhere = Principal("me", (parse_scope("b"),), frozenset(Verb))
    with pytest.raises(Forbidden):
        await services.remember.remember(elsewhere, {"content": "secret", "namespace": "a"}, key=key())


@pytest.mark.parametrize("mode", ["development"], indirect=True)
async def test_keys_are_kept_over_a_restart(opening: Callable[..., Any], key: Make) -> None:
    """The answer is the same."""
    async with opening() as memory:
        first = await memory.services.remember.remember(memory.principal, {"content": "x"}, dedupe=False, key=key())
    async with opening() as memory:
        again = await memory.services.remember.remember(memory.principal, {"content": "x"}, dedupe=False, key=key())
        assert again == first
        assert (await memory.stats()).last_sequence == 1


async def test_what_is_kept_with_a_key_holds_no_content(memory: AgentMemory, key: Make, data_dir: Any) -> None:
    """Not of memories, and not of refused items."""
    items: list[Any] = [
        {"content": "good secret"},
        {"content": "bad secret \0"},
        {"content": "x", "author": "secret" * 99},
    ]
    services, who = memory.services, memory.principal
    first = await services.remember.remember_many(who, items, key=key())
    kept = await services.remember._committer.storage.answered(key().claim(services.clock(), services.limits))
    assert kept is not None
    assert b"secret" not in kept.answer
    again = await services.remember.remember_many(who, items, key=key())
    assert comparable(again) == comparable(first)


async def test_a_forget_that_broke_off_is_finished_by_its_repeat(
    memory: AgentMemory, key: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is answered by the last batch; until then a repeat does what is left."""
    services, who = memory.services, memory.principal
    for start in range(0, 2400, 800):
        await memory.remember_many([{"content": f"m{n}"} for n in range(start, start + 800)])
    committer = services.forget._committer
    whole, calls = committer.commit, 0

    async def breaking(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise asyncio.CancelledError
        return await whole(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(committer, "commit", breaking)
        with pytest.raises(asyncio.CancelledError):
            await services.forget.forget(who, namespace=NS, filter=ALL, dry_run=False, key=key())
    assert (await memory.stats()).memories == 1400
    report = await services.forget.forget(who, namespace=NS, filter=ALL, dry_run=False, key=key())
    assert (report.count, (await memory.stats()).memories) == (1400, 0)
    assert await services.forget.forget(who, namespace=NS, filter=ALL, dry_run=False, key=key()) == report
