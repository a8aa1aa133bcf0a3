"""The index against the conformance kit, on a real server."""

from __future__ import annotations

import pytest

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing
from sfm_pgvector.config import PgvectorConfig

PLUGIN = "sfm_pgvector.plugin"


class OnServer:
    """A schema that belongs to the test."""

    @pytest.fixture
    def config(self, config: PgvectorConfig) -> PgvectorConfig:
        return config


globals().update(conformance(PLUGIN, fixtures={Port.VECTORS: OnServer}))


def test_no_suite_is_left_out() -> None:
    """The backend passes the suites of its port and capabilities, and the refusals of the rest."""
    assert missing(PLUGIN, globals().values()) == []
