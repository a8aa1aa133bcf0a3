"""Links between memories: making and removing them, neighbours, cheapest paths."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from typing import Literal, cast

from msgspec.structs import replace

from sfm_core.errors import InvalidInput, NotFound, SfmError
from sfm_core.model.link import Direction, Link, LinkReceipt, Neighbor, Path
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.model.query import Page
from sfm_core.ports.storage import Storage
from sfm_core.ports.writes import AppliedLink, PutLink, RemoveLink
from sfm_core.services.checks import (
    check_count,
    check_cursor,
    check_json_object,
    check_number,
    check_one_of,
    check_text,
)
from sfm_core.services.commit import Committed, Committer
from sfm_core.services.idempotency import IdempotencyKey
from sfm_core.services.ids import check_id
from sfm_core.services.principal import Principal, Verb

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
        principal.require_verb(Verb.WRITE)
        if (replayed := await self._committer.replayed(key)) is not None:
            return await self._repeated(principal, replayed)
        first = await self._live(principal, source, Verb.WRITE)
        second = await self._live(principal, target, Verb.WRITE)
        if first.namespace != second.namespace:
            raise InvalidInput.of("target", second.namespace, f"a memory of the source's namespace {first.namespace!r}")
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
        return await self._written(principal, PutLink(link=link), key)

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
        principal.require_verb(Verb.WRITE)
        if (replayed := await self._committer.replayed(key)) is not None:
            return await self._repeated(principal, replayed)
        await self._live(principal, source, Verb.WRITE)
        write = RemoveLink(source=source, target=target, relation=relation, time=self._committer.clock())
        return await self._written(principal, write, key)

    async def _written(
        self, principal: Principal, write: PutLink | RemoveLink, key: IdempotencyKey | None
    ) -> LinkReceipt:
        committed = await self._committer.commit(principal, [write], key=key)
        if committed.replay is not None:
            return await self._repeated(principal, committed)
        [result] = committed.results
        if isinstance(result, SfmError):
            raise result
        done = cast(AppliedLink, result)
        link = done.link
        if done.outcome == "deleted" and not principal.may(Verb.READ, Scope(link.namespace)):
            link = replace(link, metadata={})
        return LinkReceipt(link=link, outcome=done.outcome, sequence=done.sequence)

    async def _repeated(self, principal: Principal, committed: Committed) -> LinkReceipt:
        """Answer a repeated request: the link as it is now, without weight and metadata once it is gone."""
        assert committed.replay is not None
        first = next((r for r in committed.replay.results if r.link is not None), None)
        if first is None or first.link is None:
            raise NotFound("the first request with this key wrote no link")
        source, target, relation = first.link
        [end] = await self._storage.locate([source])
        if end is None or not principal.may(Verb.WRITE, Scope(end.memory.namespace)):
            raise NotFound(f"memory {source} of the first request was erased since")
        now = self._committer.clock()
        found = await self._storage.links([source], relation=relation, direction="out", now=now)
        gone = Link(
            source=source,
            target=target,
            relation=relation,
            namespace=end.memory.namespace,
            created_at=end.memory.created_at,
            updated_at=end.memory.updated_at,
        )
        link = next((x for x in found if x.target == target and first.outcome != "deleted"), gone)
        outcome = cast(Literal["created", "updated", "unchanged", "deleted"], first.outcome)
        return LinkReceipt(link=link, outcome=outcome, sequence=first.sequence)

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
        id = check_id(id)
        relation = self._relation(relation)
        depth = check_count(depth, "depth", low=1, high=_DEEPEST)
        limit = check_count(limit, "limit", low=1, high=self._committer.limits.page)
        skip = _offset(check_cursor(cursor))
        way = cast(Direction, check_one_of(direction, "direction", _DIRECTIONS))
        start = await self._live(principal, id, Verb.READ)
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
        """Return the cheapest directed path by summed weights (Dijkstra 1959), ties by fewer links.

        Raises:
            NotFound: an end is not there, or no path leads from source to target (among the nearest 100,000 memories).
        """
        source, target = check_id(source, "source"), check_id(target, "target")
        relation = self._relation(relation)
        first = await self._live(principal, source, Verb.READ)
        last = await self._live(principal, target, Verb.READ)
        order = itertools.count()
        queue: list[tuple[float, int, int, str]] = [(0.0, 0, next(order), first.id)]
        came: dict[str, Link | None] = {first.id: None}
        cost: dict[str, tuple[float, int]] = {first.id: (0.0, 0)}
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
                if link.target not in cost or (total, hops + 1) < cost[link.target]:
                    cost[link.target], came[link.target] = (total, hops + 1), link
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

    def _relation(self, relation: object) -> str | None:
        if relation is None:
            return None
        return check_text(relation, "relation", longest=self._committer.limits.text_length)

    async def _live(self, principal: Principal, id: str, verb: Verb) -> Memory:
        principal.require_verb(verb)
        [memory] = await self._storage.get([id], now=self._committer.clock())
        if memory is None or not principal.may(verb, Scope(memory.namespace)):
            raise NotFound(f"no memory {id}")
        return memory


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isdigit() or len(cursor) > 9:
        raise InvalidInput.of("cursor", cursor, "the `next` of an earlier page")
    return int(cursor)
