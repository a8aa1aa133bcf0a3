"""Writing to the terminal: JSON documents whole, and text for people without control characters."""

from __future__ import annotations

import re
import sys
from typing import Any

import msgspec

__all__ = ["printable", "write_bytes", "write_document", "write_line", "write_text"]

# Control characters move the cursor or colour the screen; the others turn the direction of text. Neither is content.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return `text` with control characters (but for the line feed) written as `\x1b` or `\u202e`."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def write_document(document: Any) -> None:
    """Write one JSON document to standard output, indented for reading."""
    write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def write_line(document: Any) -> None:
    """Write one line of NDJSON to standard output, at once: whoever follows is waiting for it."""
    write_bytes(msgspec.json.encode(document) + b"\n")
    sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write `data` to standard output as it is."""
    sys.stdout.buffer.write(data)


def write_text(text: str, *, err: bool = False) -> None:
    """Write printable text and a line feed to standard output or standard error; what its encoding lacks is escaped."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
