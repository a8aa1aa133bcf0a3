"""Write docs/openapi.json anew; a test fails while it differs from what the routes say."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sfm_app.http.openapi import document
from sfm_app.http.routes import HANDLERS

TARGET = Path(__file__).parents[1] / "docs" / "openapi.json"


def main() -> None:
    """Generate and write."""
    text = msgspec.json.format(msgspec.json.encode(document(HANDLERS)), indent=2)
    TARGET.write_bytes(text + b"\n")


if __name__ == "__main__":
    main()
