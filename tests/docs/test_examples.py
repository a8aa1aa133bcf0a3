"""The examples run as they stand, on an empty data directory and without any network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "quickstart.py": ["Ada moved to Turin"],
    "chat_turns.py": ["Bob: A border collie, very lively!"],
    "history_and_undo.py": [
        "now: The office is in Milan - version 2",
        "then: The office is in Turin",
        "hidden",
        "back:",
        "erased",
    ],
    "own_embedder.py": ["fizzy drinks"],
    "redacting_plugin.py": ["Write to [address]"],
}


def test_every_example_has_an_expectation() -> None:
    """An example that nobody runs would rot."""
    assert sorted(EXPECTED) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_example_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    """Each example runs in a process of its own and prints its expected lines in order."""
    environment = {**os.environ, "SFM_DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rest = done.stdout
    for line in EXPECTED[name]:
        assert line in rest
        rest = rest.split(line, 1)[1]
