"""Namespaces are paths of segments; scope tests are by whole segments, never by text prefix."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from sfm_core.errors import InvalidInput

__all__ = ["ALL", "MAX_NAMESPACE", "Scope", "check_namespace", "covers", "parse_scope"]

MAX_NAMESPACE = 256
_ALLOWED = (
    'a path of 1 to 256 characters, segments joined by "/", without empty, ".", ".." or "*" segments, control characters '
    "or blanks at a segment's edge"
)


def check_namespace(value: object, field: str = "namespace") -> str:
    """Return `value` when it is a well-formed namespace.

    Raises:
        InvalidInput: naming `field`.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAMESPACE or not _is_well_formed(value):
        raise InvalidInput.of(field, value, _ALLOWED)
    return value


@lru_cache(maxsize=4096)
def _is_well_formed(value: str) -> bool:
    for segment in value.split("/"):
        if segment in ("", ".", "..") or "*" in segment or segment != segment.strip():
            return False
    return not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in value)


class Scope(Struct, frozen=True):
    """One namespace, a subtree of it, or everything (`namespace == ""` with `subtree`)."""

    namespace: str
    subtree: bool = False

    def covers(self, namespace: str) -> bool:
        """Tell whether `namespace` lies in this scope, by whole segments."""
        if namespace == self.namespace:
            return True
        return self.subtree and (not self.namespace or namespace.startswith(self.namespace + "/"))

    def within(self, outer: Scope) -> bool:
        """Tell whether every namespace of this scope lies in `outer`."""
        if self.subtree and not outer.subtree:
            return False
        return outer.covers(self.namespace) if self.namespace else (outer.subtree and not outer.namespace)

    def __str__(self) -> str:
        if not self.subtree:
            return self.namespace
        return f"{self.namespace}/**" if self.namespace else "**"


ALL = Scope("", subtree=True)


def parse_scope(value: object, field: str = "namespace", *, subtree: bool = True) -> Scope:
    """Read `a/b`, `a/**` (a itself and all below) or `**` (everything); the last two only where `subtree` is allowed.

    Raises:
        InvalidInput: naming `field`.
    """
    if subtree and value == "**":
        return ALL
    if subtree and isinstance(value, str) and value.endswith("/**"):
        return Scope(check_namespace(value[:-3], field), subtree=True)
    return Scope(check_namespace(value, field))


def covers(scopes: Iterable[Scope], scope: Scope) -> bool:
    """Tell whether one of `scopes` holds the whole of `scope`."""
    return any(scope.within(outer) for outer in scopes)
