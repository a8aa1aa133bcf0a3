"""What is written, which configuration is refused, and how far a member may commit; no broker is needed."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace

import msgspec
import pytest
from aiokafka import errors as driver
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st

from sfm_core.config.backends import plugin_config
from sfm_core.config.env import Environment
from sfm_core.config.secret import Secret
from sfm_core.errors import BackendError, BackendUnavailable, ConfigError
from sfm_core.ports.events import Delivery
from sfm_core.testing.events import change_events
from sfm_kafka import plugin
from sfm_kafka.config import KafkaConfig
from sfm_kafka.failures import failure, translated
from sfm_kafka.lanes import Lane
from sfm_kafka.link import Link
from sfm_kafka.probe import _check
from sfm_kafka.security import connection_options
from sfm_kafka.wire import Token, decode, decoded, foreign, ours_of, record_of, whole


def test_an_event_is_written_as_thin_cloudevents_json_with_its_namespace_as_key() -> None:
    """Structured mode: the content type says so, and the value is the whole event."""
    [event] = change_events(1, namespaces=["acme/Zürich"])
    record = record_of(event, "memory.events")
    assert record.key == "acme/Zürich".encode()
    assert record.headers == (("content-type", b"application/cloudevents+json"),)
    assert msgspec.json.decode(record.value or b"") == {
        "specversion": "1.0",
        "id": "1",
        "source": "urn:kit",
        "type": "memory.created",
        "subject": event.subject,
        "time": msgspec.to_builtins(event.time),
        "datacontenttype": "application/json",
        "dataschema": "urn:somafractalmemory:memory-change:1",
        "data": {"memory_id": event.subject, "version": 1, "namespace": "acme/Zürich", "sequence": 1},
    }
    assert decode(record.value) == event


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"\xff\xfe", b"null", b"[]", b'{"specversion":"2.0"}', b'"' * 9, b"[" * 100_000]
)
def test_what_is_no_event_is_not_read(value: bytes | None) -> None:
    """Whatever bytes lie on the topic, reading them raises nothing."""
    assert decode(value) is None


@pytest.mark.parametrize("value", [None, b"{"])
def test_what_is_no_event_hides_none_of_its_neighbours(value: bytes | None) -> None:
    """Events are read many at a time; one that cannot be read is the only one."""
    first, last = change_events(2, namespaces=["acme"])
    values = [record_of(first, "t").value, value, record_of(last, "t").value]
    assert decoded([SimpleNamespace(value=one) for one in values]) == [first, None, last]


def test_a_delivery_is_no_work_for_the_garbage_collector() -> None:
    """Looking through them for cycles took a third of the time of consuming, and there can be none."""
    [event] = change_events(1, namespaces=["acme"])
    assert not gc.is_tracked(Delivery(event, Token(0, SimpleNamespace()), 1, None, "0"))


@pytest.mark.parametrize(("value", "number"), [(b"7", 7), (b"-1", None), (b"x", None), ("²".encode(), None)])
def test_a_header_is_read_as_a_number_or_not_at_all(value: bytes, number: int | None) -> None:
    """Headers come from anyone."""
    assert whole({"n": value}, "n") == number


@pytest.mark.parametrize(
    ("key", "murmur"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536), (b"abc", 479470107)],
)
def test_the_partition_of_a_key_stays_what_java_clients_take(key: bytes, murmur: int) -> None:
    """The driver's default, murmur2 with vectors of Kafka's own test: no release may move namespaces to other lanes."""
    assert DefaultPartitioner()(key, list(range(12)), []) == (murmur & 0x7FFFFFFF) % 12


def test_the_bootstrap_servers_come_from_the_well_known_variable() -> None:
    """As a list; without it the error names the variable."""
    [spec] = plugin.sfm_events()
    found = plugin_config("kafka", spec, Environment([{"KAFKA_BOOTSTRAP_SERVERS": "a:9092, b:9092"}]))
    assert found.bootstrap_servers == ("a:9092", "b:9092")
    with pytest.raises(ConfigError, match="KAFKA_BOOTSTRAP_SERVERS"):
        plugin_config("kafka", spec, Environment([]))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SFM_KAFKA__USERNAME": "sfm"}, "username and password"),
        ({"SFM_KAFKA__PASSWORD": "tip-of-the-tongue"}, "username and password"),
        ({"SFM_KAFKA__TLS_CA_FILE": "/ca.pem"}, "tls: false"),
        ({"SFM_KAFKA__TLS": "true", "SFM_KAFKA__TLS_KEY_FILE": "/key.pem"}, "tls_key_file"),
        ({"SFM_KAFKA__REPLICATION": "2", "SFM_KAFKA__MIN_INSYNC": "3"}, "min_insync"),
        ({"SFM_KAFKA__TOPIC": "a b"}, "SFM_KAFKA__TOPIC"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(variables: dict[str, str], named: str) -> None:
    """With the names of the settings, and without the password."""
    [spec] = plugin.sfm_events()
    with pytest.raises(ConfigError, match=named) as caught:
        plugin_config("kafka", spec, Environment([{"KAFKA_BOOTSTRAP_SERVERS": "a:1", **variables}]))
    assert "tip-of-the-tongue" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "protocol"),
    [
        ({}, "PLAINTEXT"),
        ({"tls": True}, "SSL"),
        ({"username": "sfm", "password": Secret("s")}, "SASL_PLAINTEXT"),
        ({"username": "sfm", "password": Secret("s"), "tls": True}, "SASL_SSL"),
    ],
)
def test_the_security_protocol_follows_from_login_and_tls(settings: dict[str, object], protocol: str) -> None:
    """There is no setting for it that could disagree with them."""
    config = KafkaConfig(bootstrap_servers=("a:1",), **settings)  # type: ignore[arg-type]
    assert connection_options(config)["security_protocol"] == protocol


def test_a_certificate_that_cannot_be_read_is_told_before_anything_is_opened() -> None:
    """The error names the settings."""
    from pathlib import Path

    config = KafkaConfig(bootstrap_servers=("a:1",), tls=True, tls_ca_file=Path("/does/not/exist.pem"))
    with pytest.raises(ConfigError, match="tls_ca_file"):
        connection_options(config)


def test_a_broker_that_is_too_old_is_refused_by_what_it_lacks() -> None:
    """Every request that is needed is compared."""
    offered = [(0, 3, 12), (10, 0, 4), (11, 0, 9), (22, 0, 4)]
    _check(offered)
    with pytest.raises(ConfigError, match=r"InitProducerId.*3\.0"):
        _check(offered[:3])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), BackendUnavailable),
        (ConnectionRefusedError(), BackendUnavailable),
        (driver.KafkaConnectionError("x"), BackendUnavailable),
        (driver.NotEnoughReplicasError(), BackendUnavailable),
        (driver.ProducerFenced(), BackendUnavailable),
        (driver.TopicAuthorizationFailedError("t"), BackendError),
        (driver.SaslAuthenticationFailed("tip-of-the-tongue"), BackendError),
        (driver.MessageSizeTooLargeError(), BackendError),
        (AttributeError("tip-of-the-tongue"), BackendError),
    ],
)
def test_an_error_of_the_driver_becomes_one_of_ours(error: Exception, kind: type[BackendError]) -> None:
    """Unavailable where trying again helps; the driver's words are not passed on."""
    told = failure(error, "publish events")
    assert type(told) is kind
    assert str(told).startswith("kafka/events:")
    assert "tongue" not in str(told)


def test_our_own_errors_pass_unchanged() -> None:
    """What is told once is not told again in other words."""
    with pytest.raises(ConfigError, match="ours"), translated("work"):
        raise ConfigError("ours")


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_lane_never_commits_past_what_is_not_done(data: st.DataObject) -> None:
    """In whatever order work is done, with gaps between offsets, the position is the first that is not done."""
    offsets = sorted(data.draw(st.sets(st.integers(0, 60), min_size=1, max_size=20)))
    lane = Lane(0, {})
    middle = data.draw(st.integers(1, len(offsets)))
    for handed in (offsets[:middle], offsets[middle:]):
        if handed:
            lane.hand(handed)
    order = data.draw(st.permutations(offsets))
    reached = offsets[0]
    while order:
        size = data.draw(st.integers(1, len(order)))
        done, order = order[:size], order[size:]
        first = min(order, default=offsets[-1] + 1)
        assert lane.finish(done) == (first if first != reached else None)
        reached = first
        assert lane.finish(done) is None
        assert lane.busy == bool(order)


def test_a_lane_counts_how_often_it_handed_out_what_was_not_committed() -> None:
    """The next to have it goes on counting; what was committed is forgotten, what was not reached is remembered."""
    lane = Lane(0, {7: 1, 9: 3})
    assert lane.hand([5, 6]) + lane.hand([7, 8]) == [1, 1, 2, 1]
    lane.finish([7, 5])
    assert lane.tried == {6: 1, 7: 2, 8: 1, 9: 3}
    assert Lane(0, lane.tried).hand([7]) == [3]


def test_our_headers_are_told_from_those_of_others() -> None:
    """Any producer may write to the topic, with headers that have no value, too."""
    headers = [("traceparent", b"00-1"), ("sfm-group", b"index"), ("empty", None), ("sfm-error", None)]
    assert ours_of(headers) == {"sfm-group": b"index", "sfm-error": b""}
    assert foreign(headers) == (("traceparent", b"00-1"), ("empty", b""))


@pytest.mark.parametrize(("breaks_off", "ending"), [(False, "ended"), (True, "broken off")])
async def test_a_start_that_nobody_waits_for_any_more_is_closed_after_its_end(breaks_off: bool, ending: str) -> None:
    """Broken off, the driver would leave a connection open; but who joins a group must not join it late."""
    link = Link(KafkaConfig(bootstrap_servers=("127.0.0.1:1",)), create=False)
    told: list[str] = []

    async def start() -> None:
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            told.append("broken off")
            raise
        told.append("ended")

    async def close() -> None:
        told.append("closed")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await link.started(start(), close, breaks_off=breaks_off)
    await link.background.finish(10)
    assert told == [ending, "closed"]
