"""The one projector: brings vector index and cache up to the records. Inline mode and consumer both run it.

Idempotent by (memory id, version): replays and reordering change nothing, since it always hydrates the newest version from
storage and every projection ignores versions that it has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from sfm_core.errors import BackendError, SfmError
from sfm_core.model.event import Change
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import ALL
from sfm_core.ports.storage import Storage, Stored
from sfm_core.services.projection import Projection

__all__ = ["Projector"]

_log = logging.getLogger("sfm.projector")
_PAGE = 1000
_LINKS = ("memory.linked", "memory.unlinked")
_PATIENCE = 1.0
_GRACE = 0.02
_LOOK, _FAR_LOOK = 0.01, 0.03
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Projector:
    """Drives a `Projection` along the change log of a storage, and remembers how far it has come.

    Writers hand over what they just wrote (`written`). Everything else is read from the log by `catch_up`, in a task of its
    own that runs until it has worked off the backlog: other processes' writes, what a failing projection missed, the log
    since the last stop.

    Args:
        storage, projection: from where to where.
        name: of the cursor.
        drives: False where a consumer does the work: this process only looks at how far the cursor has come.
    """

    def __init__(self, storage: Storage, projection: Projection, *, name: str, drives: bool = True) -> None:
        self._storage = storage
        self._projection = projection
        self._name = name
        self._drives = drives
        self._position = 0
        self._saved = 0
        self._ahead: set[int] = set()
        self._lock = asyncio.Lock()
        self._worker: asyncio.Task[None] | None = None
        self._kicked = False
        self._closed = False
        self.failing: str | None = None

    @property
    def name(self) -> str:
        """The name of the cursor."""
        return self._name

    @property
    def position(self) -> int:
        """Everything up to this sequence is projected."""
        return self._position

    @property
    def keeps_up(self) -> bool:
        """Whether writes of this process are projected at once."""
        return not self._projection.searched or (self._drives and self.failing is None)

    async def indexed(self, last: int) -> int:
        """Return the sequence up to which the projections hold everything, given the log's newest one `last`."""
        if not self._projection.searched:
            return last
        if not self._drives:
            self._position = await self._storage.cursor(self._name)
        return min(last, self._position)

    async def start(self) -> None:
        """Read the cursor and begin with the backlog; an empty index starts over from the beginning of the log.

        Waits a moment for a short backlog; the rest of a long one is worked off while the memory is in use.
        """
        if not self._projection.needed:
            return
        self._position = self._saved = await self._storage.cursor(self._name)
        if not self._drives:
            return
        if self._position and await self._projection.is_empty():
            await self.restart()
        self.kick()
        if self._worker is not None:
            await asyncio.wait({self._worker}, timeout=_PATIENCE)

    async def restart(self) -> None:
        """Go back to the beginning of the log: everything is backlog."""
        await self._storage.save_cursor(self._name, 0)
        self._position = self._saved = 0
        self._ahead.clear()

    async def passed(self, sequence: int) -> None:
        """Note that everything up to `sequence` was projected by other means."""
        self._reach(sequence)
        await self._save()

    async def written(
        self,
        live: Sequence[Memory],
        gone: Sequence[tuple[str, int]],
        sequences: Iterable[int],
    ) -> bool:
        """Project what this process just wrote; return whether the projections hold it now.

        A projection that is down does not fail the write: the backlog is worked off later.
        """
        if not self.keeps_up:
            self.kick()
            return False
        if not self._drives or not self._projection.needed:
            return True
        if live or gone:
            try:
                await self._projection.apply(live, gone, just_written=True)
            except Exception as error:  # noqa: BLE001  the write is durable and is acknowledged, whatever failed here
                self._note_failure(error)
                self.kick()
                return False
        self._ahead.update(sequence for sequence in sequences if sequence > self._position)
        self._reach(self._position)
        if self._position - self._saved >= _PAGE or len(self._ahead) >= _PAGE:
            self.kick()
        return True

    async def reached(self, sequence: int, timeout: float, *, live: Sequence[Memory] | None = None) -> bool:
        """Wait until everything up to `sequence` is projected, at most `timeout` seconds; return whether it is.

        Args:
            sequence: of the change log.
            timeout: seconds.
            live: what must be found, if that is all that matters and nothing was deleted: where a consumer does the work,
                the index is asked for it as well, since the cursor of all may be behind for the sake of others.
        """
        if not self._projection.needed:
            return True
        clock = asyncio.get_running_loop().time
        deadline = clock() + max(timeout, _GRACE)
        look = _LOOK if self._drives else _FAR_LOOK
        while await self.indexed(sequence) < sequence:
            if live is not None and not self._drives and await self._holds(live):
                return True
            left = deadline - clock()
            if left <= 0:
                return False
            self.kick()
            await asyncio.sleep(min(look, left))
        return True

    async def _holds(self, live: Sequence[Memory]) -> bool:
        try:
            return await self._projection.holds(live)
        except BackendError:
            return False

    def kick(self) -> None:
        """Have the log read again, in the background, until its end is reached."""
        self._kicked = True
        if self._drives and self._projection.needed and not self._closed and self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(), name="sfm-projector")

    async def _work(self) -> None:
        pause = _FIRST_PAUSE
        try:
            while self._kicked:
                self._kicked = False
                if await self.catch_up():
                    pause = _FIRST_PAUSE
                    continue
                self._kicked = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._worker = None

    async def catch_up(self) -> bool:
        """Work off the change log from the cursor to its end; return whether that succeeded."""
        if not self._drives or not self._projection.needed:
            return True
        async with self._lock:
            try:
                while changes := await self._storage.changes(ALL, after=self._position, limit=_PAGE):
                    await self.project([c for c in changes if c.sequence not in self._ahead])
                    self._reach(changes[-1].sequence)
                    await self._save()
                await self._save()
            except Exception as error:  # noqa: BLE001  noted, told by `failing`, and tried again
                self._note_failure(error)
                return False
            self.failing = None
            return True

    async def project(self, changes: Sequence[Change], *, strict: bool = False) -> None:
        """Bring the projections up to the newest versions of the memories that `changes` speak of.

        Args:
            changes: of the log, in any order.
            strict: as in `Projection.apply`.
        """
        newest: dict[str, int] = {}
        for change in changes:
            if change.type not in _LINKS:
                newest[change.memory_id] = max(newest.get(change.memory_id, 0), change.version)
        if not newest:
            return
        ids = list(newest)
        stored = await self._storage.locate(ids)
        live, gone = _split(zip(ids, stored, strict=True), newest)
        await self._projection.apply(live, gone, strict=strict)

    async def flush(self) -> None:
        """Make durable what was projected."""
        await self._projection.flush()

    async def close(self) -> None:
        """Bring cursor and index together before the backends close; a long backlog is left for the next start."""
        self._closed = True
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        if self._drives and self._projection.needed and self.failing is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self.catch_up()

    def _reach(self, sequence: int) -> None:
        """Move the position to `sequence` and past what is known to be projected right after it."""
        if sequence > self._position:
            self._position = sequence
            self._ahead = {ahead for ahead in self._ahead if ahead > sequence}
        while self._position + 1 in self._ahead:
            self._position += 1
            self._ahead.discard(self._position)

    async def _save(self) -> None:
        position = self._position
        if position > self._saved:
            await self._projection.flush()
            await self._storage.save_cursor(self._name, position)
            self._saved = position

    def _note_failure(self, error: Exception) -> None:
        text = str(error) if isinstance(error, SfmError) else f"raised {type(error).__name__}"
        if self.failing is None:
            _log.warning("projection is behind: %s", text)
        self.failing = text


def _split(
    pairs: Iterable[tuple[str, Stored | None]], newest: dict[str, int]
) -> tuple[list[Memory], list[tuple[str, int]]]:
    live: list[Memory] = []
    gone: list[tuple[str, int]] = []
    for id, stored in pairs:
        if stored is None:
            gone.append((id, newest[id]))
        elif stored.deleted:
            gone.append((id, stored.memory.version))
        else:
            live.append(stored.memory)
    return live, gone
