"""Shared fixtures."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

_MEMORY = Path("/dev/shm")


@pytest.fixture
def collection() -> str:
    """A name that nothing else uses."""
    return f"test_{uuid4().hex}"


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such: the engine in process waits for the disk some forty times a shard."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="sfm-qdrant-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
