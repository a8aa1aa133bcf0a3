"""Recall of a past moment: exact, by reading the versions of that moment and ranking them here.

No index keeps old versions, so this reads every memory of the scope that passes the filter: some 30 microseconds each. Near
words and vectors are of the present and take no part.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct, structs

from sfm_core.model.memory import Memory
from sfm_core.ports.storage import Candidate, Order, Storage
from sfm_core.ports.writes import Analysis
from sfm_core.services.asked import Asked
from sfm_core.text.names import author_key

__all__ = ["Past", "read_past"]

K1, B = 0.9, 0.25
_PAGE = 500
_REACH = 2


class Past(Struct, frozen=True):
    """The memories of a moment: what ranking needs of each (newest first), and their index terms."""

    candidates: dict[str, Candidate]
    stems: dict[str, tuple[str, ...]]

    def authors(self, keys: Sequence[str]) -> dict[str, list[str]]:
        """Return, for each of `keys` that stands for authors of that moment, the authors."""
        known: dict[str, list[str]] = {}
        for author in {c.author for c in self.candidates.values() if c.author is not None}:
            known.setdefault(author_key(author), []).append(author)
        return {key: sorted(known[key]) for key in keys if key in known}

    def around(self, ids: Iterable[str]) -> dict[str, Candidate]:
        """Return the candidates with `ids` and their neighbours."""
        found: dict[str, Candidate] = {}
        for id in ids:
            c = self.candidates[id]
            found.update((other, self.candidates[other]) for other in (id, *c.before, *c.after))
        return found

    def score(self, stems: Sequence[str]) -> dict[str, float]:
        """Return the BM25 score (k1 = 0.9, b = 0.25) of every memory that holds one of `stems`.

        Formula of Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009), with the idf that is never
        negative; the same as in `sfm_core.ports.storage.FullText.search`.
        """
        wanted = set(stems)
        counts = {id: Counter(stem for stem in terms if stem in wanted) for id, terms in self.stems.items()}
        holding = Counter(stem for count in counts.values() for stem in count)
        total = len(self.stems)
        idf = {stem: math.log(1 + (total - df + 0.5) / (df + 0.5)) for stem, df in holding.items()}
        mean = sum(map(len, self.stems.values())) / total if total else 0.0
        scores = {}
        for id, count in counts.items():
            if count:
                norm = K1 * (1 - B + B * len(self.stems[id]) / mean)
                scores[id] = sum(idf[stem] * tf * (K1 + 1) / (tf + norm) for stem, tf in count.items())
        return scores


async def read_past(
    storage: Storage, asked: Asked, analyse: Callable[[Memory], Analysis], *, seconds: float | None
) -> tuple[Past, bool]:
    """Return the memories of `asked` as they were at `asked.as_of`, and whether that was all before the time was up."""
    past = Past({}, {})
    try:
        async with asyncio.timeout(seconds):
            after: str | None = None
            while True:
                page = await storage.list(
                    asked.scope, filter=asked.filter, order=Order.CREATED_AT_DESC, limit=_PAGE, after=after, now=asked.now,
                    as_of=asked.as_of,
                )  # fmt: skip
                for memory in page.memories:
                    _add(past, memory, analyse(memory))
                if page.next is None:
                    break
                after = page.next
                await asyncio.sleep(0)
            complete = True
    except TimeoutError:
        complete = False
    return Past(_threaded(past.candidates), past.stems), complete


def _add(past: Past, memory: Memory, analysis: Analysis) -> None:
    past.stems[memory.id] = analysis.stems
    past.candidates[memory.id] = Candidate.of(memory, analysis)


def _threaded(candidates: dict[str, Candidate]) -> dict[str, Candidate]:
    """Return the candidates with the ids of their neighbours in the thread."""
    lines: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for c in candidates.values():
        if c.thread is not None and c.position is not None:
            lines.setdefault((c.namespace, c.thread), []).append((c.position, c.id))
    around: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for line in lines.values():
        ids = [id for _, id in sorted(line)]
        for i, id in enumerate(ids):
            around[id] = tuple(reversed(ids[max(0, i - _REACH) : i])), tuple(ids[i + 1 : i + 1 + _REACH])
    return {
        id: structs.replace(c, before=around[id][0], after=around[id][1]) if id in around else c
        for id, c in candidates.items()
    }
