"""The near words against the conformance kit."""

from __future__ import annotations

from sfm_core.testing.embedding import WordVectorsSuite
from sfm_nearwords import plugin


class TestTableWords(WordVectorsSuite):
    """The table that is shipped."""

    spec = plugin.sfm_embedding()[0]
    plugin = "sfm_nearwords.plugin"
