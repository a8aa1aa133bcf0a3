"""The routes, split by resource."""

from __future__ import annotations

from sfm_app.http.routes import (
    changes,
    forgetting,
    keys,
    links,
    lists,
    memories,
    overview,
    probes,
    recall,
    schema,
    transfer,
    versions,
)

__all__ = ["HANDLERS"]

HANDLERS = (
    *memories.ROUTES,
    *lists.ROUTES,
    *versions.ROUTES,
    *recall.ROUTES,
    *links.ROUTES,
    *forgetting.ROUTES,
    *changes.ROUTES,
    *transfer.ROUTES,
    *overview.ROUTES,
    *keys.ROUTES,
    *probes.ROUTES,
    *schema.ROUTES,
)
"""All of them; the OpenAPI document is made of the same table."""
