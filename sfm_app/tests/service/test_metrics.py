"""Counters and the board that workers share."""

from __future__ import annotations

import re
from copy import copy
from multiprocessing import get_context

import pytest

from sfm_app.container import container_of
from sfm_app.observability.board import Board
from sfm_app.observability.metrics import BOUNDS, Metrics
from sfm_core.config.modes import Role
from sfm_core.runtime import open_services


def test_a_histogram_counts_cumulatively() -> None:
    """Each bound counts what took at most so long; the sum is the seconds together."""
    metrics = Metrics("1.0")
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        metrics.observe("GET", "/x", 200, seconds)
    text = metrics.exposition()
    name = "sfm_http_request_duration_seconds"
    labels = 'method="GET",route="/x"'
    assert f'{name}_bucket{{{labels},le="0.001"}} 2\n' in text
    assert f'{name}_bucket{{{labels},le="0.25"}} 2\n' in text
    assert f'{name}_bucket{{{labels},le="0.5"}} 3\n' in text
    assert f'{name}_bucket{{{labels},le="+Inf"}} 4\n' in text
    assert f"{name}_count{{{labels}}} 4\n" in text
    assert f"{name}_sum{{{labels}}} 99.3015\n" in text


def test_every_line_is_of_the_exposition_format() -> None:
    """A sample, a HELP or a TYPE line; every family is typed before its samples."""
    metrics = Metrics('1"\\')
    metrics.observe("GET", "/x", 200, 0.1)
    metrics.count("sfm_background_failures_total", task="sweep")
    typed: set[str] = set()
    for line in metrics.exposition().splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            found = re.fullmatch(r'([a-z_]+)(\{([a-z]+="(?:[^"\\]|\\.)*",?)+\})? [0-9.e+-]+', line)
            assert found, line
            assert {found[1], found[1].rsplit("_", 1)[0]} & typed
    assert "sfm_http_requests_total" in typed


def test_counters_exist_before_they_count() -> None:
    """A rate over a counter that never rose is zero, not missing."""
    assert "\nsfm_rate_limited_total 0\n" in Metrics("1").exposition()


class Processes:
    """Stands in for the processes of a machine: each sees the same board as itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, board: Board) -> None:
        self.alive: set[int] = set()
        self.board = board
        self._patch = monkeypatch
        monkeypatch.setattr("sfm_app.observability.board._alive", lambda process: process in self.alive)

    def start(self, number: int) -> Metrics:
        """Begin a process and give its metrics."""
        self.alive.add(number)
        self.become(number)
        return Metrics("1", copy(self.board))

    def become(self, number: int) -> None:
        """Let what follows happen in process `number`."""
        self._patch.setattr("sfm_app.observability.board.os.getpid", lambda: number)


def test_any_worker_answers_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for one that died: the next takes over what it had counted, so that no counter falls."""
    processes = Processes(monkeypatch, Board(2))
    first, second = processes.start(1), processes.start(2)
    for number, metrics, times in ((1, first, 2), (2, second, 3)):
        processes.become(number)
        for _ in range(times):
            metrics.observe("GET", "/x", 200, 0.1)
        metrics.publish()
    total = 'sfm_http_requests_total{method="GET",route="/x",status="200"} 5\n'
    assert total in first.exposition()
    assert total in second.exposition()
    processes.alive.discard(2)
    third = processes.start(3)
    assert total in third.exposition()
    third.observe("GET", "/x", 200, 0.1)
    third.publish()
    assert total.replace(" 5", " 6") in first.exposition()


def test_a_board_travels_to_a_spawned_process() -> None:
    """What is written there is read here."""
    board = Board(1)
    process = get_context("spawn").Process(target=board.claim)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert board._head(0)[0] == process.pid


def test_a_half_written_slot_is_passed_over() -> None:
    """Its checksum does not fit; nobody waits and nothing wrong is counted."""
    board = Board(2)
    assert board.claim() == b""
    board.write(b"good")
    board._memory[16:20] = b"evil"
    other = copy(board)
    other._mine = 1
    assert list(other.others()) == []


def test_what_does_not_fit_leaves_what_was_there() -> None:
    """A worker with too many counts is stale, never torn."""
    board = Board(1)
    board.claim()
    board.write(b"good")
    board.write(b"x" * 2**20)
    other = copy(board)
    other._mine = -1
    assert list(other.others()) == [b"good"]


def test_bounds_rise() -> None:
    """As histograms need them."""
    assert list(BOUNDS) == sorted(set(BOUNDS))


async def test_what_the_cache_does_is_counted() -> None:
    """Hits and misses by kind, failures, calls that were not made."""
    metrics = Metrics("1")
    settings = {"mode": "test", "SFM_STORAGE": "inmemory"}
    async with open_services(settings=settings, role=Role.SERVICE) as runtime:
        container_of(runtime, metrics)
        assert runtime.services.cache is not None
        runtime.services.cache.counts.update({"memory_hits": 3, "vector_misses": 2, "failures": 1, "skipped": 7})
        for line in (
            'sfm_cache_hits_total{kind="memory"} 3',
            'sfm_cache_misses_total{kind="vector"} 2',
            "sfm_cache_failures_total 1",
            "sfm_cache_skipped_total 7",
        ):
            assert f"\n{line}\n" in metrics.exposition()
