"""What must be true: every request that was sent and every acknowledgement, and which answers they allow at a moment."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from uuid import uuid4

__all__ = ["GONE", "Oracle", "Record", "Write"]

State = tuple[int, str] | None
GONE: State = None
"""Not stored yet, deleted or erased: nobody may see it. Otherwise version and content."""


@dataclass
class Write:
    """One acknowledged write."""

    type: str
    version: int
    sequence: int
    content: str | None


@dataclass
class Span:
    """From when to when readers may have seen a state: from before the request until after the acknowledgement of the next."""

    state: State
    since: float
    until: float = math.inf


@dataclass
class Record:
    """One memory, written by one task only."""

    namespace: str
    since: float
    id: str = field(default_factory=lambda: str(uuid4()))
    writes: list[Write] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    contents: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.spans.append(Span(GONE, self.since))

    @property
    def state(self) -> State:
        """The last acknowledged state."""
        last = self.writes[-1] if self.writes else None
        return GONE if last is None or last.content is None else (last.version, last.content)

    @property
    def version(self) -> int:
        """The last acknowledged version; 0 before the first write."""
        return self.writes[-1].version if self.writes else 0

    @property
    def erased(self) -> bool:
        """Whether its erasure was acknowledged."""
        return bool(self.writes) and self.writes[-1].type == "erased"

    @property
    def live(self) -> bool:
        """Whether it is acknowledged and visible."""
        return self.state is not GONE

    def begin(self, state: State, now: float) -> None:
        """Note that a write of `state` is about to be sent."""
        self.spans.append(Span(state, now))
        if state is not None:
            self.contents.add(state[1])

    def acknowledged(self, write: Write, now: float) -> None:
        """Note that the write that `begin` told of is acknowledged."""
        for span in self.spans[:-1]:
            span.until = min(span.until, now)
        self.writes.append(write)

    def allowed(self, since: float, until: float) -> list[State]:
        """Return the states that a reader may have seen in an interval."""
        return [span.state for span in self.spans if span.since <= until and span.until >= since]

    def steady(self, since: float, until: float) -> bool:
        """Tell whether it was in its present state, acknowledged, during the whole interval."""
        allowed = self.allowed(since, until)
        return len(allowed) == 1 and allowed[0] == self.state


class Oracle:
    """All records of one run, and what contradicted them.

    Attributes:
        records: by id.
        violations: what must not be, in words.
        acknowledged, reads, repeats: how many writes were acknowledged, answers checked, writes sent again.
        unanswered: how often a request had no answer but 503 or an error of the connection, by what it was.
    """

    def __init__(self, name: str, namespaces: int = 6) -> None:
        run = uuid4().hex[:6]
        self.namespaces = [f"fault/{name}-{run}/n{n}" for n in range(namespaces)]
        self.records: dict[str, Record] = {}
        self.violations: list[str] = []
        self.acknowledged = 0
        self.reads = 0
        self.repeats = 0
        self.unanswered: Counter[str] = Counter()

    def violated(self, text: str) -> None:
        """Note a contradiction."""
        if len(self.violations) < 50:
            self.violations.append(text)

    def add(self, namespace: str, now: float) -> Record:
        """Make a record that is about to be written for the first time."""
        record = Record(namespace, now)
        self.records[record.id] = record
        return record

    @property
    def last_sequence(self) -> int:
        """The highest acknowledged sequence."""
        return max((record.writes[-1].sequence for record in self.records.values() if record.writes), default=0)

    def written(self) -> Iterator[Record]:
        """Yield the records with at least one acknowledged write."""
        return (record for record in self.records.values() if record.writes)

    def see(self, memory: dict[str, object], since: float, until: float, how: str) -> None:
        """Check a memory that some answer holds against what a reader may have seen in an interval."""
        record = self.records.get(str(memory["id"]))
        if record is None:
            self.violated(f"{how}: unknown memory {memory['id']}")
            return
        seen = (memory["version"], memory["content"])
        allowed = record.allowed(since, until)
        if seen not in allowed:
            what = "deleted memory recalled" if allowed == [GONE] else "wrong or stale"
            self.violated(f"{how}: {what}: {record.id} {seen}, allowed {allowed}, writes {record.writes}")

    def see_none(self, record: Record, since: float, until: float, how: str) -> None:
        """Check an answer that does not hold a record where it must, if it is there."""
        allowed = record.allowed(since, until)
        if GONE not in allowed:
            self.violated(
                f"{how}: acknowledged memory not there: {record.id}, allowed {allowed}, writes {record.writes}"
            )

    def see_list(self, namespace: str, items: Iterable[dict[str, object]], since: float, until: float) -> None:
        """Check a complete list of a namespace."""
        found = list(items)
        for memory in found:
            self.see(memory, since, until, "list")
        ids = {memory["id"] for memory in found}
        for record in list(self.records.values()):
            if record.namespace == namespace and record.id not in ids:
                self.see_none(record, since, until, "list")
