"""The folder of the engine in process: whose it is, which shard is the current one, and what that holds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import portalocker

from sfm_core.errors import ConfigError
from sfm_core.ports.vectors import Space
from sfm_qdrant.layout import another_space, mark, space_in

__all__ = ["Folder"]

_CURRENT, _LOCK = "current.json", "lock"


class Folder:
    """Names the current shard, and keeps other processes out.

    Attributes:
        path: the folder.
        shard: the folder of the current shard, None before there is one.
        dimension: of its vectors, 0 for words alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shard: Path | None = None
        self.dimension = 0
        self._file: Any = None

    def lock(self) -> None:
        """Make the folder this process's own.

        Raises:
            ConfigError: another has it.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (self.path / _LOCK).open("a")
        try:
            portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
        except portalocker.LockException as error:
            file.close()
            raise ConfigError(
                "qdrant/vectors: the folder of QDRANT_PATH is open already; the engine in process serves one opening at a "
                "time: stop the other, or use a server (QDRANT_HOST)"
            ) from error
        self._file = file

    def unlock(self) -> None:
        """Leave the folder to others."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def current(self, wanted: Space | None, *, rebuild: bool) -> Path | None:
        """Return the folder of the current shard, None when there is none yet.

        Raises:
            ConfigError: it is of another space than `wanted` (unless `rebuild`).
        """
        try:
            told = msgspec.json.decode((self.path / _CURRENT).read_bytes())
        except FileNotFoundError:
            return None
        found = space_in(told)
        if found != wanted and not rebuild:
            raise another_space(str(self.path.name), found, wanted)
        self.shard = self.path / told["shard"]
        self.dimension = 0 if found is None else found.dimension
        return self.shard

    def switch(self, shard: Path, space: Space | None) -> None:
        """Name another shard the current one, in one durable step."""
        fresh = self.path / f"{_CURRENT}.new"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(mark(space) | {"shard": shard.name}))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / _CURRENT)
        self.shard = shard
        self.dimension = 0 if space is None else space.dimension
