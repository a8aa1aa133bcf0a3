"""The near words against the conformance kit."""

from __future__ import annotations

from sfm_core.testing.conformance import conformance, missing

PLUGIN = "sfm_nearwords.plugin"

globals().update(conformance(PLUGIN))


def test_no_suite_is_left_out() -> None:
    """The plugin passes the suites of its port and capabilities, and the refusals of the rest."""
    assert missing(PLUGIN, globals().values()) == []
