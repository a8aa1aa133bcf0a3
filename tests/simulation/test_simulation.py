"""The pipeline keeps its promises through everything that a seed can do to it, and the oracle would notice if it did not.

`SFM_TEST_SEEDS` says how many seeds are lived through (200), `SFM_TEST_FIRST_SEED` which is the first (0).
"""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.broken import BROKEN
from tests.simulation.run import Outcome, simulate

SEEDS = int(os.environ.get("SFM_TEST_SEEDS", "200"))
FIRST = int(os.environ.get("SFM_TEST_FIRST_SEED", "0"))
AT_ONCE = 20
MUTANT_SEEDS = 200
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What goes wrong on purpose is not logged."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_every_promise_is_kept(first: int) -> None:
    """Nothing acknowledged is lost, nothing deleted is found, index and records agree, no cursor is ahead of the truth."""
    for seed in range(first, min(first + AT_ONCE, FIRST + SEEDS)):
        violation = simulate(seed).violation
        assert violation is None, f"{violation}; replay it with: python -m tests.simulation {seed} --trace"


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_pipeline_is_noticed(what: str) -> None:
    """Within as many seeds as every run of the tests lives through."""
    assert any(simulate(seed, BROKEN[what]).violation for seed in range(MUTANT_SEEDS)), what


def test_the_seeds_reach_every_corner() -> None:
    """Kills, dead letters, relays that were overtaken, reads through copies: a world without them would prove nothing."""
    outcomes = [simulate(seed) for seed in range(100)]

    def total(field: str) -> int:
        return sum(getattr(outcome, field) for outcome in outcomes)

    assert total("kills") > 100
    assert total("dead_letters") > 20
    assert total("served") > 500
    assert total("fenced") > 0
    assert total("events") > 3000


def _digest(outcome: Outcome) -> str:
    return hashlib.sha256("\n".join(outcome.trace).encode()).hexdigest()


@pytest.mark.parametrize("seed", [1, 7, 42])
def test_a_seed_replays_exactly(seed: int) -> None:
    """In this process, and in another one whose hashes of texts differ."""
    here = simulate(seed)
    assert simulate(seed) == here
    code = (
        "import hashlib, logging; logging.disable(50); from tests.simulation.run import simulate; "
        f"print(hashlib.sha256('\\n'.join(simulate({seed}).trace).encode()).hexdigest())"
    )
    for salt in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": salt}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == _digest(here)


def test_a_seed_can_be_replayed_by_hand() -> None:
    """With the command that a failure names."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "3", "--trace"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "seed 3: every promise was kept"
