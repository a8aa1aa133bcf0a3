"""Which names a loopback-only service answers to, so that a page of a rebound domain cannot speak to it."""

from __future__ import annotations

import ipaddress
import socket

from sfm_core.errors import ConfigError

__all__ = ["LoopbackNames", "require_loopback"]

_LOCALHOST = "localhost"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == _LOCALHOST or host.endswith("." + _LOCALHOST)


def require_loopback(host: str) -> None:
    """Refuse to listen where others could reach a service that asks nobody for an API key.

    Raises:
        ConfigError: `host` is not a loopback address.
    """
    if not _is_loopback(host):
        raise ConfigError(
            f"SFM_HOST: got {host!r}, allowed: a loopback address (127.0.0.1, ::1, localhost) while the API asks nobody for "
            "a key: make one with `sfm keys create`, or set SFM_REQUIRE_KEYS=true"
        )


class LoopbackNames:
    """Judges the `Host` header of requests to a loopback address."""

    def __init__(self) -> None:
        self._known: dict[bytes, bool] = {}

    def allows(self, header: bytes) -> bool:
        """Tell whether `header` names this machine's loopback interface (any port)."""
        known = self._known.get(header)
        if known is None:
            known = _is_loopback(_name(header.decode("latin-1")))
            if len(self._known) < 1024:
                self._known[header] = known
        return known


def _name(header: str) -> str:
    name = header.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0]
    return name.partition(":")[0].rstrip(".")


def family_of(host: str) -> socket.AddressFamily:
    """Return the address family that `host` is written in."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET
