"""serve: the REST API."""

from __future__ import annotations

import click

from sfm_app.cli.invocation import Invocation, command
from sfm_app.cli.target import given

__all__ = ["serve_command"]


@command("serve")
@click.option("--host", metavar="ADDRESS", help="Where to listen; SFM_HOST, 127.0.0.1 unless given.")
@click.option("--port", type=int, metavar="N", help="Where to listen; SFM_PORT, 9595 unless given.")
@click.option("--workers", type=int, metavar="N", help="Worker processes; UVICORN_WORKERS.")
def serve_command(invocation: Invocation, host: str | None, port: int | None, workers: int | None) -> None:
    """Run the service until it is interrupted or terminated."""
    invocation.refuse_url("is the service", environment=False)
    from sfm_app.server import serve

    level = "error" if invocation.quiet else None
    options = given(SFM_HOST=host, SFM_PORT=port, UVICORN_WORKERS=workers, SFM_LOG_LEVEL=level)
    serve({**invocation.overrides(), **options})
