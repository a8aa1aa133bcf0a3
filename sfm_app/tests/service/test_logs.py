"""Log lines as they reach stderr."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import logging
from sfm_app.observability.logs import configure, described, get_logger
configure("info")
get_logger().debug("not shown")
get_logger().info("shown", number=7, text="two\\nlines", odd=object)
logging.getLogger("sfm.projector").warning("from %s", "the library")
try:
    raise ValueError("secret content")
except ValueError as error:
    get_logger().error("failed", **described(error))
    logging.getLogger("x").exception("also failed")
print("nothing but this")
"""


def test_every_line_is_one_json_object_on_stderr() -> None:
    """Ours and the standard library's alike; stdout stays clean, texts of errors stay out."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "nothing but this\n"
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("shown", "info"),
        ("from the library", "warning"),
        ("failed", "error"),
        ("also failed", "error"),
    ]
    assert (lines[0]["number"], lines[0]["text"]) == (7, "two\nlines")
    assert lines[1]["logger"] == "sfm.projector"
    assert lines[2]["error"] == lines[3]["error"] == "ValueError"
    assert "secret" not in done.stderr
    assert all(line["timestamp"].endswith("Z") for line in lines)
