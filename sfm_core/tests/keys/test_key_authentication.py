"""From a key to its principal: what opens nothing, how soon a revocation holds, and what is asked of the storage."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from sfm_core.errors import BackendUnavailable, CapabilityNotSupported, SfmError, Unauthenticated
from sfm_core.model.namespace import Scope
from sfm_core.services import authentication
from sfm_core.services.authentication import KEPT_SECONDS, Authentication
from sfm_core.services.clock import now
from sfm_core.services.principal import EVERYTHING, Principal, Verb
from sfm_core.testing.fakes import SettableClock


async def refusal(process: Any, token: str) -> str:
    """Return what is said of a key that opens nothing."""
    with pytest.raises(Unauthenticated) as caught:
        await process.authentication.authenticate(token)
    return str(caught.value)


def with_end(token: str, end: str) -> str:
    return token[: -len(end)] + end


async def test_a_key_stands_for_its_namespaces_and_verbs(process: Any) -> None:
    """The principal is named by the key's id."""
    made = await process.make(namespaces=["a/**", "b"], verbs=["write", "read"])
    found = await process.authentication.authenticate(made.key.reveal())
    expected = (Scope("a", subtree=True), Scope("b"))
    assert found == Principal(made.info.id, expected, frozenset({Verb.READ, Verb.WRITE}))


async def test_whatever_is_wrong_with_a_key_is_refused_alike(process: Any, clock: SettableClock) -> None:
    """Wrong secret, wrong id, malformed, expired, revoked: one text, without a trace of the key."""
    good = await process.make()
    token = good.key.reveal()
    wrong_secret = with_end(token, "0" if token[-1] != "0" else "1")
    expiring = await process.make(expires_at=clock() + timedelta(hours=1))
    revoked = await process.make()
    await process.keys.revoke(EVERYTHING, revoked.info.id)
    clock.advance(3600)
    tried = [
        wrong_secret,
        f"sfm_{uuid4()}_{secrets.token_hex(32)}",
        expiring.key.reveal(),
        revoked.key.reveal(),
        *("", "sfm_", token[:-1], token + "0", token.upper(), " " + token, token + "\n", token.replace("sfm_", "sfm-")),
    ]
    said = [await refusal(process, one) for one in tried]
    assert len(set(said)) == 1
    assert not any(part in said[0] for part in token.split("_")[1:])
    await process.authentication.authenticate(token)


async def test_a_secret_is_compared_in_constant_time_also_for_an_unknown_id(
    process: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many reads and as many comparisons of as many bytes, whether the id or the secret is wrong."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, two: bytes) -> bool:
        compared.append((len(one), len(two)))
        return real(one, two)

    made = await process.make()
    monkeypatch.setattr(authentication.hmac, "compare_digest", compare)
    seen = []
    for id in (made.info.id, str(uuid4())):
        storage.asked = 0
        compared.clear()
        for _ in range(3):
            await refusal(process, f"sfm_{id}_{secrets.token_hex(32)}")
        seen.append((storage.asked, list(compared)))
    assert seen[0] == seen[1] == (1, [(32, 32)] * 3)


async def test_a_good_key_is_read_once_in_a_while(process: Any, storage: Any, clock: SettableClock) -> None:
    """Not for each request; once more when its time is over."""
    token = (await process.make()).key.reveal()
    for expected in (1, 2):
        for _ in range(100):
            await process.authentication.authenticate(token)
        assert storage.asked == expected
        clock.advance(KEPT_SECONDS)


async def test_a_revocation_holds_here_at_once_and_elsewhere_in_time(
    process: Any, other: Any, clock: SettableClock
) -> None:
    """However often the other process used the key in the meantime."""
    made = await process.make()
    token = made.key.reveal()
    for one in (process, other):
        await one.authentication.authenticate(token)
    await process.keys.revoke(EVERYTHING, made.info.id)
    await refusal(process, token)
    for _ in range(10):
        clock.advance(KEPT_SECONDS / 10.001)
        await other.authentication.authenticate(token)
    clock.advance(KEPT_SECONDS / 10)
    await refusal(other, token)


async def test_what_was_read_before_a_revocation_is_not_gone_by_after_it(
    process: Any, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that began before and ends after it is good for its own request only."""
    made = await process.make()
    read, go_on = storage.api_key, asyncio.Event()

    async def slow(id: str) -> Any:
        found = await read(id)
        await go_on.wait()
        return found

    monkeypatch.setattr(storage, "api_key", slow)
    early = asyncio.create_task(process.authentication.authenticate(made.key.reveal()))
    await asyncio.sleep(0)
    monkeypatch.setattr(storage, "api_key", read)
    await process.keys.revoke(EVERYTHING, made.info.id)
    go_on.set()
    await early
    await refusal(process, made.key.reveal())


async def test_a_key_expires_to_the_instant(process: Any, clock: SettableClock) -> None:
    """Although what was read of it is kept."""
    made = await process.make(expires_at=clock() + timedelta(seconds=1))
    await process.authentication.authenticate(made.key.reveal())
    clock.advance(0.999999)
    await process.authentication.authenticate(made.key.reveal())
    clock.advance(0.000001)
    await refusal(process, made.key.reveal())


async def test_unknown_keys_fill_no_memory_and_drive_out_no_good_one(process: Any, storage: Any) -> None:
    """However many are tried."""
    token = (await process.make()).key.reveal()
    await process.authentication.authenticate(token)
    for _ in range(3000):
        await refusal(process, f"sfm_{uuid4()}_{'0' * 64}")
    kept = sum(len(table) for table in vars(process.authentication).values() if isinstance(table, dict))
    assert kept <= 1025
    storage.asked = 0
    await process.authentication.authenticate(token)
    assert storage.asked == 0


async def test_an_unavailable_storage_lets_nobody_in(process: Any, storage: Any, clock: SettableClock) -> None:
    """Who was known goes on for as long as that is kept; then it is told, and never taken for a wrong key."""
    token = (await process.make()).key.reveal()
    await process.authentication.authenticate(token)
    storage.down = True
    await process.authentication.authenticate(token)
    clock.advance(KEPT_SECONDS)
    with pytest.raises(BackendUnavailable):
        await process.authentication.authenticate(token)
    storage.down = False
    await process.authentication.authenticate(token)


async def test_a_key_that_was_made_is_noticed(process: Any, other: Any) -> None:
    """Here at once, elsewhere when it looks; revoking it does not undo that."""
    assert (await process.authentication.look(), process.authentication.any_key) == (False, False)
    made = await process.make()
    assert (process.authentication.any_key, other.authentication.any_key) == (True, False)
    await process.keys.revoke(EVERYTHING, made.info.id)
    assert await other.authentication.look()
    assert other.authentication.any_key


async def test_a_long_answer_ends_with_its_key(
    process: Any, storage: Any, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A storage that is down for a while does not end it."""
    made = await process.make()
    principal = await process.authentication.authenticate(made.key.reveal())
    slept = 0

    async def sleep(seconds: float) -> None:
        nonlocal slept
        slept += 1
        clock.advance(seconds)
        storage.down = slept == 2
        if slept == 4:
            await storage.revoke_api_key(made.info.id, clock())

    monkeypatch.setattr(authentication.asyncio, "sleep", sleep)
    await process.authentication.ended(principal)
    assert slept == 4


async def test_a_storage_without_keys_opens_to_nobody() -> None:
    """The error names the capability."""
    without = Authentication(None, now)
    assert not await without.look()
    with pytest.raises(CapabilityNotSupported, match="api_keys") as caught:
        await without.authenticate(f"sfm_{uuid4()}_{'0' * 64}")
    assert isinstance(caught.value, SfmError)
