"""plugins: what is loaded and installed, a check of one, and a start for a new one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from sfm_app.cli import calls
from sfm_app.cli.invocation import Group, Invocation, command
from sfm_app.cli.tables import columns, fields

__all__ = ["plugins_command"]

_PORTS = click.Choice(["vectors", "cache", "events", "embedding"])


@click.group("plugins", cls=Group)
def plugins_command() -> None:
    """List the plugins, check one, or start a new one."""


@command("list")
@click.option("--installed", is_flag=True, help="All that are installed here, by their metadata; none is loaded.")
def list_plugins(invocation: Invocation, installed: bool) -> None:
    """Show the plugins that are loaded for the plan in force."""
    if not installed:
        invocation.answer(calls.plugins(), _loaded)
        return
    from sfm_core.plugins.host import PluginHost

    invocation.refuse_url("looks at what is installed here", environment=False)
    found = msgspec.to_builtins(PluginHost().installed())
    invocation.show({"items": found, "next": None}, _installed)


def _loaded(document: Mapping[str, Any]) -> str:
    rows = [(p["name"], p["distribution"], p["version"], _backends(p)) for p in document["items"]]
    return columns(("PLUGIN", "DISTRIBUTION", "VERSION", "BACKENDS"), rows)


def _backends(plugin: Mapping[str, Any]) -> str:
    return ", ".join(f"{backend['port']} {backend['name']}" for backend in plugin["backends"])


def _installed(document: Mapping[str, Any]) -> str:
    rows = [(p["name"], p["distribution"], p["version"], p["module"]) for p in document["items"]]
    return columns(("PLUGIN", "DISTRIBUTION", "VERSION", "MODULE"), rows)


@command("check")
@click.argument("name")
def check_plugin(invocation: Invocation, name: str) -> None:
    """Load the installed plugin NAME and run the handshake: metadata, API version, what it registers."""
    from sfm_core.plugins.host import PluginHost

    invocation.refuse_url("loads the plugin here", environment=False)
    [plugin] = PluginHost().load([name]).infos
    invocation.show(msgspec.to_builtins(plugin), _checked)


def _checked(plugin: Mapping[str, Any]) -> str:
    backends = [
        f"{b['port']} {b['name']} ({', '.join(b['capabilities']) or 'no capabilities'})" for b in plugin["backends"]
    ]
    return f"{fields({**plugin, 'backends': backends})}\nok: it loads and passes the handshake"


@command("new")
@click.argument("name")
@click.option("--port", type=_PORTS, required=True, help="Which port its backend serves.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to write it, new or empty; ./sfm-plugin-NAME unless given.",
)
def new_plugin(invocation: Invocation, name: str, port: str, folder: Path | None) -> None:
    """Write the start of a plugin NAME.

    It is a distribution with one small backend that passes the conformance kit.
    """
    from sfm_core.plugins.scaffold import write_plugin
    from sfm_core.plugins.types import Port

    invocation.refuse_url("writes files here", environment=False)
    files = write_plugin(folder or Path(f"sfm-plugin-{name}"), name, Port(port))
    invocation.show({"files": [str(file) for file in files]}, lambda done: "\n".join(done["files"]))


for _command in (list_plugins, check_plugin, new_plugin):
    plugins_command.add_command(_command)
