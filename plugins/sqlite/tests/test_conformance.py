"""The SQLite backends against the conformance kit."""

from __future__ import annotations

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing

PLUGIN = "sfm_sqlite.plugin"


class BriefLeases:
    """A file answers at once."""

    brief = 0.5


globals().update(conformance(PLUGIN, fixtures={Port.STORAGE: BriefLeases}))


def test_no_suite_is_left_out() -> None:
    """Every backend of the plugin passes the suites of its port and capabilities, and the refusals of the rest."""
    assert missing(PLUGIN, globals().values()) == []
