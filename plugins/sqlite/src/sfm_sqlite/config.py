"""Settings of the SQLite backends."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["SqliteConfig"]


class SqliteConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the files lie and how patient they are.

    Attributes:
        path: the storage file; `memory.sqlite3` in the data directory when not given.
        vectors_path: the file of the vector index; `vectors.sqlite3` in the data directory when not given.
        busy_timeout: seconds to wait for another process that is writing before `BackendUnavailable`.
        checkpoint_megabytes: size of the write-ahead log from which on the writer moves it into the main file.
        word_memory_megabytes: terms are held in memory up to this size; beyond it namespaces are read again when asked for.
        vector_memory_megabytes: vectors are held in memory as float32 up to this size, as int16 (half of it) above.
    """

    path: str | None = None
    vectors_path: str | None = None
    busy_timeout: float = 5.0
    checkpoint_megabytes: int = 16
    word_memory_megabytes: int = 256
    vector_memory_megabytes: int = 48
