"""What the in-memory storage holds: plain tables with an undo log, so that a refused batch can be taken back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from msgspec import Struct

from sfm_core.model.event import Change, ChangeType
from sfm_core.model.link import Link
from sfm_core.model.memory import Memory
from sfm_core.ports.storage import Stored
from sfm_core.ports.writes import Analysis, Operation

__all__ = ["Answered", "LinkKey", "Record", "State", "is_live", "link_key"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
LinkKey = tuple[str, str, str]
Word = tuple[str, str]


class Record(Struct, frozen=True):
    """A memory with all its versions, oldest first, and what was read off the newest one.

    `words` holds the words of every version; `operation` is the one that made it a tombstone.
    """

    versions: tuple[Stored, ...]
    analysis: Analysis
    digest: bytes
    terms: Mapping[str, int]
    words: frozenset[Word]
    operation: str | None = None

    @property
    def newest(self) -> Stored:
        """The newest version."""
        return self.versions[-1]

    @property
    def memory(self) -> Memory:
        """The newest version's memory."""
        return self.versions[-1].memory

    def at(self, instant: datetime) -> Stored | None:
        """Return the version that was the newest one at `instant`, None before the first."""
        past = [version for version in self.versions if version.memory.updated_at <= instant]
        return past[-1] if past else None


class Answered(Struct, frozen=True):
    """The kept answer of an idempotency key."""

    request: bytes
    answer: bytes
    expires_at: datetime


def is_live(stored: Stored | None, now: datetime) -> bool:
    """Tell whether this version is neither a tombstone nor expired at `now`."""
    if stored is None or stored.deleted:
        return False
    return stored.memory.expires_at is None or stored.memory.expires_at > now


def link_key(link: Link) -> LinkKey:
    """Return what a link is unique by."""
    return (link.source, link.target, link.relation)


class State:
    """The tables. Every change of them goes through a method that notes how to take it back."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.erased: dict[str, int] = {}
        self.links: dict[LinkKey, tuple[Link, int]] = {}
        self.changes: list[Change] = []
        self.operations: dict[str, Operation] = {}
        self.members: dict[str, dict[str, int]] = defaultdict(dict)
        self.moved: dict[str, int] = {}
        self.answers: dict[tuple[str, str], Answered] = {}
        self.coordinates: dict[tuple[str, tuple[float, ...]], str] = {}
        self.in_namespace: dict[str, set[str]] = defaultdict(set)
        self.in_thread: dict[tuple[str, str], set[str]] = defaultdict(set)
        self.by_digest: dict[tuple[str, bytes], set[str]] = defaultdict(set)
        self.touching: dict[str, set[LinkKey]] = defaultdict(set)
        self.holders: dict[str, Counter[Word]] = defaultdict(Counter)
        self.words_token = 0
        self._undo: list[Callable[[], object]] = []

    def mark(self) -> int:
        """Return the present place in the undo log."""
        return len(self._undo)

    def roll_back(self, mark: int = 0) -> None:
        """Take back everything since `mark`."""
        while len(self._undo) > mark:
            self._undo.pop()()

    def commit(self) -> None:
        """Forget how to take back what was done."""
        self._undo.clear()

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set `table[key]`."""
        if key in table:
            before = table[key]
            self._undo.append(lambda: table.__setitem__(key, before))
        else:
            self._undo.append(lambda: table.pop(key, None))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> None:
        """Remove `table[key]`."""
        before = table.pop(key)
        self._undo.append(lambda: table.__setitem__(key, before))

    def join(self, members: set[Any], member: Any) -> None:
        """Put `member` into a set."""
        if member not in members:
            members.add(member)
            self._undo.append(lambda: members.discard(member))

    def leave(self, members: set[Any], member: Any) -> None:
        """Take `member` out of a set."""
        if member in members:
            members.remove(member)
            self._undo.append(lambda: members.add(member))

    def log(
        self,
        type: ChangeType,
        memory: Memory,
        *,
        time: datetime,
        version: int | None = None,
        target: str | None = None,
    ) -> int:
        """Append a change row and return its sequence."""
        sequence = len(self.changes) + 1
        self.changes.append(
            Change(
                sequence=sequence,
                type=type,
                memory_id=memory.id,
                version=memory.version if version is None else version,
                namespace=memory.namespace,
                time=time,
                target=target,
            )
        )
        self._undo.append(self.changes.pop)
        return sequence

    def touch(self, operation: str, id: str, version: int, sequence: int) -> None:
        """Note that `operation` gave memory `id` this version."""
        self.put(self.members[operation], id, version)
        self.put(self.moved, operation, sequence)

    def place(self, record: Record) -> None:
        """Store `record` in the place of the one with its id, and keep the indexes."""
        memory = record.memory
        before = self.records.get(memory.id)
        if before is not None:
            self._unindex(before)
        self.put(self.records, memory.id, record)
        self.join(self.in_namespace[memory.namespace], memory.id)
        self._count_words(memory.namespace, record.words - (before.words if before else frozenset()), 1)
        if record.newest.deleted:
            return
        self.join(self.by_digest[memory.namespace, record.digest], memory.id)
        if memory.thread is not None:
            self.join(self.in_thread[memory.namespace, memory.thread], memory.id)
        if memory.coordinate is not None:
            self.put(self.coordinates, (memory.namespace, memory.coordinate), memory.id)

    def wipe(self, record: Record) -> None:
        """Remove every trace of `record`, its links and the words that nobody else holds."""
        memory = record.memory
        self._unindex(record)
        self.drop(self.records, memory.id)
        self.leave(self.in_namespace[memory.namespace], memory.id)
        self._count_words(memory.namespace, record.words, -1)
        for key in list(self.touching[memory.id]):
            self.unlink(key)

    def unlink(self, key: LinkKey) -> None:
        """Remove a link."""
        self.drop(self.links, key)
        for end in key[:2]:
            self.leave(self.touching[end], key)

    def tie(self, link: Link, sequence: int) -> None:
        """Store a link."""
        key = link_key(link)
        self.put(self.links, key, (link, sequence))
        for end in key[:2]:
            self.join(self.touching[end], key)

    def _unindex(self, record: Record) -> None:
        memory = record.memory
        self.leave(self.by_digest[memory.namespace, record.digest], memory.id)
        if memory.thread is not None:
            self.leave(self.in_thread[memory.namespace, memory.thread], memory.id)
        if memory.coordinate is not None:
            key = (memory.namespace, memory.coordinate)
            if self.coordinates.get(key) == memory.id:
                self.drop(self.coordinates, key)

    def _count_words(self, namespace: str, words: frozenset[Word], by: int) -> None:
        counts = self.holders[namespace]
        for word in words:
            self.put(counts, word, counts[word] + by)
            if counts[word] == 0:
                self.drop(counts, word)
        if words:
            self.words_token += 1
