"""Making, listing and revoking keys: nobody hands out, sees or revokes more than they may administer."""

from __future__ import annotations

import asyncio
import logging
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfm_core.errors import CapabilityNotSupported, Forbidden, InvalidInput, LimitExceeded, NotFound
from sfm_core.model.namespace import Scope, covers, parse_scope
from sfm_core.runtime import open_services
from sfm_core.services import keys
from sfm_core.services.authentication import Authentication
from sfm_core.services.clock import now
from sfm_core.services.keys import Keys
from sfm_core.services.limits import Limits
from sfm_core.services.principal import EVERYTHING, Principal, Verb
from sfm_core.testing.fakes import SettableClock

PATTERNS = ["a", "a/**", "a/b", "a/b/**", "ab", "ab/**", "a-b/**", "b", "**"]


def run(check: Any, make: Any) -> None:
    """Carry out an example of a property in a process of its own."""
    asyncio.run(check(make()))


def principal(*patterns: str, verbs: Any = tuple(Verb)) -> Principal:
    """Return who may use `verbs` in `patterns`."""
    return Principal("someone", tuple(map(parse_scope, patterns)), frozenset(verbs))


async def test_a_key_is_long_random_and_shown_once(
    process: Any, storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its secret is in no list, no repr, no log, and not in the store."""
    caplog.set_level(logging.DEBUG)
    made = [await process.make(name="agent 7") for _ in range(50)]
    tokens = [new.key.reveal() for new in made]
    parts = [re.fullmatch(r"sfm_([0-9a-f-]{36})_([0-9a-f]{64})", token) for token in tokens]
    assert [part[1] for part in parts if part] == [new.info.id for new in made]
    found = {part[2] for part in parts if part}
    assert len(found) == 50
    await process.authentication.authenticate(tokens[0])
    listed = await process.keys.list(EVERYTHING)
    stored = await storage.api_keys(after=None, limit=100)
    shown = (
        f"{made!r} {listed!r} {msgspec.json.encode(listed)!r} {stored!r} {vars(process.authentication)!r} {caplog.text}"
    )
    assert not any(secret in shown for secret in found)
    assert made[0].info.id in shown


@pytest.mark.parametrize("at_once", [1, 3, 200])
async def test_keys_are_listed_oldest_first_in_pages(
    process: Any, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Revoked and expired ones too; the pages join whatever lies between that the caller may not see."""
    monkeypatch.setattr(keys, "_AT_ONCE", at_once)
    made = [await process.make(namespaces=[f"a/{number % 2}"], name=str(number)) for number in range(10)]
    await process.keys.revoke(EVERYTHING, made[2].info.id)
    for asking, names in ((EVERYTHING, range(10)), (principal("a/0"), range(0, 10, 2))):
        joined: list[Any] = []
        cursor = None
        for _ in range(10):
            page = await process.keys.list(asking, limit=2, cursor=cursor)
            joined += page.items
            cursor = page.next
            if cursor is None:
                break
        assert [info.name for info in joined] == [str(number) for number in names]
    assert [info.revoked_at is not None for info in joined] == [False, True, False, False, False]


@given(
    mine=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
    asked=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3),
)
def test_a_key_opens_no_namespace_that_its_maker_may_not_administer(
    new_process: Any, mine: list[str], asked: list[str]
) -> None:
    """Nor does its maker see or revoke keys that open more."""

    async def check(process: Any) -> None:
        asking = principal(*mine)
        allowed = all(covers(asking.scopes, parse_scope(pattern)) for pattern in asked)
        there = await process.make(namespaces=asked)
        if allowed:
            made = await process.make(asking, namespaces=asked)
            assert set(made.info.namespaces) == set(asked)
            assert {info.id for info in (await process.keys.list(asking)).items} == {there.info.id, made.info.id}
            await process.keys.revoke(asking, there.info.id)
            return
        with pytest.raises(Forbidden):
            await process.make(asking, namespaces=asked)
        assert (await process.keys.list(asking)).items == ()
        with pytest.raises(NotFound):
            await process.keys.revoke(asking, there.info.id)
        await process.authentication.authenticate(there.key.reveal())

    run(check, new_process)


@given(mine=st.sets(st.sampled_from(list(Verb))), asked=st.sets(st.sampled_from(list(Verb)), min_size=1))
def test_a_key_has_no_verb_that_its_maker_has_not(new_process: Any, mine: set[Verb], asked: set[Verb]) -> None:
    """And whoever may not administer makes none at all, sees none and revokes none."""

    async def check(process: Any) -> None:
        asking = principal("a/**", verbs=mine)
        there = await process.make()
        if Verb.ADMIN in mine and asked <= mine:
            made = await process.make(asking, verbs=[verb.value for verb in asked])
            assert set(made.info.verbs) == asked
            return
        with pytest.raises(Forbidden):
            await process.make(asking, verbs=[verb.value for verb in asked])
        if Verb.ADMIN not in mine:
            with pytest.raises(Forbidden):
                await process.keys.list(asking)
            with pytest.raises(Forbidden):
                await process.keys.revoke(asking, there.info.id)

    run(check, new_process)


async def test_a_key_ends_no_later_than_its_maker(process: Any, clock: SettableClock) -> None:
    """What ends for one cannot be handed on for longer; in process nothing ends."""
    ends = clock() + timedelta(hours=1)
    made = await process.make(verbs=["admin"], namespaces=["**"], expires_at=ends)
    maker = await process.authentication.authenticate(made.key.reveal())
    for later in (None, ends + timedelta(microseconds=1)):
        with pytest.raises(Forbidden, match="may not make a key that ends later"):
            await process.make(maker, verbs=["admin"], expires_at=later)
    assert (await process.make(maker, verbs=["admin"], expires_at=ends)).info.expires_at == ends
    assert len((await process.keys.list(EVERYTHING)).items) == 2


async def test_a_key_of_many_namespaces_is_seen_by_who_may_administer_all_of_them(process: Any) -> None:
    """Half of it is not enough."""
    made = await process.make(namespaces=["a/**", "b"])
    assert (await process.keys.list(principal("a/**"))).items == ()
    assert [info.id for info in (await process.keys.list(principal("a/**", "b"))).items] == [made.info.id]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"namespaces": []}, "namespaces"),
        ({"namespaces": "a/**"}, "namespaces"),
        ({"namespaces": None}, "namespaces"),
        ({"namespaces": ["a"] * 65}, "namespaces"),
        ({"namespaces": ["a", "a/*"]}, "namespaces.1"),
        ({"namespaces": ["a/**/b"]}, "namespaces.0"),
        ({"namespaces": [7]}, "namespaces.0"),
        ({"verbs": []}, "verbs"),
        ({"verbs": "read"}, "verbs"),
        ({"verbs": ["read", "own"]}, "verbs.1"),
        ({"verbs": ["READ"]}, "verbs.0"),
        ({"name": " "}, "name"),
        ({"name": "x\0"}, "name"),
        ({"name": None}, "name"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    ],
)
async def test_what_is_wrong_with_a_new_key_is_named(process: Any, fields: dict[str, Any], named: str) -> None:
    """Nothing is stored."""
    with pytest.raises(InvalidInput) as caught:
        await process.make(**fields)
    assert [problem.field for problem in caught.value.problems] == [named]
    assert (await process.keys.list(EVERYTHING)).items == ()


async def test_a_long_name_is_too_large(process: Any) -> None:
    """By the limit of other short texts."""
    with pytest.raises(LimitExceeded):
        await process.make(name="x" * 257)


async def test_what_comes_twice_is_kept_once(process: Any) -> None:
    """Namespaces in the given order, verbs in theirs."""
    made = await process.make(namespaces=["b", "a", "b"], verbs=["write", "read", "write"])
    assert (made.info.namespaces, made.info.verbs) == (("b", "a"), (Verb.READ, Verb.WRITE))


async def test_revoking_tells_when_and_twice_changes_nothing(process: Any, clock: SettableClock) -> None:
    """An unknown id is not found, a malformed one is refused."""
    made = await process.make(name="x")
    clock.advance(1)
    first = await process.keys.revoke(EVERYTHING, made.info.id)
    clock.advance(1)
    assert first == await process.keys.revoke(EVERYTHING, made.info.id)
    assert first == msgspec.structs.replace(made.info, revoked_at=made.info.created_at + timedelta(seconds=1))
    with pytest.raises(NotFound):
        await process.keys.revoke(EVERYTHING, str(uuid4()))
    for id in ("x", "", made.key.reveal(), None):
        with pytest.raises(InvalidInput, match="id"):
            await process.keys.revoke(EVERYTHING, id)


async def test_a_page_of_keys_is_bounded_and_its_cursor_checked(process: Any) -> None:
    """As every list."""
    for wrong in ({"limit": 0}, {"limit": 1001}, {"cursor": "x"}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            await process.keys.list(EVERYTHING, **wrong)


async def test_a_storage_without_keys_says_so() -> None:
    """Nothing is pretended."""
    without = Keys(None, Authentication(None, now), now, Limits())
    with pytest.raises(CapabilityNotSupported, match="api_keys"):
        await without.create(EVERYTHING, namespaces=["a"], verbs=["read"])
    with pytest.raises(CapabilityNotSupported, match="api_keys"):
        await without.list(EVERYTHING)
    with pytest.raises(CapabilityNotSupported, match="api_keys"):
        await without.revoke(EVERYTHING, str(uuid4()))


async def test_the_services_have_keys() -> None:
    """Over what the plan opens."""
    async with open_services(settings={"mode": "test"}) as runtime:
        services = runtime.services
        made = await services.keys.create(EVERYTHING, namespaces=["a"], verbs=["read"])
        found = await services.authentication.authenticate(made.key.reveal())
    assert found.scopes == (Scope("a"),)
