"""The API's own description: the OpenAPI document, and a page that shows it without any network."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from litestar import get

from sfm_app.http.bodies import AnyRequest
from sfm_app.http.openapi import document
from sfm_app.http.queries import NoQuery, read_query
from sfm_app.http.replies import Reply, json_reply
from sfm_app.http.spec import Answer, Spec, documented

__all__ = ["ROUTES"]

_HTML = "text/html; charset=utf-8"


@get(
    "/schema/openapi.json",
    opt=documented(
        Spec(tag="service", summary="The OpenAPI 3.1 document", answers={200: Answer(description="It.", shape=dict)})
    ),
)
async def openapi(request: AnyRequest) -> Reply:
    """Return the generated document."""
    read_query(request, NoQuery)
    return _openapi()


@cache
def _openapi() -> Reply:
    from sfm_app.http.routes import HANDLERS

    return json_reply(document(HANDLERS))


@get(
    "/schema",
    opt=documented(
        Spec(tag="service", summary="API browser", answers={200: Answer(description="A page.", media=(_HTML,))})
    ),
)
async def browser(request: AnyRequest) -> Reply:
    """Return the page; it loads nothing but the document of this service."""
    read_query(request, NoQuery)
    return _browser()


@cache
def _browser() -> Reply:
    page = files("sfm_app.http").joinpath("browser.html").read_text(encoding="utf-8")
    policy = (
        "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        f"script-src {_source(page, 'script')}; style-src {_source(page, 'style')}"
    )
    return Reply(200, page.encode(), _HTML.encode(), [(b"content-security-policy", policy.encode())])


def _source(page: str, tag: str) -> str:
    """Return what a content security policy names the page's one inline `tag` by."""
    inner = page.split(f"<{tag}>", 1)[1].split(f"</{tag}>", 1)[0]
    return f"'sha256-{b64encode(sha256(inner.encode()).digest()).decode()}'"


ROUTES = (openapi, browser)
