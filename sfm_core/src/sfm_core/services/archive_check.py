"""What an archive must hold before anything of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from sfm_core.errors import InvalidInput
from sfm_core.model.link import Link
from sfm_core.model.memory import Memory
from sfm_core.model.namespace import Scope
from sfm_core.services.archive import LinkLine, MemoryLine, bad_line
from sfm_core.services.checks import check_json_object, check_number, check_text
from sfm_core.services.ids import check_id
from sfm_core.services.limits import Limits
from sfm_core.services.principal import Principal, Verb

__all__ = ["ArchiveCheck", "occupies", "short"]


class ArchiveCheck:
    """Checks the lines of one archive, one after the other, and what they say of each other.

    Args:
        principal: who imports; must be allowed to write all of it.
        approved: gives the form in which a version would be stored, or refuses it.
        limits: as everywhere.
        now: the instant that expiry is judged by.
    """

    def __init__(
        self, principal: Principal, approved: Callable[[Memory], Memory], limits: Limits, now: datetime
    ) -> None:
        self._principal = principal
        self._approved = approved
        self._limits = limits
        self._now = now
        self._namespaces: dict[bytes, str] = {}
        self._places: set[tuple[str, tuple[float, ...]]] = set()
        self.memories = 0
        self.links = 0

    def line(self, number: int, line: MemoryLine | LinkLine) -> None:
        """Check the next line.

        Raises:
            InvalidInput: naming the line.
            Forbidden: the principal may not write in its namespace.
        """
        try:
            if isinstance(line, MemoryLine):
                self._memory(number, line)
            else:
                self._link(number, line.link)
        except InvalidInput as error:
            located = [
                p if p.field.startswith("line ") else replace(p, field=f"line {number}: {p.field}")
                for p in error.problems
            ]
            raise type(error)(located) from None

    def _memory(self, number: int, line: MemoryLine) -> None:
        versions = [m.version for m in line.versions]
        ids = {(m.id, m.namespace) for m in line.versions}
        if not versions or sorted(set(versions)) != versions or len(ids) != 1:
            raise bad_line(number, f"versions {versions[:5]}", "rising versions of one memory of one namespace")
        if not set(line.tombstones) <= set(versions[:-1]):
            raise bad_line(number, f"tombstones {line.tombstones[:5]}", "numbers of earlier versions")
        self._principal.require(Verb.WRITE, Scope(line.newest.namespace))
        newest = [self._approved(memory) for memory in line.versions][-1]
        if short(newest.id) in self._namespaces:
            raise bad_line(number, f"memory {newest.id} again", "each memory once")
        self._namespaces[short(newest.id)] = newest.namespace
        if occupies(line, self._now) and newest.coordinate is not None:
            place = (newest.namespace, newest.coordinate)
            if place in self._places:
                raise bad_line(number, "a coordinate that another live memory has", "each coordinate once")
            self._places.add(place)
        self.memories += 1

    def _link(self, number: int, link: Link) -> None:
        ends = [check_id(link.source, "source"), check_id(link.target, "target")]
        if ends != [link.source, link.target] or ends[0] == ends[1]:
            raise bad_line(number, "ends that are equal or not canonical", "two ids", "link")
        if any(self._namespaces.get(short(end)) != link.namespace for end in ends):
            raise bad_line(number, "an end that is not in the archive", "two memories of the link's namespace", "link")
        limits = self._limits
        check_text(link.relation, "relation", longest=limits.text_length)
        check_number(link.weight, "weight", above=0)
        check_json_object(link.metadata, "metadata", most_bytes=limits.payload_bytes, depth=limits.payload_depth)
        for field in ("created_at", "updated_at"):
            if getattr(link, field).utcoffset() is None:
                raise bad_line(number, "a time without zone", "a time in UTC", field)
        self.links += 1


def short(id: str) -> bytes:
    """Return an id in 16 bytes: all ids of an archive are held at once."""
    return UUID(id).bytes


def occupies(line: MemoryLine, now: datetime) -> bool:
    """Tell whether the memory would hold its coordinate: it is no tombstone and not expired."""
    expires = line.newest.expires_at
    return not line.deleted and (expires is None or expires > now)
