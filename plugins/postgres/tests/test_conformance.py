"""The PostgreSQL storage against the conformance kit, on a real server."""

from __future__ import annotations

import pytest

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing
from sfm_postgres.config import PostgresConfig

PLUGIN = "sfm_postgres.plugin"


class OnServer:
    """A schema that belongs to the test."""

    @pytest.fixture
    def config(self, config: PostgresConfig) -> PostgresConfig:
        """The shared one."""
        return config


globals().update(conformance(PLUGIN, fixtures={Port.STORAGE: OnServer}))


def test_no_suite_is_left_out() -> None:
    """The backend passes the suites of its port and capabilities."""
    assert missing(PLUGIN, globals().values()) == []
