"""A guard that lets nothing reach the network: only loopback and local sockets may be connected or bound."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

__all__ = ["NetworkRefused", "loopback_only", "refuse_network"]

_NAMES = frozenset({"localhost", "ip6-localhost"})


class NetworkRefused(AssertionError):
    """Something tried to leave this machine."""


def _check(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0] if isinstance(address, tuple) else address
    if host in _NAMES:
        return
    try:
        local = ipaddress.ip_address(str(host).split("%")[0]).is_loopback
    except ValueError:
        local = False
    if not local:
        raise NetworkRefused(f"a connection to {host!r} was tried; tests may reach loopback and local sockets only")


def refuse_network(patch: pytest.MonkeyPatch) -> None:
    """Make every connect, bind, datagram and name look-up beyond loopback raise `NetworkRefused` while `patch` lasts."""
    for name in ("connect", "connect_ex", "bind"):
        inner = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, _inner: Any = inner) -> Any:
            _check(self.family, address)
            return _inner(self, address)

        patch.setattr(socket.socket, name, guarded)
    look_up, send = socket.getaddrinfo, socket.socket.sendto

    def guarded_send(self: socket.socket, data: Any, *rest: Any) -> int:
        _check(self.family, rest[-1])
        return send(self, data, *rest)

    def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host:
            _check(socket.AF_INET, (host.decode() if isinstance(host, bytes) else host,))
        return look_up(host, *args, **kwargs)

    patch.setattr(socket.socket, "sendto", guarded_send)
    patch.setattr(socket, "getaddrinfo", guarded_look_up)


@pytest.fixture
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse the network for the length of a test."""
    refuse_network(monkeypatch)
