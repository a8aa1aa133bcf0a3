"""For the machines around the service: liveness, readiness, metrics."""

from __future__ import annotations

from litestar import get
from msgspec import Struct

from sfm_app.http.bodies import AnyRequest
from sfm_app.http.queries import NoQuery, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.services import TheServices
from sfm_app.http.spec import Answer, Spec, documented
from sfm_core.services.health import Readiness

__all__ = ["ROUTES"]

_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class Alive(Struct, frozen=True):
    """The process lives."""

    status: str = "ok"


@get(
    "/healthz",
    opt=documented(
        Spec(
            tag="service",
            summary="Is the process alive?",
            description="No dependency is asked.",
            answers={200: Answer(description="It is.", shape=Alive)},
        )
    ),
)
async def alive(request: AnyRequest) -> Reply:
    """Tell that the process lives."""
    read_query(request, NoQuery)
    return json_reply(Alive())


@get(
    "/readyz",
    opt=documented(
        Spec(
            tag="service",
            summary="Do all required backends answer?",
            answers={
                200: Answer(description="They do.", shape=Readiness),
                503: Answer(description="One does not.", shape=Readiness, headers=("Retry-After",)),
            },
        )
    ),
)
async def ready(request: AnyRequest, services: TheServices) -> Reply:
    """Ask every backend."""
    read_query(request, NoQuery)
    state = await services.health.ready()
    if state.status == "ready":
        return json_reply(state)
    return json_reply(state, 503, [(b"retry-after", b"1")])


@get(
    "/metrics",
    opt=documented(
        Spec(
            tag="service",
            summary="Metrics for Prometheus",
            answers={200: Answer(description="Counters of all workers together.", media=(_METRICS,))},
        )
    ),
)
async def metrics(request: AnyRequest) -> Reply:
    """Return the counters in Prometheus' text form."""
    read_query(request, NoQuery)
    text: str = request.app.state.metrics.exposition()
    return Reply(200, text.encode(), _METRICS.encode())


ROUTES = (alive, ready, metrics)
