"""A board in shared memory where the workers of one service leave their counts for each other.

Each worker writes only its own slot. A slot holds length, checksum and bytes; a reader that meets a half-written one sees
a wrong checksum and reads again, so nobody ever waits for anybody.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from multiprocessing import get_context
from typing import Any

__all__ = ["Board"]

_HEAD = struct.Struct("<qII")
_SLOT = 256 * 2**10
_ATTEMPTS = 5


class Board:
    """Made by the supervising process and handed to every worker it starts.

    Args:
        slots: the number of workers.
    """

    def __init__(self, slots: int) -> None:
        context = get_context("spawn")
        self._memory: Any = context.RawArray("c", slots * _SLOT)
        self._lock = context.Lock()
        self._slots = slots
        self._mine = -1

    def claim(self) -> bytes:
        """Take a slot that belongs to no living process; return what the one before left in it (b"" at first).

        Counts of a worker that died live on in its successor, so that they never fall.
        """
        with self._lock:
            for slot in range(self._slots):
                owner, _, _ = self._head(slot)
                if owner == 0 or not _alive(owner):
                    left = self._read(slot) or b""
                    self._mine = slot
                    self.write(left)
                    return left
        return b""

    def write(self, data: bytes) -> None:
        """Replace the content of this worker's slot; what does not fit is left out until it does."""
        if self._mine < 0 or _HEAD.size + len(data) > _SLOT:
            return
        start = self._mine * _SLOT
        self._memory[start : start + _HEAD.size + len(data)] = (
            _HEAD.pack(os.getpid(), len(data), zlib.crc32(data)) + data
        )

    def others(self) -> Iterator[bytes]:
        """Yield what the other workers left last."""
        for slot in range(self._slots):
            if slot != self._mine and (data := self._read(slot)):
                yield data

    def _head(self, slot: int) -> tuple[int, int, int]:
        start = slot * _SLOT
        owner, length, checksum = _HEAD.unpack(self._memory[start : start + _HEAD.size])
        return owner, length, checksum

    def _read(self, slot: int) -> bytes | None:
        for _ in range(_ATTEMPTS):
            _, length, checksum = self._head(slot)
            start = slot * _SLOT + _HEAD.size
            data = bytes(self._memory[start : start + min(length, _SLOT - _HEAD.size)])
            if zlib.crc32(data) == checksum:
                return data
        return None


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
