"""The Redis cache against the conformance kit, on a real server."""

from __future__ import annotations

import pytest

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing
from sfm_redis.config import RedisConfig

PLUGIN = "sfm_redis.plugin"


class OnServer:
    """A part of the server that belongs to the test."""

    @pytest.fixture
    def config(self, config: RedisConfig) -> RedisConfig:
        return config


globals().update(conformance(PLUGIN, fixtures={Port.CACHE: OnServer}))


def test_no_suite_is_left_out() -> None:
    """The backend passes the suites of its port and capabilities."""
    assert missing(PLUGIN, globals().values()) == []
