"""One stack for all tests of the folder; each has namespaces and an oracle of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sfm_core.testing.servers import Missing
from tests.fault.fleet import Fleet, running_fleet
from tests.fault.load import Load
from tests.fault.oracle import Oracle

LONG = os.environ.get("SFM_FAULT_LONG", "") not in ("", "0")
"""The long form: fifty kills of each process, servers frozen for half a minute."""


KILLS = int(os.environ.get("SFM_TEST_KILLS") or (50 if LONG else 4))
_OURS = ("SFM_", "MEMORY_", "EVENTING_", "UVICORN_", "OTEL_", "SOMA_")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine and no `.env` file reaches a test."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    """The whole stack in `evented_enterprise` with pgvector."""
    try:
        with running_fleet() as made:
            yield made
    except Missing as gap:
        pytest.fail(str(gap), pytrace=False)


@pytest.fixture
def oracle(request: pytest.FixtureRequest) -> Oracle:
    """What this test writes."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return Oracle(name[:40].strip("-"))


@pytest.fixture
def load(fleet: Fleet, oracle: Oracle) -> Load:
    """Writers and readers of this test."""
    return Load(oracle, fleet.urls)


@pytest.fixture(scope="session")
def long() -> bool:
    """Whether the long form was asked for."""
    return LONG


@pytest.fixture(scope="session")
def kills() -> int:
    """How often a process is killed."""
    return KILLS


@pytest.fixture
def frozen(long: bool) -> float:
    """For how many seconds a server is frozen, or stays away."""
    return 30.0 if long else 5.0


@pytest.fixture
def told(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note the figures of a run: in the report, and on the terminal with `-s`."""

    def tell(figures: dict[str, float], **more: object) -> None:
        for name, value in {**figures, **more}.items():
            record_property(name, value)
        print(f"\n{request.node.name}: {', '.join(f'{name} {value}' for name, value in {**figures, **more}.items())}")

    return tell
