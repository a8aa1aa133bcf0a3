"""`python -m benchmarks.locomo`: recall of evidence on LoCoMo, against a running service or in process."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from benchmarks.locomo.data import CATEGORIES, Conversation, load
from benchmarks.locomo.targets import Rest, Target, in_process

DEPTHS = (5, 10, 20, 50)
HEADLINE = frozenset({1, 2, 3, 4})


class Row(Struct, frozen=True):
    """What became of one question: its category, the share of its evidence at each depth, and the milliseconds."""

    category: int
    recall: tuple[float, ...]
    ms: float


def recall_at(evidence: frozenset[str], turns: Sequence[str], depth: int) -> float:
    """Return the share of the evidence among the first `depth` turns."""
    return len(evidence.intersection(turns[:depth])) / len(evidence)


async def evaluate(target: Target, conversations: Iterable[Conversation], run: str) -> list[Row]:
    """Store each conversation in a namespace of its own and ask its questions there."""
    rows: list[Row] = []
    for conversation in conversations:
        namespace = f"locomo-{run}/{conversation.id}"
        await target.store([turn.memory(namespace) for turn in conversation.turns])
        for question in conversation.questions:
            started = time.perf_counter()
            turns = await target.ask(question.text, namespace, DEPTHS[-1])
            ms = (time.perf_counter() - started) * 1e3
            assert len(set(turns)) == len(turns) == min(DEPTHS[-1], len(conversation.turns))
            rows.append(Row(question.category, tuple(recall_at(question.evidence, turns, d) for d in DEPTHS), ms))
    return rows


def line(name: str, rows: Sequence[Row]) -> str:
    """Return the means of `rows` as a line of the table."""
    means = [100 * statistics.fmean(row.recall[i] for row in rows) for i in range(len(DEPTHS))]
    return f"{name:24s}" + "".join(f"{mean:8.1f}" for mean in means) + f"{len(rows):8d}"


@asynccontextmanager
async def opened(options: argparse.Namespace) -> AsyncIterator[Target]:
    """Open what the options name."""
    if options.url:
        yield Rest(options.url, os.environ.get("SFM_API_KEY"))
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = dict(pair.split("=", 1) for pair in options.set)
        async with in_process({"MEMORY_MODE": "development", "SFM_DATA_DIR": folder, **settings}) as target:
            yield target


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="locomo10.json, or a file like it")
    parser.add_argument("--url", help="a running service; without it a memory is opened in this process")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of that memory")
    parser.add_argument("--by-category", action="store_true", help="print every category as well")
    options = parser.parse_args()
    async with opened(options) as target:
        rows = await evaluate(target, load(options.data), secrets.token_hex(4))
    print(f"{'':24s}" + "".join(f"{f'R@{depth}':>8s}" for depth in DEPTHS) + f"{'n':>8s}")
    print(line("categories 1 to 4", [row for row in rows if row.category in HEADLINE]))
    for category, name in CATEGORIES.items() if options.by_category else ():
        if chosen := [row for row in rows if row.category == category]:
            print(line(f"  {category} {name}", chosen))
    print(f"median of a question: {statistics.median(row.ms for row in rows):.2f} ms")


if __name__ == "__main__":
    asyncio.run(main())
