"""The score of a candidate: pure functions over what the arms found. The weights were measured, see docs/recall.md.

near(m)  = words + 1.8 x cosine (+ a share over links, when asked)
score(m) = near(m)
         + shares of the near of its neighbours in the thread + a share of the best near in the thread
         + author + time expression + date + length - questions (+ a preference, when asked)

Both arms are counted from what a memory that they did not hand over could have at most: words from 0, or from the worst
hit when there were more than were asked for, to 1 for the best hit; cosines from the worst hit. So it makes no jump
whether a memory came in last or not at all.

Only the order inside one answer means anything; `relative` maps it to 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from msgspec import Struct

from sfm_core.model.query import Part, Prefer
from sfm_core.ports.storage import Candidate
from sfm_core.text.dates import Wanted, closeness
from sfm_core.text.moments import Intent

__all__ = ["Evidence", "Ranking", "Signals", "relative"]

_NONE: Mapping[str, float] = MappingProxyType({})

COSINE = 1.8
AUTHOR = 0.6
BEFORE = (0.4, 0.2)
"""Of the near of the turn before, and of the one before that."""
ANSWER = 0.3
"""Of the near of the turn before on top, times its share of questions: what follows a question answers it."""
AFTER = (0.25, 0.1)
THREAD = 0.3
TIME = 0.4
DATE = 1.5
QUESTIONS = -0.25
LENGTH = 0.1
PREFER = 0.2
"""Small beside one matching word: a preference decides between near ties and no more."""
RECENT_DAYS = 7.0
"""A memory that is so many days older than the newest candidate has half of its recency."""


class Evidence(Struct, frozen=True):
    """What the arms found, by memory id.

    Attributes:
        words: 0..1 for the best hit, see `of`.
        cosines: above that of the worst hit.
        links: shares over links.
    """

    words: Mapping[str, float]
    cosines: Mapping[str, float]
    links: Mapping[str, float]

    @classmethod
    def of(
        cls,
        words: Mapping[str, float],
        cosines: Mapping[str, float] = _NONE,
        links: Mapping[str, float] = _NONE,
        *,
        more_words: bool = False,
    ) -> Evidence:
        """Return the evidence in raw scores of words, cosines, and shares over links.

        Args:
            words, cosines, links: by memory id.
            more_words: whether there may be memories with some of the words beside those in `words`.
        """
        best = max(words.values(), default=0.0)
        worst = min(words.values(), default=0.0) if more_words else 0.0
        if best <= worst:
            worst = 0.0
        floor = min(cosines.values(), default=0.0)
        return cls(
            {id: (score - worst) / (best - worst) for id, score in words.items()} if best > 0 else _NONE,
            {id: cosine - floor for id, cosine in cosines.items()},
            links,
        )

    def near(self) -> dict[str, float]:
        """Return how near each found memory is to the question, by words, meaning and links."""
        near = dict(self.words)
        for id, cosine in self.cosines.items():
            near[id] = near.get(id, 0.0) + COSINE * cosine
        for id, share in self.links.items():
            near[id] = near.get(id, 0.0) + share
        return near


class Signals(Struct, frozen=True):
    """What the question says besides its words, and what the caller prefers."""

    authors: frozenset[str] = frozenset()
    intent: Intent = ""
    dates: Sequence[Wanted] = ()
    prefer: Prefer | None = None


class Ranking:
    """The scores of `candidates`, worked out once.

    Args:
        candidates: everything that may be answered; what the evidence names besides is left out.
        evidence, signals: what is known of them and of the question.
    """

    def __init__(self, candidates: Mapping[str, Candidate], evidence: Evidence, signals: Signals) -> None:
        self.candidates = candidates
        self._evidence = evidence
        self._near = {id: value for id, value in evidence.near().items() if id in candidates}
        self._best = _best_of_threads(candidates, self._near)
        self._boost = _Boost(signals, candidates)

    def order(self) -> list[tuple[str, float]]:
        """Return (id, score) of all candidates, best first; of equal ones the newest, then by id."""
        near, best = self._near.get, self._best
        share = _shares(self.candidates, self._near).get
        boost = self._boost.of if self._boost.any else None
        totals = []
        for id, c in self.candidates.items():
            total = near(id, 0.0) + share(id, 0.0) + LENGTH * _log_length(c.length) + QUESTIONS * c.asks
            if c.thread is not None:
                total += THREAD * best.get((c.namespace, c.thread), 0.0)
            if boost is not None:
                total += boost(c)
            totals.append((-total, -c.created_at.timestamp(), id))
        totals.sort()
        return [(id, -total) for total, _, id in totals]

    def parts(self, id: str) -> tuple[Part, ...]:
        """Return the parts of the score of candidate `id`, those that added nothing left out; they sum up to its score."""
        c = self.candidates[id]
        thread = self._best.get((c.namespace, c.thread), 0.0) if c.thread is not None else 0.0
        values = [
            ("words", self._evidence.words.get(id, 0.0), 1.0),
            ("cosine", self._evidence.cosines.get(id, 0.0), COSINE),
            ("links", self._evidence.links.get(id, 0.0), 1.0),
            *self._turns(id),
            ("thread", thread, THREAD),
            ("length", _log_length(c.length), LENGTH),
            ("questions", c.asks, QUESTIONS),
            *self._boost.parts(c),
        ]
        return tuple(Part(name, value, weight, value * weight) for name, value, weight in values if value)

    def _turns(self, id: str) -> Iterable[tuple[str, float, float]]:
        for other, value in self._near.items():
            c = self.candidates[other]
            if id in c.before:
                place = c.before.index(id)
                yield f"turn_after_{place + 1}", value, AFTER[place]
            if id in c.after:
                place = c.after.index(id)
                yield f"turn_before_{place + 1}", value, _before(c)[place]


def relative(total: float, best: float) -> float:
    """Return a score in 0..1: the share of the best score of the answer, 0 when it is not above 0."""
    return min(1.0, max(0.0, total / best)) if best > 0 else 0.0


def _shares(candidates: Mapping[str, Candidate], near: Mapping[str, float]) -> dict[str, float]:
    """Return what each memory gets from its neighbours: those before a hit are told that the hit comes after them."""
    shares: dict[str, float] = {}
    share = shares.get
    after_1, after_2 = AFTER
    for id, value in near.items():
        c = candidates[id]
        if before := c.before:
            shares[before[0]] = share(before[0], 0.0) + after_1 * value
            if len(before) > 1:
                shares[before[1]] = share(before[1], 0.0) + after_2 * value
        if after := c.after:
            before_1, before_2 = _before(c)
            shares[after[0]] = share(after[0], 0.0) + before_1 * value
            if len(after) > 1:
                shares[after[1]] = share(after[1], 0.0) + before_2 * value
    return shares


def _before(c: Candidate) -> tuple[float, float]:
    """Return what the next two turns get of the near of `c`."""
    return BEFORE[0] + ANSWER * c.asks, BEFORE[1]


def _best_of_threads(candidates: Mapping[str, Candidate], near: Mapping[str, float]) -> dict[tuple[str, str], float]:
    best: dict[tuple[str, str], float] = {}
    for id, value in near.items():
        c = candidates[id]
        if c.thread is not None:
            key = (c.namespace, c.thread)
            if value > best.get(key, 0.0):
                best[key] = value
    return best


class _Boost:
    """The parts that depend on what the question says besides its words."""

    def __init__(self, signals: Signals, candidates: Mapping[str, Candidate]) -> None:
        self._authors, self._intent, self._dates = signals.authors, signals.intent, signals.dates
        self._prefer = signals.prefer
        self._days: dict[datetime, float] = {}
        self._newest: datetime | None = None
        if signals.prefer == "recent":
            self._newest = max((c.occurred_at for c in candidates.values()), default=None)
        self.any = bool(signals.authors or signals.intent or signals.dates or signals.prefer)

    def of(self, c: Candidate) -> float:
        total = AUTHOR if c.author in self._authors else 0.0
        if self._intent:
            total += TIME * self._timely(c)
        if self._dates:
            total += DATE * self._closeness(c.occurred_at)
        if self._prefer is not None:
            total += PREFER * self._preferred(c)
        return total

    def parts(self, c: Candidate) -> list[tuple[str, float, float]]:
        parts = [("author", 1.0 if c.author in self._authors else 0.0, AUTHOR)]
        if self._intent:
            parts.append(("time" if self._intent == "when" else "duration", self._timely(c), TIME))
        if self._dates:
            parts.append(("date", self._closeness(c.occurred_at), DATE))
        if self._prefer is not None:
            parts.append((self._prefer, self._preferred(c), PREFER))
        return parts

    def _timely(self, c: Candidate) -> float:
        if self._intent == "when":
            return float(c.time)
        return 1.0 if c.duration else 0.5 * c.time

    def _preferred(self, c: Candidate) -> float:
        if self._newest is None:
            return c.importance
        age = (self._newest - c.occurred_at).total_seconds() / 86_400
        return 1.0 / (1.0 + age / RECENT_DAYS)

    def _closeness(self, when: datetime) -> float:
        value = self._days.get(when)
        if value is None:
            value = self._days[when] = closeness(when, self._dates)
        return value


@lru_cache(maxsize=4096)
def _log_length(length: int) -> float:
    return math.log1p(length)
