"""Links between memories: making and removing them, neighbours, cheapest paths."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping

from sfm_core.errors import InvalidInput, NotFound
from sfm_core.model.link import Direction, Link, LinkReceipt, Neighbor, Path
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.model.query import Page
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import AppliedLink, PutLink, RemoveLink
from sfm_core.services.checks import check_count, check_json_object, check_number, check_text
from sfm_core.services.commit import Committed, Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id
from sfm_core.services.principal import Principal, Verb
from sfm_core.services.replies import link_receipt

__all__ = ["Links"]

_DIRECTIONS: tuple[Direction, ...] = ("out", "in", "both")
_DEEPEST = 5
_VISITED_MOST = 100_000


class Links:
    """Makes, removes and follows links."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self._storage: Storage = committer.storage

    async def link(
        self,
        principal: Principal,
        source: str,
        target: str,
        *,
        relation: str = "related",
        weight: float = 1.0,
        metadata: Mapping[str, object] | None = None,
        key: IdempotencyKey | None = None,
    ) -> LinkReceipt:
        """Create the link from `source` to `target`, or update its weight and metadata.

        Raises:
            NotFound: one of the ends is unknown, deleted, expired or erased.
            InvalidInput: ends of different namespaces, a link of a memory to itself, or a refused value.
        """
        source, target = check_id(source, "source"), check_id(target, "target")
        if source == target:
            raise InvalidInput.of("target", target, "another memory than source")
        relation = check_text(relation, "relation", longest=self._committer.limits.text_length)
        weight = check_number(weight, "weight", above=0)
        limits = self._committer.limits
        extra = check_json_object(
            {} if metadata is None else metadata,
            "metadata",
            most_bytes=limits.payload_bytes,
            depth=limits.payload_depth,
        )
        first, second = await self._live(principal, source), await self._live(principal, target)
        if first.namespace != second.namespace:
            raise InvalidInput.of("target", second.namespace, f"a memory of the source's namespace {first.namespace!r}")
        principal.require(Verb.WRITE, Scope(first.namespace))
        now = self._committer.clock()
        link = Link(
            source=source,
            target=target,
            relation=relation,
            weight=weight,
            metadata=extra,
            namespace=first.namespace,
            created_at=now,
            updated_at=now,
        )
        return await self._answer(await self._committer.commit(principal, [PutLink(link=link)], key=key), link)

    async def unlink(
        self,
        principal: Principal,
        source: str,
        target: str,
        *,
        relation: str = "related",
        key: IdempotencyKey | None = None,
    ) -> LinkReceipt:
        """Remove a link.

        Raises:
            NotFound: there is no such link between live memories.
        """
        source, target = check_id(source, "source"), check_id(target, "target")
        relation = check_text(relation, "relation", longest=self._committer.limits.text_length)
        memory = await self._live(principal, source)
        principal.require(Verb.WRITE, Scope(memory.namespace))
        now = self._committer.clock()
        write = RemoveLink(source=source, target=target, relation=relation, time=now)
        link = Link(
            source=source, target=target, relation=relation, namespace=memory.namespace, created_at=now, updated_at=now
        )
        return await self._answer(await self._committer.commit(principal, [write], key=key), link)

    async def _answer(self, committed: Committed, asked: Link) -> LinkReceipt:
        """Return the receipt; a repeated request is answered with the link as it is now, or as it was asked for."""
        if committed.replay is None:
            return link_receipt(committed)
        first = next((r for r in committed.replay.results if r.link is not None), None)
        if first is None:
            raise NotFound("the first request with this key wrote no link")
        found = await self._storage.links(
            [asked.source], relation=asked.relation, direction="out", now=self._committer.clock()
        )
        link = next((x for x in found if x.target == asked.target), asked)
        applied = AppliedLink(link, first.outcome or "unchanged", first.sequence)  # type: ignore[arg-type]
        return link_receipt(Committed([applied], committed.indexed))

    async def neighbors(
        self,
        principal: Principal,
        id: str,
        *,
        relation: str | None = None,
        direction: str = "both",
        depth: int = 1,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Return the memories within `depth` links of `id`, nearest first (by hops, then cost of the link, then id).

        Raises:
            NotFound: `id` is unknown, deleted, expired or erased.
            InvalidInput: a refused argument.
        """
        start = await self._live(principal, check_id(id))
        depth = check_count(depth, "depth", low=1, high=_DEEPEST)
        limit = check_count(limit, "limit", low=1, high=self._committer.limits.page)
        skip = 0 if cursor is None else _offset(cursor)
        way = _direction(direction)
        reached = await self._reached(start.id, relation, way, depth, skip + limit + 1)
        part = reached[skip : skip + limit]
        memories = await self._storage.get([id for id, _, _ in part], now=self._committer.clock())
        items = tuple(
            Neighbor(memory, link, hops) for (_, link, hops), memory in zip(part, memories, strict=True) if memory
        )
        return Page(items, str(skip + limit) if len(reached) > skip + limit else None)

    async def _reached(
        self, start: str, relation: str | None, direction: Direction, depth: int, most: int
    ) -> list[tuple[str, Link, int]]:
        seen = {start}
        reached: list[tuple[str, Link, int]] = []
        edge = [start]
        for hops in range(1, depth + 1):
            links = await self._storage.links(edge, relation=relation, direction=direction, now=self._committer.clock())
            inside, fresh = set(edge), []
            for link in links:
                for here, there, way in ((link.source, link.target, "out"), (link.target, link.source, "in")):
                    if here in inside and there not in seen and direction in (way, "both"):
                        seen.add(there)
                        fresh.append((there, link, hops))
            reached += sorted(fresh, key=lambda item: (item[1].weight, item[0]))
            if not fresh or len(reached) >= most:
                break
            edge = [id for id, _, _ in fresh]
        return reached

    async def path(self, principal: Principal, source: str, target: str, *, relation: str | None = None) -> Path:
        """Return the cheapest directed path by summed weights (Dijkstra 1959), ties by fewer links then ids.

        Raises:
            NotFound: an end is not there, or no path leads from source to target.
        """
        first = await self._live(principal, check_id(source, "source"))
        last = await self._live(principal, check_id(target, "target"))
        order = itertools.count()
        queue: list[tuple[float, int, int, str]] = [(0.0, 0, next(order), first.id)]
        came: dict[str, Link | None] = {first.id: None}
        cost: dict[str, float] = {first.id: 0.0}
        done: set[str] = set()
        while queue and len(done) < _VISITED_MOST:
            spent, hops, _, here = heapq.heappop(queue)
            if here in done:
                continue
            done.add(here)
            if here == last.id:
                return await self._walked(last.id, came, spent)
            links = await self._storage.links([here], relation=relation, direction="out", now=self._committer.clock())
            for link in links:
                total = spent + link.weight
                if total < cost.get(link.target, float("inf")):
                    cost[link.target], came[link.target] = total, link
                    heapq.heappush(queue, (total, hops + 1, next(order), link.target))
        raise NotFound(f"no path from {source} to {target}")

    async def _walked(self, end: str, came: Mapping[str, Link | None], cost: float) -> Path:
        links: list[Link] = []
        ids = [end]
        while (link := came[ids[-1]]) is not None:
            links.append(link)
            ids.append(link.source)
        nodes = await self._storage.get(ids[::-1], now=self._committer.clock())
        if None in nodes:
            raise NotFound(f"a memory on the way to {end} was deleted meanwhile")
        return Path(tuple(m for m in nodes if m), tuple(links[::-1]), cost)

    async def _live(self, principal: Principal, id: str) -> Memory:
        [memory] = await self._storage.get([id], now=self._committer.clock())
        if memory is None or not principal.may(Verb.READ, Scope(memory.namespace)):
            raise NotFound(f"no memory {id}")
        return memory


def _direction(value: str) -> Direction:
    for direction in _DIRECTIONS:
        if value == direction:
            return direction
    raise InvalidInput.of("direction", value, f"one of {', '.join(_DIRECTIONS)}")


def _offset(cursor: str) -> int:
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise InvalidInput.of("cursor", cursor, "the `next` of an earlier page")
    return int(cursor)
