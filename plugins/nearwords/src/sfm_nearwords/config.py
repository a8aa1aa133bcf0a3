"""Settings of the near words."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

__all__ = ["NearwordsConfig"]


class NearwordsConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the table comes from.

    Attributes:
        table: a folder with `pieces.npy`, `scales.npy` and `vocab.txt` as `scripts/derive_table.py` writes them (of a
            model for another language, say); None for the English table that is shipped.
    """

    table: Path | None = None
