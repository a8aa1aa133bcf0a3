"""consumer and relay: the processes between change log and index."""

from __future__ import annotations

import click

from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import given

__all__ = ["consumer_command", "relay_command"]

_HOST = click.option("--host", metavar="ADDRESS", help="Where probes are answered; SFM_HOST, 127.0.0.1 unless given.")
_PORT = click.option("--port", type=int, metavar="N", help="Where probes are answered; SFM_PORT, 9596 unless given.")


@command("consumer")
@_HOST
@_PORT
@click.option("--no-relay", is_flag=True, help="Leave handing the change log to the bus to `sfm relay`.")
def consumer_command(invocation: Invocation, host: str | None, port: int | None, no_relay: bool) -> None:
    """Bring the index up to date from the event bus until interrupted or terminated.

    Start as many as you like, on any machine: they share the work, and one of them relays the change log. Answers /healthz,
    /readyz and /metrics.
    """
    invocation.refuse_url("is a service", environment=False)
    relay = "false" if no_relay else None
    _serve(invocation, "consumer", SFM_HOST=host, SFM_PORT=port, SFM_CONSUMER_RELAY=relay)


@command("relay")
@_HOST
@_PORT
def relay_command(invocation: Invocation, host: str | None, port: int | None) -> None:
    """Hand the change log to the event bus until interrupted or terminated.

    For consumers that run with --no-relay. A second one waits to take over. Answers /healthz, /readyz and /metrics.
    """
    invocation.refuse_url("is a service", environment=False)
    _serve(invocation, "relay", SFM_HOST=host, SFM_PORT=port)


def _serve(invocation: Invocation, role: str, **options: object) -> None:
    from sfm_app.server import serve
    from sfm_core.config.modes import Role

    level = "error" if invocation.quiet else None
    serve({**invocation.overrides(), **given(**options, SFM_LOG_LEVEL=level)}, Role(role))
