"""Capabilities DURABLE and SHARED of a vector index."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import pytest

from sfm_core.errors import ConfigError
from sfm_core.model.namespace import ALL
from sfm_core.plugins.types import Port
from sfm_core.ports.vectors import Space, Vectors, VectorsCapability
from sfm_core.testing.build import HERE, ids_of, memory
from sfm_core.testing.child import Acknowledged, kill_after
from sfm_core.testing.opener import Opener
from sfm_core.testing.suite import SPACE, Suite
from sfm_core.testing.vectors import UP, point, unit

__all__ = ["DurableVectorsSuite", "SharedVectorsSuite"]


class DurableVectorsSuite(Suite):
    """What a vector index with DURABLE must do. `kills` is how often the crash test kills a writing process."""

    port = Port.VECTORS
    capability = VectorsCapability.DURABLE
    kills: ClassVar[int] = 3

    async def test_flushed_points_survive_reopening(self, opener: Opener) -> None:
        """Points, versions and remembered deletions are as they were."""
        backend: Vectors = await opener.open()
        one, two, gone = memory("one"), memory("two", version=4), memory("gone")
        await backend.upsert([point(one, [1.0]), point(two, [1.0, 1.0]), point(gone, [1.0, 2.0])])
        await backend.delete([(gone.id, 2)])
        await backend.flush()
        before = await backend.search(HERE, UP, limit=9)
        backend = await opener.reopen()
        assert await backend.search(HERE, UP, limit=9) == before
        assert await backend.versions([one.id, two.id, gone.id]) == {one.id: 1, two.id: 4}
        await backend.upsert([point(gone, [1.0], 2), point(two, [0.0, 0.0, 1.0], 3)])
        assert await backend.search(HERE, UP, limit=9) == before

    async def test_an_index_of_another_space_is_refused(self, opener: Opener) -> None:
        """Another dimension or fingerprint: the error names both and `sfm reindex`; the index is left as it was."""
        backend: Vectors = await opener.open()
        one = memory("one")
        await backend.upsert([point(one, [1.0])])
        await backend.flush()
        wrong = (Space(SPACE.dimension, "other/8"), Space(16, SPACE.fingerprint), Space(16, "other/16"))
        for space in wrong:
            with pytest.raises(ConfigError) as caught:
                await opener.reopen(space=space)
            said = str(caught.value)
            for part in (
                space.fingerprint,
                SPACE.fingerprint,
                str(space.dimension),
                str(SPACE.dimension),
                "sfm reindex",
            ):
                assert part in said
        backend = await opener.reopen()
        assert ids_of(await backend.search(HERE, UP, limit=9)) == [one.id]

    async def test_a_cleared_index_reopens_in_its_new_space(self, opener: Opener) -> None:
        """The first half of a rebuild: opened in spite of its space, cleared for the new one, and that lasts."""
        backend: Vectors = await opener.open()
        await backend.upsert([point(memory("one"), [1.0])])
        await backend.flush()
        other = Space(3, "other/3")
        backend = await opener.reopen(space=other, rebuild=True)
        await backend.clear(other)
        await backend.flush()
        backend = await opener.reopen(space=other)
        assert await backend.count(ALL) == 0
        with pytest.raises(ConfigError):
            await opener.reopen()

    async def test_deleted_vectors_leave_no_bytes(
        self, opener: Opener, held: Callable[[], Awaitable[Mapping[str, bytes]]]
    ) -> None:
        """When `flush` returns, nothing of the store holds three of its numbers in a row any more."""
        backend: Vectors = await opener.open()
        draw = random.Random(7)
        one, kept = memory("one"), memory("kept")
        secret = unit([draw.gauss(0, 1) for _ in range(SPACE.dimension)])
        await backend.upsert([point(one, secret), point(kept, [draw.gauss(0, 1) for _ in range(SPACE.dimension)])])
        await backend.flush()
        await backend.delete([(one.id, 2)])
        await backend.flush()
        pieces = [struct.pack("<3f", *secret[start : start + 3]) for start in (0, 3)]
        pieces += [struct.pack("<3d", *secret[start : start + 3]) for start in (0, 3)]
        assert [where for where, data in (await held()).items() if any(piece in data for piece in pieces)] == []

    async def test_flushed_points_survive_a_kill(self, opener: Opener) -> None:
        """Killed with SIGKILL while four tasks write: every flushed point is found, every flushed deletion holds."""
        told: list[Acknowledged] = []
        for kill in range(self.kills):
            told += await asyncio.to_thread(kill_after, opener.address, f"kill {kill}", 5 + 13 * kill)
            backend: Any = await opener.reopen()
            there = await backend.versions([one.id for line in told for one in line.memories])
            assert [one.id for line in told for one in line.memories if one.id not in there] == []
            assert await backend.versions([id for line in told for id in line.removed]) == {}
            hits = await backend.search(ALL, UP, limit=10**6)
            assert await backend.count(ALL) >= len(there)
            if VectorsCapability.EXACT in self.spec.capabilities:
                assert len(hits) == await backend.count(ALL)
            await opener.close()


class SharedVectorsSuite(Suite):
    """What a vector index with SHARED must do."""

    port = Port.VECTORS
    capability = VectorsCapability.SHARED

    async def test_openings_see_each_others_points(self, opener: Opener) -> None:
        """New, moved and deleted points, at the next search; the newest version wins whoever wrote it."""
        first, second = await opener.open(), await opener.open()
        one, two = memory("one"), memory("two")
        await first.upsert([point(one, [1.0]), point(two, [0.0, 1.0])])
        assert ids_of(await second.search(HERE, UP, limit=9)) == [one.id, two.id]
        await second.upsert([point(one, [0.0, 0.0, 1.0], 3), point(two, [1.0], 2)])
        await first.upsert([point(one, [1.0], 2)])
        for backend in (first, second):
            found = await backend.search(HERE, UP, limit=9)
            assert [(hit.id, hit.version) for hit in found] == [(two.id, 2), (one.id, 3)]
        await first.delete([(two.id, 3)])
        await second.upsert([point(two, [1.0], 3)])
        for backend in (first, second):
            assert ids_of(await backend.search(HERE, UP, limit=9)) == [one.id]
            assert await backend.count(ALL) == 1

    async def test_a_cleared_index_is_empty_for_all(self, opener: Opener) -> None:
        """The other opening does not answer from what it had in memory."""
        first, second = await opener.open(), await opener.open()
        await first.upsert([point(memory("one"), [1.0])])
        assert len(await second.search(HERE, UP, limit=9)) == 1
        await first.clear()
        assert await second.search(HERE, UP, limit=9) == []
