"""Every service call is refused outside the principal's namespaces and verbs, and tells nothing of what is there."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import pytest
from msgspec import Struct

from sfm_core.errors import Forbidden, InvalidInput, NotFound, SfmError
from sfm_core.memory import AgentMemory
from sfm_core.model.namespace import ALL, Scope, parse_scope
from sfm_core.model.query import RecallQuery
from sfm_core.services.principal import EVERYTHING, Principal, Verb
from sfm_core.services.wiring import Services

HERE = "acme/a"


class World(Struct, frozen=True):
    """Two linked memories of one namespace, a third that was deleted, the operation that did, a key, and an archive."""

    one: str
    two: str
    gone: str
    operation: str
    key: str
    archive: bytes
    sequence: int


class Case(Struct, frozen=True):
    """How to call a method, the verb it needs, and what decides whether it is inside the principal's namespaces."""

    verb: Verb
    by: Literal["id", "namespace", "everything", "own", "listed"]
    call: Callable[[Services, Principal, World], Any]


async def chunks(archive: bytes) -> AsyncIterator[bytes]:
    """Yield an archive in pieces."""
    yield archive


async def first(lines: AsyncIterator[Any]) -> Any:
    """Return the first of a stream."""
    return await anext(aiter(lines))


RED = {"field": "tags", "op": "contains", "value": "red"}
CASES: dict[str, Case] = {
    "remember.remember": Case(
        Verb.WRITE, "namespace", lambda s, p, w: s.remember.remember(p, {"content": "new", "namespace": HERE})
    ),
    "remember.remember_many": Case(
        Verb.WRITE,
        "namespace",
        lambda s, p, w: s.remember.remember_many(p, [{"content": "new", "namespace": HERE}], atomic=True),
    ),
    "remember.update": Case(Verb.WRITE, "id", lambda s, p, w: s.remember.update(p, w.one, {"author": "Eve"})),
    "recall.recall": Case(
        Verb.READ, "namespace", lambda s, p, w: s.recall.recall(p, RecallQuery(query="secret", namespace=HERE))
    ),
    "recall.recall_many": Case(
        Verb.READ,
        "namespace",
        lambda s, p, w: answered(s.recall.recall_many(p, [RecallQuery(query="x", namespace=HERE)])),
    ),
    "history.get": Case(Verb.READ, "id", lambda s, p, w: s.history.get(p, w.one)),
    "history.list": Case(Verb.READ, "namespace", lambda s, p, w: s.history.list(p, namespace=HERE)),
    "history.at_coordinate": Case(
        Verb.READ, "namespace", lambda s, p, w: s.history.at_coordinate(p, namespace=HERE, coordinate=[1])
    ),
    "history.history": Case(Verb.READ, "id", lambda s, p, w: s.history.history(p, w.gone)),
    "history.restore": Case(Verb.WRITE, "id", lambda s, p, w: s.history.restore(p, w.gone, 1)),
    "forget.delete": Case(Verb.FORGET, "id", lambda s, p, w: s.forget.delete(p, w.one)),
    "forget.forget": Case(
        Verb.FORGET, "namespace", lambda s, p, w: s.forget.forget(p, namespace=HERE, filter=RED, dry_run=False)
    ),
    "forget.delete_namespace": Case(Verb.FORGET, "namespace", lambda s, p, w: s.forget.delete_namespace(p, HERE)),
    "forget.undo": Case(Verb.WRITE, "id", lambda s, p, w: s.forget.undo(p, w.operation)),
    "forget.operation": Case(Verb.READ, "id", lambda s, p, w: s.forget.operation(p, w.operation)),
    "links.link": Case(Verb.WRITE, "id", lambda s, p, w: s.links.link(p, w.one, w.two, relation="new")),
    "links.unlink": Case(Verb.WRITE, "id", lambda s, p, w: s.links.unlink(p, w.one, w.two)),
    "links.neighbors": Case(Verb.READ, "id", lambda s, p, w: s.links.neighbors(p, w.one)),
    "links.path": Case(Verb.READ, "id", lambda s, p, w: s.links.path(p, w.one, w.two)),
    "changes.page": Case(Verb.READ, "namespace", lambda s, p, w: s.changes.page(p, namespace=HERE)),
    "changes.follow": Case(Verb.READ, "namespace", lambda s, p, w: first(s.changes.follow(p, namespace=HERE))),
    "transfer.export": Case(Verb.READ, "namespace", lambda s, p, w: first(s.transfer.export(p, namespace=HERE))),
    "transfer.import_": Case(Verb.WRITE, "namespace", lambda s, p, w: s.transfer.import_(p, chunks(w.archive))),
    "overview.namespaces": Case(Verb.READ, "namespace", lambda s, p, w: s.overview.namespaces(p, namespace=HERE)),
    "overview.stats": Case(Verb.READ, "namespace", lambda s, p, w: s.overview.stats(p, namespace=HERE)),
    "overview.plugins": Case(Verb.READ, "own", lambda s, p, w: s.overview.plugins(p)),
    "overview.capabilities": Case(Verb.READ, "own", lambda s, p, w: s.overview.capabilities(p)),
    "keys.create": Case(
        Verb.ADMIN, "namespace", lambda s, p, w: s.keys.create(p, namespaces=[HERE], verbs=[Verb.ADMIN.value])
    ),
    "keys.list": Case(Verb.ADMIN, "listed", lambda s, p, w: s.keys.list(p)),
    "keys.revoke": Case(Verb.ADMIN, "id", lambda s, p, w: s.keys.revoke(p, w.key)),
    "maintenance.reconcile": Case(Verb.ADMIN, "everything", lambda s, p, w: s.maintenance.reconcile(p)),
    "maintenance.reindex": Case(Verb.ADMIN, "everything", lambda s, p, w: s.maintenance.reindex(p)),
}
INTERNAL = {"forget.sweep", "health.ready"}
"""Called by the program itself, not for a caller: `sweep` removes what has expired, `ready` looks at no memory."""
SERVICES = (
    "remember",
    "recall",
    "history",
    "forget",
    "links",
    "changes",
    "transfer",
    "overview",
    "keys",
    "maintenance",
    "health",
)


async def answered(answers: Awaitable[list[Any]]) -> Any:
    """Raise the error of the only answer."""
    [answer] = await answers
    if isinstance(answer, SfmError):
        raise answer
    return answer


def principal(*scopes: str, verbs: Any = Verb) -> Principal:
    """Return a principal of these scopes."""
    return Principal("eve", tuple(parse_scope(scope) for scope in scopes), frozenset(verbs))


@pytest.fixture
async def world(memory: AgentMemory) -> World:
    """Fill the memory."""
    fields: dict[str, Any] = {"namespace": HERE, "tags": ["red"]}
    one = (await memory.remember("the secret of one", coordinate=[1], **fields)).memory.id
    two = (await memory.remember("the secret of two", **fields)).memory.id
    gone = (await memory.remember("the secret of three", **fields)).memory.id
    await memory.link(one, two)
    operation = (await memory.delete(gone)).operation
    assert isinstance(operation, str)
    archive = b"".join([line async for line in memory.export(namespace=HERE)])
    key = (await memory.services.keys.create(EVERYTHING, namespaces=[HERE], verbs=["read"])).info.id
    return World(one, two, gone, operation, key, archive, (await memory.stats()).last_sequence)


def test_every_public_method_has_a_case() -> None:
    """A new method of a service without one fails here, and so does one that takes no principal."""
    found = set()
    for name in SERVICES:
        kind = Services.__annotations__[name]
        cls = inspect.getmodule(Services).__dict__[kind]  # type: ignore[union-attr]
        for method, function in inspect.getmembers(cls, inspect.isfunction):
            if method.startswith("_"):
                continue
            found.add(f"{name}.{method}")
            parameters = list(inspect.signature(function).parameters)
            assert (f"{name}.{method}" in INTERNAL) or parameters[1] == "principal", f"{name}.{method}"
    assert found == set(CASES) | INTERNAL
    rest = set(Services.__struct_fields__) - set(SERVICES)
    assert rest == {"authentication", "projector", "limits", "clock", "cache", "copies"}


@pytest.mark.parametrize("mode", ["test"], indirect=True)
@pytest.mark.parametrize("name", CASES)
async def test_a_call_without_the_verb_is_forbidden(memory: AgentMemory, world: World, name: str) -> None:
    """With every other verb everywhere; whether the thing exists is not looked at, and nothing changes."""
    case = CASES[name]
    without = principal("**", verbs=set(Verb) - {case.verb})
    if case.by == "own":
        await case.call(memory.services, without, world)
        return
    unknown = World(*[str(uuid.uuid4()) for _ in range(5)], world.archive, 0)
    for there in (world, unknown):
        with pytest.raises(Forbidden) as refused:
            await case.call(memory.services, without, there)
        assert "secret" not in str(refused.value)
    assert (await memory.stats()).last_sequence == world.sequence


@pytest.mark.parametrize("mode", ["test"], indirect=True)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    "scope", ["acme", "acme/a-b", "acme/ab", "acme/A", "acme/a/b", "acme/a/b/**", "acme/b/**", "a/**"]
)
async def test_a_call_outside_the_namespaces_is_refused(
    memory: AgentMemory, world: World, name: str, scope: str
) -> None:
    """Near names, the namespace above and those below do not help; of ids nothing is told but that they are not found."""
    case = CASES[name]
    stranger = principal(scope)
    if case.by == "own":
        await case.call(memory.services, stranger, world)
        return
    if case.by == "listed":
        assert (await case.call(memory.services, stranger, world)).items == ()
        return
    with pytest.raises(NotFound if case.by == "id" else Forbidden) as refused:
        await case.call(memory.services, stranger, world)
    assert "secret" not in str(refused.value)
    assert (await memory.stats()).last_sequence == world.sequence


@pytest.mark.parametrize("mode", ["test"], indirect=True)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.by == "id"])
async def test_a_foreign_id_reads_as_an_unknown_one(memory: AgentMemory, world: World, name: str) -> None:
    """Type and text of the error are the same but for the id."""
    case = CASES[name]
    stranger = principal("other/**")

    async def told(there: World) -> tuple[type, str]:
        with pytest.raises(NotFound) as refused:
            await case.call(memory.services, stranger, there)
        text = str(refused.value)
        for id in (there.one, there.two, there.gone, there.operation, there.key):
            text = text.replace(id, "ID")
        return type(refused.value), text

    unknown = World(*[str(uuid.uuid4()) for _ in range(5)], world.archive, 0)
    assert await told(world) == await told(unknown)


@pytest.mark.parametrize("mode", ["test"], indirect=True)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("scope", [HERE, "acme/a/**", "acme/**", "**"])
async def test_the_verb_in_the_namespace_is_enough(memory: AgentMemory, world: World, name: str, scope: str) -> None:
    """No other verb and no other namespace is asked for."""
    case = CASES[name]
    if case.by == "everything" and scope != "**":
        with pytest.raises(Forbidden):
            await case.call(memory.services, principal(scope), world)
        return
    await case.call(memory.services, principal(scope, verbs={case.verb}), world)


async def test_without_scopes_nothing_is_allowed(memory: AgentMemory, world: World) -> None:
    """A principal of no namespace is refused everywhere."""
    for case in CASES.values():
        if case.by not in ("own", "listed"):
            with pytest.raises((NotFound, Forbidden)):
                await case.call(memory.services, principal(), world)


async def test_reading_without_a_namespace_covers_what_may_be_read(memory: AgentMemory, world: World) -> None:
    """Changes, statistics and export take all scopes of the principal, overlapping ones once, and nothing else."""
    await memory.remember("foreign", namespace="other")
    below = (await memory.remember("below", namespace="acme/a/b")).memory.id
    reader = memory.as_principal(principal("acme/a", "acme/a/**", "acme/a/b", verbs={Verb.READ}))
    assert (await reader.stats()).namespaces == 2
    assert [stats.namespace for stats in await reader.services.overview.namespaces(reader.principal)] == [
        HERE,
        "acme/a/b",
    ]
    subjects = [event.subject for event in (await reader.changes()).items]
    assert subjects == [world.one, world.two, world.gone, world.one, world.gone, below]
    archive = b"".join([line async for line in reader.export()])
    assert archive.count(b'"line":"memory"') == 4
    assert b"foreign" not in archive


async def test_a_batch_is_refused_item_by_item(memory: AgentMemory) -> None:
    """Foreign namespaces fail alone, or all with an atomic batch."""
    writer = memory.as_principal(principal("acme/**", verbs={Verb.WRITE}))
    items = [{"content": "mine", "namespace": "acme"}, {"content": "theirs", "namespace": "other"}]
    with pytest.raises(Forbidden):
        await writer.remember_many(items, atomic=True)
    mine, theirs = await writer.remember_many(items)
    assert mine.outcome == "created"
    assert isinstance(theirs.error, Forbidden)
    assert [stats.namespace for stats in await memory.services.overview.namespaces(EVERYTHING)] == ["acme"]


async def test_an_archive_with_a_foreign_namespace_stores_nothing(memory: AgentMemory, opening: Any) -> None:
    """However many lines of it are inside."""
    await memory.remember("mine", namespace="acme")
    await memory.remember("theirs", namespace="other")
    archive = b"".join([line async for line in memory.export()])
    async with opening(mode="test") as other:
        writer = other.as_principal(principal("acme", verbs={Verb.WRITE}))
        with pytest.raises(Forbidden):
            await writer.import_from([archive])
        assert (await other.stats()).last_sequence == 0


async def test_links_do_not_reach_across_scopes(memory: AgentMemory, world: World) -> None:
    """A target that may not be written is not found; one in another namespace of the principal is refused."""
    foreign = (await memory.remember("foreign", namespace="other")).memory.id
    near = (await memory.remember("near", namespace="acme/b")).memory.id
    writer = memory.as_principal(principal("acme/**"))
    with pytest.raises(NotFound):
        await writer.link(world.one, foreign)
    with pytest.raises(InvalidInput, match="target"):
        await writer.link(world.one, near)


async def test_receipts_show_no_content_to_those_who_may_not_read(memory: AgentMemory, world: World) -> None:
    """A principal that may only write or forget learns ids and versions, and what it has just made."""
    blind = memory.as_principal(principal(HERE, verbs={Verb.WRITE, Verb.FORGET}))
    made = await blind.remember("mine", namespace=HERE)
    assert made.memory.content == "mine"
    await memory.update(made.memory.id, author="someone else")
    receipts = [
        await blind.remember("mine", namespace=HERE),
        await blind.update(world.one),
        await blind.update(world.one, pinned=True),
        await blind.remember("overwritten", namespace=HERE, coordinate=[1]),
        await blind.delete(world.two),
        await blind.restore(world.two, 1),
    ]
    assert [receipt.outcome for receipt in receipts] == [
        "duplicate",
        "unchanged",
        "versioned",
        "versioned",
        "deleted",
        "restored",
    ]
    for receipt in receipts:
        memory_ = receipt.memory
        assert (memory_.content, memory_.payload, memory_.author, memory_.tags) == (None, {}, None, ())
        assert memory_.namespace == HERE
    link = await blind.link(world.one, world.two, relation="hidden", metadata={"mine": 1})
    assert link.link.metadata == {"mine": 1}
    assert (await blind.unlink(world.one, world.two, relation="hidden")).link.metadata == {}


def test_scopes_of_a_principal_are_whole_segments() -> None:
    """`covers` by segments, subtree by `/**`, everything by `**`."""
    inside = principal("acme/a/**")
    assert inside.may(Verb.READ, Scope("acme/a"))
    assert inside.may(Verb.READ, parse_scope("acme/a/b/**"))
    for outside in ("acme", "acme/ab", "acme/A", "acme/a%", "acme/**", "**"):
        assert not inside.may(Verb.READ, parse_scope(outside))
    assert principal("**").may(Verb.ADMIN, ALL)
    assert not principal("acme/a").may(Verb.READ, parse_scope("acme/a/**"))
