"""What there is: namespaces, counts, plugins, capabilities."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from msgspec import Meta, Struct

from sfm_app.http.bodies import AnyRequest
from sfm_app.http.queries import NoQuery, Query, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_app.http.writes import principal_of
from sfm_core.plugins.registry import LoadedPlugin
from sfm_core.ports.storage import NamespaceStats
from sfm_core.services.overview import Capabilities, Stats

__all__ = ["ROUTES"]


class ScopeQuery(Query, frozen=True, kw_only=True):
    """Parameters of the overview."""

    namespace: Annotated[
        str | None, Meta(description='A namespace, or a subtree as "a/**"; all that may be read when absent.')
    ] = None


class NamespaceList(Struct, frozen=True, kw_only=True):
    """The namespaces, by name."""

    items: tuple[NamespaceStats, ...]
    next: str | None = None


class PluginList(Struct, frozen=True, kw_only=True):
    """The plugins that are loaded."""

    items: tuple[LoadedPlugin, ...]
    next: str | None = None


@get(
    "/v1/namespaces",
    opt=documented(
        Spec(
            tag="overview",
            summary="List namespaces with their counts",
            query=ScopeQuery,
            answers={200: Answer(description="All of them, by name.", shape=NamespaceList)},
        )
    ),
)
async def namespaces(request: AnyRequest, services: TheServices) -> Reply:
    """Return the namespaces that hold anything."""
    query = read_query(request, ScopeQuery)
    found = await services.overview.namespaces(principal_of(request), namespace=query.namespace)
    return json_reply(NamespaceList(items=found))


@get(
    "/v1/stats",
    opt=documented(
        Spec(
            tag="overview",
            summary="Count what is stored",
            query=ScopeQuery,
            answers={200: Answer(description="Sums over the namespaces.", shape=Stats)},
        )
    ),
)
async def stats(request: AnyRequest, services: TheServices) -> Reply:
    """Return the sums of the counts."""
    query = read_query(request, ScopeQuery)
    return json_reply(await services.overview.stats(principal_of(request), namespace=query.namespace))


@get(
    "/v1/plugins",
    opt=documented(
        Spec(
            tag="overview",
            summary="List the loaded plugins",
            answers={200: Answer(description="From which distribution and version each comes.", shape=PluginList)},
        )
    ),
)
async def plugins(request: AnyRequest, services: TheServices) -> Reply:
    """Return what is loaded."""
    read_query(request, NoQuery)
    return json_reply(PluginList(items=await services.overview.plugins(principal_of(request))))


@get(
    "/v1/capabilities",
    opt=documented(
        Spec(
            tag="overview",
            summary="Read the plan in force and what it can do",
            answers={200: Answer(description="Mode, slots, arms of recall, limits.", shape=Capabilities)},
        )
    ),
)
async def capabilities(request: AnyRequest, services: TheServices) -> Reply:
    """Return the plan in force."""
    read_query(request, NoQuery)
    return json_reply(await services.overview.capabilities(principal_of(request)))


ROUTES = (namespaces, stats, plugins, capabilities)
