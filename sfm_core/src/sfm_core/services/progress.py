"""How far consumers have brought the projections, as a cursor that every process can read.

The change log has one order, the lanes of a bus have one each. With R the relay's cursor, read FIRST, and then the lag of
the group: everything up to R was on the bus before the lag was asked for. So where no lane lags, all up to R is
projected. A lane that lags holds nothing unprojected up to its own cursor (the highest sequence of it that was done),
because a lane is in order apart from repeats. Hence R, or the least cursor of the lagging lanes if that is lower.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping

from sfm_core.ports.events import Events
from sfm_core.ports.storage import Storage
from sfm_core.services.relay import RELAY

__all__ = ["Progress"]


class Progress:
    """Saves how far the group has come: the cursor of each lane, and the cursor that the projector goes by.

    Args:
        storage: has the cursors.
        events: tells how far the group lags.
        name: of the projector's cursor.
        group: the consumer group.

    Attributes:
        position: what `refresh` found last.
        lag: for each lane how many events the group has not committed, when `refresh` last asked.
    """

    def __init__(self, storage: Storage, events: Events, *, name: str, group: str) -> None:
        self._storage = storage
        self._events = events
        self._name = name
        self._group = group
        self._saved = 0
        self.position = 0
        self.lag: Mapping[str, int] = {}

    async def done(self, lanes: Mapping[str, int]) -> None:
        """Note for each lane up to which sequence all of it is projected and committed.

        Raises:
            BackendError: a cursor cannot be saved; it is safe to go on without.
        """
        await gather(*(self._storage.save_cursor(self._cursor(lane), sequence) for lane, sequence in lanes.items()))

    async def refresh(self) -> int:
        """Find out how far the group has come, save it, and return it.

        Raises:
            BackendError: storage or bus cannot tell; nothing was saved.
        """
        relayed = await self._storage.cursor(RELAY)
        self.lag = await self._events.lag(self._group)
        lagging = [lane for lane, behind in self.lag.items() if behind and relayed]
        reached = min([relayed, *await gather(*(self._storage.cursor(self._cursor(lane)) for lane in lagging))])
        if reached > self._saved:
            await self._storage.save_cursor(self._name, reached)
            self._saved = reached
        self.position = max(self.position, reached)
        return self.position

    def _cursor(self, lane: str) -> str:
        return f"{self._name}:{lane}"
