"""The first contact with a cluster: does a broker answer, does it take our login, does it speak what we need?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.protocol.admin import ApiVersionRequest

from sfm_core.errors import BackendError, ConfigError
from sfm_kafka.failures import DRIVER_ERRORS, failure, refused_login

__all__ = ["greet"]

_NEEDED = {"Produce": (0, 3), "FindCoordinator": (10, 1), "JoinGroup": (11, 2), "InitProducerId": (22, 0)}
"""Requests that a broker must know, and from which version on: record batches with headers, idempotent producers."""


def _check(offered: Iterable[tuple[int, int, int]]) -> None:
    newest = {key: most for key, _, most in offered}
    lacking = [name for name, (key, version) in _NEEDED.items() if newest.get(key, -1) < version]
    if lacking:
        raise ConfigError(
            f"kafka/events: the broker is too old: no {', '.join(lacking)}; needed: Apache Kafka 3.0 or later, or Redpanda"
        )


async def _ask(host: str, port: int, options: Mapping[str, Any]) -> None:
    connection: AIOKafkaConnection = await create_conn(host, port, **options)
    try:
        answer: Any = await connection.send(ApiVersionRequest())
        _check(answer.api_versions)
    finally:
        connection.close()


async def greet(options: Mapping[str, Any]) -> None:
    """Ask the brokers in turn until one answers.

    The driver's own start tries them too, and tells a refused login as if no broker were there.

    Raises:
        ConfigError: the broker refuses the login or is too old.
        BackendUnavailable: no broker answers.
    """
    rest = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    told: BackendError | None = None
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            return await _ask(host, port, rest)
        except DRIVER_ERRORS as error:
            told = failure(error, "reach a broker")
            if refused_login(error):
                raise ConfigError(str(told)) from None
    assert told is not None
    raise told
