"""How the driver connects: addresses, TLS, login, time limits."""

from __future__ import annotations

import logging
import ssl
from typing import Any

from sfm_core.errors import ConfigError
from sfm_kafka.config import KafkaConfig

__all__ = ["connection_options"]


def _context(config: KafkaConfig) -> ssl.SSLContext | None:
    if not config.tls:
        return None
    password = config.tls_key_password.reveal() if config.tls_key_password is not None else ""
    try:
        context = ssl.create_default_context(cafile=config.tls_ca_file)
        if config.tls_cert_file is not None:
            context.load_cert_chain(config.tls_cert_file, config.tls_key_file, password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"kafka/events: the files of tls_ca_file, tls_cert_file and tls_key_file cannot be used ({type(error).__name__})"
        ) from None
    return context


def _hide_requests() -> None:
    """Keep the driver from logging whole requests, of which the login is one."""
    log = logging.getLogger("aiokafka.conn")
    log.setLevel(max(log.level, logging.INFO))


def connection_options(config: KafkaConfig) -> dict[str, Any]:
    """Return the arguments that every client of the driver gets.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": list(config.bootstrap_servers),
        "client_id": "sfm",
        "request_timeout_ms": round(config.request_timeout * 1000),
        "security_protocol": "SSL" if config.tls else "PLAINTEXT",
        "ssl_context": _context(config),
    }
    if config.username is not None and config.password is not None:
        _hide_requests()
        options |= {
            "security_protocol": "SASL_SSL" if config.tls else "SASL_PLAINTEXT",
            "sasl_mechanism": config.sasl_mechanism,
            "sasl_plain_username": config.username,
            "sasl_plain_password": config.password.reveal(),
        }
    return options
