"""How a collection is named and built, and how it tells what it holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from secrets import token_hex
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from sfm_core.errors import ConfigError
from sfm_core.ports.vectors import Space

__all__ = ["MARK_ID", "another_space", "generation", "mark", "name_for", "not_ours", "space_in", "too_old"]

LAYOUT = 1
MARK_ID = str(uuid5(NAMESPACE_URL, "https://somafractalmemory.dev/qdrant/space"))
"""The point that tells what the collection is; it has no vector and is in no scope."""

_WORDS_ALONE = "words alone, no vectors"
_SLUG = re.compile(r"[^A-Za-z0-9_.-]+")


def mark(space: Space | None) -> dict[str, Any]:
    """Return the payload of the point that tells the space."""
    dimension, fingerprint = (0, "") if space is None else (space.dimension, space.fingerprint)
    told = {"dimension": dimension, "fingerprint": fingerprint}
    return {"state": "mark", "version": 1, "space": told, "layout": LAYOUT}


def space_in(payload: Mapping[str, Any]) -> Space | None:
    """Return the space that `mark` wrote.

    Raises:
        ConfigError: it is of a layout that this release does not know, or none of ours.
    """
    told = payload.get("space")
    if not isinstance(told, Mapping) or payload.get("layout") != LAYOUT:
        raise ConfigError(
            f"qdrant/vectors: the index has layout {payload.get('layout')!r}, allowed: {LAYOUT}; `sfm reindex` builds it anew"
        )
    return Space(told["dimension"], told["fingerprint"]) if told["dimension"] else None


def name_for(alias: str, space: Space | None) -> str:
    """Return the name of the first collection for `space`: the same for everyone who builds it."""
    if space is None:
        return f"{alias}-words"
    slug = _SLUG.sub("-", space.fingerprint)[:80]
    digest = blake2b(f"{space.dimension} {space.fingerprint}".encode(), digest_size=4).hexdigest()
    return f"{alias}-{slug}-{digest}"


def generation(alias: str, space: Space | None) -> str:
    """Return a name that nothing has yet, for an index that takes the place of another."""
    return f"{name_for(alias, space)}-{token_hex(4)}"


def told(space: Space | None) -> str:
    """Say what a space is."""
    return _WORDS_ALONE if space is None else f"{space.dimension} dimensions of {space.fingerprint!r}"


def another_space(alias: str, found: Space | None, wanted: Space | None) -> ConfigError:
    """Return the error for an index of another space; it is left as it is."""
    return ConfigError(
        f"qdrant/vectors: index {alias!r} holds {told(found)}, asked for: {told(wanted)}; `sfm reindex` builds it anew "
        "with the embedding in force"
    )


def not_ours(alias: str) -> ConfigError:
    """Return the error for something else under our name."""
    return ConfigError(
        f"qdrant/vectors: {alias!r} is there and is no index of this system; it is left as it is. SFM_QDRANT__COLLECTION "
        "names another"
    )


def too_old(version: str) -> ConfigError:
    """Return the error for a server that lacks what is needed."""
    return ConfigError(f"qdrant/vectors: the server is Qdrant {version}, allowed: 1.12 and later")
