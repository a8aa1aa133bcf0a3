"""The operations of the data commands: each one as a call of a service and as a route, which answer alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sfm_app.cli.target import Call, Route, given

if TYPE_CHECKING:
    from sfm_core.services.idempotency import IdempotencyKey

__all__ = [
    "Writing",
    "at_coordinate",
    "capabilities",
    "changes",
    "claim",
    "create_key",
    "delete",
    "forget",
    "forget_namespace",
    "get",
    "history",
    "link",
    "list_keys",
    "memories",
    "namespaces",
    "neighbors",
    "operation",
    "path",
    "plugins",
    "recall",
    "remember",
    "restore",
    "revoke_key",
    "stats",
    "undo",
    "unlink",
    "update",
]

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Writing:
    """What may be said of any write: its idempotency key, the version that must be stored, the wait for the projections."""

    key: str | None = None
    if_version: int | None = None
    wait: bool = False

    def route(self, method: str, *path: str, body: Json | None = None, **query: Any) -> Route:
        """Return the route of a write."""
        headers = {}
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        if self.if_version is not None:
            headers["If-Match"] = f'"{self.if_version}"'
        return Route(method, path, {**given(**query), **({"wait": "indexed"} if self.wait else {})}, body, headers)

    def options(self, route: Route, *, version: bool = True, wait: bool = True) -> dict[str, Any]:
        """Return the arguments of a service for the same; `version` and `wait` tell whether it takes these."""
        return {
            "key": claim(route, self.key),
            **({"expected_version": self.if_version} if version else {}),
            **({"wait": self.wait} if wait else {}),
        }


def claim(route: Route, key: str | None) -> IdempotencyKey | None:
    """Return the services' form of the idempotency key of a write, as the route does for a request."""
    if key is None:
        return None
    from sfm_core.services.idempotency import IdempotencyKey

    request = json.dumps([route.path, dict(route.query), route.body], sort_keys=True)
    digest = hashlib.blake2b(request.encode(), digest_size=32).digest()
    return IdempotencyKey(f"cli {route.method} {route.path[0]}", key, digest)


def _id(value: str, field: str = "id") -> str:
    """Return a canonical id: the path of a request must not depend on what a caller calls one."""
    from sfm_core.services.ids import check_id

    return check_id(value, field)


async def _listed(answer: Awaitable[object]) -> object:
    """Return what a service gives as a sequence in the form of the routes: as a page."""
    return {"items": await answer, "next": None}


def remember(memory: Json, *, dedupe: bool, writing: Writing) -> Call:
    """Store one memory."""
    route = writing.route("POST", "memories", body=memory, dedupe=None if dedupe else "off")
    return Call(
        route,
        lambda s, who: s.remember.remember(who, memory, dedupe=dedupe, **writing.options(route, version=False)),
    )


def update(id: str, changes: Json, *, writing: Writing) -> Call:
    """Apply a merge patch."""
    id = _id(id)
    route = writing.route("PATCH", "memories", id, body=changes)
    return Call(route, lambda s, who: s.remember.update(who, id, changes, **writing.options(route)))


def get(id: str, *, as_of: str | None) -> Call:
    """Read one memory."""
    id = _id(id)
    return Call(Route("GET", ("memories", id), given(as_of=as_of)), lambda s, who: s.history.get(who, id, as_of=as_of))


def memories(*, filter: Any = None, **query: Any) -> Call:
    """Read one page of a list."""
    given_query = given(**query)
    text = None if filter is None else json.dumps(filter)
    return Call(
        Route("GET", ("memories",), given(**given_query, filter=text)),
        lambda s, who: s.history.list(who, filter=filter, **given_query),
    )


def at_coordinate(
    *,
    namespace: str | None,
    coordinate: list[float] | None,
    low: list[float] | None,
    high: list[float] | None,
    limit: int | None,
) -> Call:
    """Read the memory at a coordinate, or those in a box."""
    query = given(namespace=namespace, coordinate=coordinate, limit=limit)
    return Call(
        Route("GET", ("memories", "by-coordinate"), {**query, **given(min=low, max=high)}),
        lambda s, who: _listed(s.history.at_coordinate(who, **query, **given(low=low, high=high))),
    )


def history(id: str, *, limit: int | None, cursor: str | None) -> Call:
    """Read one page of the versions of a memory."""
    id = _id(id)
    query = given(limit=limit, cursor=cursor)
    return Call(Route("GET", ("memories", id, "history"), query), lambda s, who: s.history.history(who, id, **query))


def restore(id: str, version: int, *, writing: Writing) -> Call:
    """Make an old version the newest."""
    id = _id(id)
    route = writing.route("POST", "memories", id, "restore", body={"version": version})
    return Call(route, lambda s, who: s.history.restore(who, id, version, **writing.options(route)))


def recall(query: Json) -> Call:
    """Ask a question."""

    async def local(services: Any, who: Any) -> Any:
        from sfm_core.services.recall_input import read_query

        return await services.recall.recall(who, read_query(query, services.limits))

    return Call(Route("POST", ("recall",), body=query), local)


def delete(id: str, *, erase: bool, writing: Writing) -> Call:
    """Hide a memory, or erase it."""
    id = _id(id)
    route = writing.route("DELETE", "memories", id, erase=erase or None)
    return Call(route, lambda s, who: s.forget.delete(who, id, erase=erase, **writing.options(route)))


def forget(request: Json, *, writing: Writing) -> Call:
    """Tell what would be forgotten, or forget it."""
    route = writing.route("POST", "forget", body=request)
    return Call(route, lambda s, who: s.forget.forget(who, **request, **writing.options(route, version=False)))


def forget_namespace(namespace: str, *, erase: bool, writing: Writing) -> Call:
    """Forget every memory of one namespace."""
    from sfm_core.model.namespace import check_namespace

    route = writing.route("DELETE", "namespaces", *check_namespace(namespace).split("/"), erase=erase or None)
    options = writing.options(route, version=False)
    return Call(route, lambda s, who: s.forget.delete_namespace(who, namespace, erase=erase, **options))


def operation(id: str) -> Call:
    """Tell how far an operation has come."""
    id = _id(id, "operation")
    return Call(Route("GET", ("operations", id)), lambda s, who: s.forget.operation(who, id))


def undo(operation: str, *, writing: Writing) -> Call:
    """Bring back what an operation removed."""
    operation = _id(operation, "operation")
    route = writing.route("POST", "operations", operation, "undo")
    options = writing.options(route, version=False, wait=False)
    return Call(route, lambda s, who: s.forget.undo(who, operation, **options))


def link(source: str, target: str, *, writing: Writing, **values: Any) -> Call:
    """Create or change a link."""
    ends = {"source": _id(source, "source"), "target": _id(target, "target")}
    body = {**ends, **given(**values)}
    route = writing.route("POST", "links", body=body)
    options = writing.options(route, version=False, wait=False)
    return Call(route, lambda s, who: s.links.link(who, **body, **options))


def unlink(source: str, target: str, *, relation: str | None, writing: Writing) -> Call:
    """Remove a link."""
    query = given(source=_id(source, "source"), target=_id(target, "target"), relation=relation)
    route = writing.route("DELETE", "links", **query)
    options = writing.options(route, version=False, wait=False)
    return Call(route, lambda s, who: s.links.unlink(who, **query, **options))


def neighbors(id: str, **query: Any) -> Call:
    """Read one page of the memories around one."""
    id = _id(id)
    asked = given(**query)
    return Call(Route("GET", ("memories", id, "neighbors"), asked), lambda s, who: s.links.neighbors(who, id, **asked))


def path(source: str, target: str, *, relation: str | None) -> Call:
    """Find the cheapest way between two memories."""
    body = given(source=_id(source, "source"), target=_id(target, "target"), relation=relation)
    return Call(Route("POST", ("paths",), body=body), lambda s, who: s.links.path(who, **body))


def changes(*, namespace: str | None, after: int, limit: int) -> Call:
    """Read one page of the change log."""
    query = given(namespace=namespace, after=after, limit=limit)
    return Call(Route("GET", ("changes",), query), lambda s, who: s.changes.page(who, **query))


def stats(*, namespace: str | None) -> Call:
    """Count over all namespaces asked for."""
    query = given(namespace=namespace)
    return Call(Route("GET", ("stats",), query), lambda s, who: s.overview.stats(who, **query))


def namespaces(*, namespace: str | None) -> Call:
    """Count by namespace."""
    query = given(namespace=namespace)
    return Call(Route("GET", ("namespaces",), query), lambda s, who: _listed(s.overview.namespaces(who, **query)))


def plugins() -> Call:
    """Tell what is loaded."""
    return Call(Route("GET", ("plugins",)), lambda s, who: _listed(s.overview.plugins(who)))


def capabilities() -> Call:
    """Tell which plan is in force and what it can do."""
    return Call(Route("GET", ("capabilities",)), lambda s, who: s.overview.capabilities(who))


def create_key(**values: Any) -> Call:
    """Make an API key; the answer holds the key itself."""
    body = given(**values)

    async def local(services: Any, who: Any) -> Any:
        from msgspec import structs

        made = await services.keys.create(who, **body)
        return {**structs.asdict(made.info), "key": made.key.reveal()}

    return Call(Route("POST", ("keys",), body=body), local)


def list_keys(*, cursor: str | None) -> Call:
    """Read one page of the API keys."""
    query = given(cursor=cursor)
    return Call(Route("GET", ("keys",), query), lambda s, who: s.keys.list(who, **query))


def revoke_key(id: str) -> Call:
    """Revoke an API key."""
    id = _id(id)
    return Call(Route("DELETE", ("keys", id)), lambda s, who: s.keys.revoke(who, id))
