"""The client of a Qdrant server, as the settings say."""

from __future__ import annotations

import math
import ssl
import warnings
from typing import Any

import httpx
from qdrant_client import AsyncQdrantClient

from sfm_core.errors import ConfigError
from sfm_qdrant.config import QdrantConfig

__all__ = ["connect"]

_GRPC: dict[str, Any] = {
    # The defaults wait up to two minutes before a server that came back is tried again.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 500,
    "grpc.max_reconnect_backoff_ms": 1000,
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
}


_IDLE = 3.0
"""The server closes what was idle for 5 seconds; a request that goes out at that moment breaks."""


def connect(config: QdrantConfig) -> AsyncQdrantClient:
    """Return a client; nothing is sent yet.

    Raises:
        ConfigError: the certificates cannot be read.
    """
    longest = math.ceil(max(config.timeout, config.write_timeout))
    with warnings.catch_warnings():
        # That an API key goes over an unencrypted connection is what the settings say, and the README.
        warnings.simplefilter("ignore")
        return AsyncQdrantClient(
            host=config.host,
            port=config.port,
            grpc_port=config.grpc_port or 6334,
            prefer_grpc=config.grpc_port is not None,
            https=config.tls,
            api_key=config.api_key.reveal() if config.api_key else None,
            timeout=longest,
            check_compatibility=False,
            grpc_options=_grpc_options(config),
            limits=httpx.Limits(
                max_connections=config.connections,
                max_keepalive_connections=config.connections,
                keepalive_expiry=_IDLE,
            ),
            **_verify(config),
        )


def _verify(config: QdrantConfig) -> dict[str, Any]:
    if not config.tls or config.tls_ca_file is None:
        return {}
    try:
        return {"verify": ssl.create_default_context(cafile=str(config.tls_ca_file))}
    except OSError as error:
        raise _unreadable() from error


def _grpc_options(config: QdrantConfig) -> dict[str, Any]:
    if not config.tls or config.tls_ca_file is None:
        return dict(_GRPC)
    try:
        return _GRPC | {"root_certificates": config.tls_ca_file.read_bytes()}
    except OSError as error:
        raise _unreadable() from error


def _unreadable() -> ConfigError:
    return ConfigError("SFM_QDRANT__TLS_CA_FILE: cannot be read, allowed: a file of PEM certificates")
