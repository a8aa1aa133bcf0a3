"""Noticing that a client has gone."""

from __future__ import annotations

from litestar.types import Receive

__all__ = ["disconnected"]


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
