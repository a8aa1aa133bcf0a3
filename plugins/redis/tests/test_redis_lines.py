"""How connections are lent: one caller each, in turn, and none is lost, whoever is cancelled when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sfm_redis.lines import Lines


class Line:
    """Stands in for a connection: it says whether it is open and silent."""

    def __init__(self) -> None:
        self.is_connected = False
        self.dirty = False
        self.connects = 0

    async def connect(self) -> None:
        self.connects += 1
        self.is_connected, self.dirty = True, False

    async def disconnect(self, nowait: bool = False) -> None:
        self.is_connected = False

    async def can_read(self) -> bool:
        return self.dirty


async def use(lines: Lines, log: list[Any], release: asyncio.Event) -> None:
    """Borrow a connection until `release` is set."""
    async with lines.lent() as line:
        log.append(line)
        await release.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_connection_is_used_again_unless_it_is_closed_or_has_something_to_say() -> None:
    """Then it is connected anew, before the request."""
    lines = Lines(Line, 4)
    async with lines.lent() as first:
        pass
    async with lines.lent() as again:
        assert again is first
        assert first.connects == 1
    first.dirty = True
    async with lines.lent() as again:
        assert (again, first.connects) == (first, 2)
    with pytest.raises(ValueError, match="broken"):
        async with lines.lent():
            raise ValueError("broken")
    assert not first.is_connected
    await lines.drop()
    async with lines.lent() as again:
        assert (again, first.connects) == (first, 3)


async def test_who_finds_none_waits_for_its_turn() -> None:
    """First come, first served."""
    lines, log, events = Lines(Line, 1), [], [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(use(lines, log, event)) for event in events]
    for n, event in enumerate(events, 1):
        await settle()
        assert len(log) == n
        event.set()
    await asyncio.gather(*tasks)
    assert len(set(log)) == 1


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_a_cancelled_waiter_takes_nothing_with_it(cancelled: int) -> None:
    """Not even when the connection was just handed to it."""
    lines, log, done = Lines(Line, 1), [], asyncio.Event()
    done.set()
    async with lines.lent() as held:
        waiters = [asyncio.create_task(use(lines, log, done)) for _ in range(3)]
        await settle()
    # The first waiter has the connection and has not run yet.
    waiters[cancelled].cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiters, return_exceptions=True)
        async with lines.lent() as line:
            assert line is held
    assert len(log) == 2


async def test_what_is_given_back_after_the_end_is_closed() -> None:
    """No connection stays open behind a closed cache."""
    lines, log, free = Lines(Line, 2), [], asyncio.Event()
    task = asyncio.create_task(use(lines, log, free))
    async with lines.lent() as idle:
        await settle()
    await lines.close()
    assert not idle.is_connected
    free.set()
    await task
    assert not log[0].is_connected
