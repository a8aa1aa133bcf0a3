"""Counters in Prometheus' text form (exposition format 0.0.4), of all workers together."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from sfm_app.observability.board import Board

__all__ = ["BOUNDS", "GAUGES", "Labels", "Metrics", "Source"]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_HELP = {
    "sfm_background_failures_total": "Failed runs of a background task.",
    "sfm_cache_failures_total": "Calls of the cache that failed or were not answered in time.",
    "sfm_cache_hits_total": "What was found in the cache, by kind: copies of memories, vectors of questions.",
    "sfm_cache_misses_total": "What was looked for in the cache and not found, by kind.",
    "sfm_cache_skipped_total": "Calls that were not made because the cache had failed shortly before.",
    "sfm_consumer_batches_total": "Batches of events that the consumer finished.",
    "sfm_consumer_dead_letters_total": "Events that the consumer gave up and rejected to the dead letters.",
    "sfm_consumer_events_total": "Events that the consumer finished, rejected ones included.",
    "sfm_consumer_failures_total": "Failed attempts of the consumer to project a batch; waiting for a backend does not count.",
    "sfm_rate_limit_local_total": "Requests that a worker counted for itself because the cache was not at hand.",
    "sfm_rate_limited_total": "Requests refused by the rate limit.",
    "sfm_relay_failures_total": "Pages of the change log that could not be relayed and were tried again.",
    "sfm_relayed_events_total": "Change events handed to the event bus.",
    "sfm_swept_memories_total": "Expired memories made tombstones.",
}
GAUGES = {
    "sfm_consumer_lag": "Events of a lane of the bus that the consumer's group has not committed.",
    "sfm_consumer_paused": "1 while the consumer waits for a backend.",
    "sfm_consumer_position": "Up to this number of the change log everything is projected.",
    "sfm_relay_lag": "Changes of the log that the leading relay has not handed to the event bus.",
    "sfm_relay_leader": "1 in the process whose relay holds the lease.",
    "sfm_relay_position": "Up to this number of the change log everything is on the event bus.",
}
Labels = tuple[tuple[str, str], ...]
Source = Callable[[], Mapping[tuple[str, Labels], int]]
"""Tells counts by name and labels that only rise."""


class _Timing(Struct):
    """A histogram: how many requests took at most each bound (the last: longer), and their seconds together."""

    counts: list[int]
    seconds: float = 0.0


class _Snapshot(Struct, array_like=True):
    """What one worker has counted."""

    requests: list[tuple[str, str, int, int]] = []
    timings: list[tuple[str, str, list[int], float]] = []
    counters: list[tuple[str, list[list[str]], int]] = []
    gauges: list[tuple[str, list[list[str]], int]] = []


class Metrics:
    """What this worker counts; on `exposition` the counts of the other workers are added.

    Args:
        version: of this distribution.
        board: where workers leave their counts for each other; None for a single worker.
    """

    def __init__(self, version: str, board: Board | None = None) -> None:
        self._version = version
        self._board = board
        self._started = time.time()
        self._requests: dict[tuple[str, str, int], int] = {}
        self._timings: dict[tuple[str, str], _Timing] = {}
        self._counters: dict[tuple[str, Labels], int] = {}
        self._sources: list[Source] = []
        self._gauges: dict[tuple[str, Labels], int] = {}
        self._levels: list[Source] = []
        if board is not None and (left := board.claim()):
            self._add(msgspec.msgpack.decode(left, type=_Snapshot))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one finished request."""
        key = (method, route, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        timing = self._timings.get((method, route))
        if timing is None:
            timing = self._timings[method, route] = _Timing([0] * (len(BOUNDS) + 1))
        timing.counts[bisect_left(BOUNDS, seconds)] += 1
        timing.seconds += seconds

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """Add `by` to the counter `name` with `labels`."""
        key = (name, tuple(sorted(labels.items())))
        self._counters[key] = self._counters.get(key, 0) + by

    def watch(self, source: Source) -> None:
        """Add what `source` counts to what is counted here."""
        self._sources.append(source)

    def show(self, source: Source) -> None:
        """Add what `source` tells of the present; of several workers the highest level counts."""
        self._levels.append(source)

    async def share(self) -> None:
        """Leave the counts for the other workers, every second, for ever."""
        while True:
            self.publish()
            await asyncio.sleep(1.0)

    def publish(self) -> None:
        """Leave the counts for the other workers."""
        if self._board is not None:
            self._board.write(msgspec.msgpack.encode(self._snapshot()))

    def exposition(self) -> str:
        """Return everything in Prometheus' text form."""
        total = Metrics(self._version)
        total._add(self._snapshot())
        for left in self._board.others() if self._board is not None else ():
            total._add(msgspec.msgpack.decode(left, type=_Snapshot))
        return "\n".join([*total._lines(), *self._info()]) + "\n"

    def _snapshot(self) -> _Snapshot:
        counters = Counter(self._counters)
        for source in self._sources:
            counters.update(source())
        gauges = {key: level for source in self._levels for key, level in source().items()}
        return _Snapshot(
            [(*key, n) for key, n in self._requests.items()],
            [(*key, t.counts, t.seconds) for key, t in self._timings.items()],
            [(name, [list(pair) for pair in labels], n) for (name, labels), n in counters.items()],
            [(name, [list(pair) for pair in labels], level) for (name, labels), level in gauges.items()],
        )

    def _add(self, other: _Snapshot) -> None:
        for method, route, status, n in other.requests:
            key = (method, route, status)
            self._requests[key] = self._requests.get(key, 0) + n
        for method, route, counts, seconds in other.timings:
            timing = self._timings.setdefault((method, route), _Timing([0] * (len(BOUNDS) + 1)))
            timing.counts = [a + b for a, b in zip(timing.counts, counts, strict=True)]
            timing.seconds += seconds
        for name, labels, n in other.counters:
            self.count(name, n, **{str(label): str(value) for label, value in labels})
        for name, labels, level in other.gauges:
            gauge = (name, tuple((str(label), str(value)) for label, value in labels))
            self._gauges[gauge] = max(level, self._gauges.get(gauge, level))

    def _lines(self) -> Iterator[str]:
        yield from _family("sfm_http_requests_total", "counter", "Finished requests.")
        for (method, route, status), n in sorted(self._requests.items()):
            yield _sample("sfm_http_requests_total", (("method", method), ("route", route), ("status", str(status))), n)
        name = "sfm_http_request_duration_seconds"
        yield from _family(name, "histogram", "Seconds from the first byte of a request to the end of its answer.")
        for (method, route), timing in sorted(self._timings.items()):
            yield from _histogram(name, (("method", method), ("route", route)), timing)
        for counter, text in _HELP.items():
            yield from _family(counter, "counter", text)
            found = {labels: n for (known, labels), n in self._counters.items() if known == counter}
            for labels, n in sorted((found or {(): 0}).items()):
                yield _sample(counter, labels, n)
        for gauge, text in GAUGES.items():
            levels = {labels: n for (known, labels), n in self._gauges.items() if known == gauge}
            if levels:
                yield from _family(gauge, "gauge", text)
                yield from (_sample(gauge, labels, n) for labels, n in sorted(levels.items()))

    def _info(self) -> Iterator[str]:
        yield from _family("sfm_build_info", "gauge", "The version of the service.")
        yield _sample("sfm_build_info", (("version", self._version),), 1)
        yield from _family("sfm_worker_start_time_seconds", "gauge", "When the answering worker started, Unix time.")
        yield _sample("sfm_worker_start_time_seconds", (), self._started)


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _sample(name: str, labels: Iterable[tuple[str, str]], value: float) -> str:
    inner = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _histogram(name: str, labels: Labels, timing: _Timing) -> Iterator[str]:
    total = 0
    for bound, n in zip((*map(str, BOUNDS), "+Inf"), timing.counts, strict=True):
        total += n
        yield _sample(f"{name}_bucket", (*labels, ("le", bound)), total)
    yield _sample(f"{name}_sum", labels, round(timing.seconds, 6))
    yield _sample(f"{name}_count", labels, total)
