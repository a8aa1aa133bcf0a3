"""`wait=indexed`: a receipt says so only when the index holds what the write speaks of, whoever wrote it first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from sfm_core.plugins.hooks import OperationHooks
from sfm_core.services.commit import Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.limits import Limits
from sfm_core.services.principal import EVERYTHING
from sfm_core.services.validate import MemoryReader
from sfm_core.testing.build import NOW, put

LIMITS = Limits(wait_seconds=1.0)
KEY = IdempotencyKey("local POST /v1/memories", "key", b"request")


def committer(world: Any) -> Committer:
    """Return one whose index is kept by a consumer."""
    return Committer(world.storage, world.projector(), OperationHooks(), MemoryReader(LIMITS), lambda: NOW, LIMITS)


async def indexed_within(world: Any, running: Callable[[Any], Any], write: Callable[[], Any]) -> tuple[bool, bool]:
    """Return what a write says while nothing is carried to the index, and what it says when it is carried meanwhile."""
    alone = await write()
    async with running(world.relay()), running(world.consumer()):
        carried = await write()
    return alone.indexed, carried.indexed


async def test_a_duplicate_waits_for_the_memory_that_it_is_folded_into(world: Any, running: Any) -> None:
    """Nothing is written, and still the index may not hold it yet."""
    commit = committer(world).commit
    await commit(EVERYTHING, [put("tea")])

    async def again() -> Any:
        done = await commit(EVERYTHING, [put("tea")], wait=True)
        assert [result.outcome for result in done.results] == ["duplicate"]
        return done

    assert await indexed_within(world, running, again) == (False, True)


async def test_a_repeated_request_waits_for_what_the_first_one_wrote(world: Any, running: Any) -> None:
    """The answer that was kept says nothing of the index."""
    commit = committer(world).commit
    await commit(EVERYTHING, [put("tea")], key=KEY)

    async def again() -> Any:
        done = await commit(EVERYTHING, [put("tea")], key=KEY, wait=True)
        assert done.replay is not None
        return done

    assert await indexed_within(world, running, again) == (False, True)


async def test_a_wait_is_bounded(world: Any) -> None:
    """The write is acknowledged all the same."""
    before = asyncio.get_running_loop().time()
    done = await committer(world).commit(EVERYTHING, [put("tea")], wait=True)
    assert not done.indexed
    assert asyncio.get_running_loop().time() - before <= LIMITS.wait_seconds + 0.1
