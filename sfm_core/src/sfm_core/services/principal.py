"""Who asks, and what they may do. Every service call is checked here, whatever route it came by."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from sfm_core.errors import Forbidden
from sfm_core.model.namespace import ALL, Scope, covers

__all__ = ["EVERYTHING", "Principal", "Verb", "verbs_of"]


class Verb(StrEnum):
    """What a principal may do inside its namespaces."""

    READ = "read"
    WRITE = "write"
    FORGET = "forget"
    ADMIN = "admin"


def verbs_of(names: Iterable[str]) -> tuple[Verb, ...]:
    """Return the verbs that `names` name, in the order of `Verb`; a name that this release does not know allows nothing."""
    given = set(names)
    return tuple(verb for verb in Verb if verb.value in given)


class Principal(Struct, frozen=True):
    """A caller: its name, the scopes it may touch, the verbs it may use there, and until when (None: for ever)."""

    name: str
    scopes: tuple[Scope, ...]
    verbs: frozenset[Verb]
    expires_at: datetime | None = None

    def may(self, verb: Verb, scope: Scope) -> bool:
        """Tell whether this principal may use `verb` in the whole of `scope`."""
        return verb in self.verbs and covers(self.scopes, scope)

    def require_verb(self, verb: Verb) -> None:
        """Refuse unless this principal may use `verb` somewhere: asked before anything is looked up.

        Raises:
            Forbidden: naming principal and verb.
        """
        if verb not in self.verbs:
            raise Forbidden(f"principal {self.name!r} may not {verb}")

    def require(self, verb: Verb, scope: Scope) -> None:
        """Refuse unless this principal may use `verb` in the whole of `scope`.

        Raises:
            Forbidden: naming principal, verb and scope.
        """
        if not self.may(verb, scope):
            raise Forbidden(f"principal {self.name!r} may not {verb} in {str(scope)!r}")


EVERYTHING = Principal("local", (ALL,), frozenset(Verb))
"""The principal of in-process use and of the loopback-only service."""
