"""consumer, relay and events: what they refuse where there is nothing to do. `tests/enterprise` runs them on real servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize("command", [("consumer",), ("relay",), ("events", "dlq", "list"), ("events", "dlq", "replay")])
def test_a_running_service_is_not_asked(run: Run, command: tuple[str, ...]) -> None:
    """They are processes of their own, or work on the bus itself."""
    done = run(*command, "--url", "http://127.0.0.1:9")
    assert done.code == 2
    assert "--url" in done.err


def test_a_consumer_needs_a_mode_that_indexes_in_one(run: Run, data_dir: Path) -> None:
    """In the others the service does it by itself, and the message says so."""
    done = run("--data-dir", data_dir, "consumer")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(
        "error: MEMORY_MODE, EVENTING_ENABLED: got development, true, allowed: a mode that indexes"
    )


@pytest.mark.parametrize("command", [("relay",), ("events", "dlq", "list"), ("events", "dlq", "replay")])
def test_a_bus_of_another_process_is_out_of_reach(run: Run, data_dir: Path, command: tuple[str, ...]) -> None:
    """The in-memory bus lives in the service: a relay, or dead letters, of one's own would be nobody's."""
    done = run("--data-dir", data_dir, *command)
    assert (done.code, done.out) == (1, "")
    assert "shared" in done.err


def test_an_address_that_is_no_port_is_bad_usage(run: Run) -> None:
    """Before anything is opened."""
    assert run("consumer", "--port", "many").code == 2
