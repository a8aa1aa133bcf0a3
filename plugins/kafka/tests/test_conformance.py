"""The Kafka event bus against the conformance kit, on a real broker."""

from __future__ import annotations

import pytest

from sfm_core.plugins.types import Port
from sfm_core.testing.conformance import conformance, missing
from sfm_kafka.config import KafkaConfig

PLUGIN = "sfm_kafka.plugin"


class OnBroker:
    """Topics that belong to the test. A group takes a moment to come to terms."""

    quiet = 2.0
    patience = 60.0

    @pytest.fixture
    def config(self, config: KafkaConfig) -> KafkaConfig:
        return config


globals().update(conformance(PLUGIN, fixtures={Port.EVENTS: OnBroker}))


def test_no_suite_is_left_out() -> None:
    """The backend passes the suites of its port and capabilities."""
    assert missing(PLUGIN, globals().values()) == []
