"""What holds for every command: the options that may stand before or after its name, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sfm_app.cli.local import LocalTarget
    from sfm_app.cli.target import Call, Target
    from sfm_core.config.modes import Role
    from sfm_core.config.settings import Settings

__all__ = ["Command", "Group", "Invocation", "command", "common_options"]

URL = "SFM_URL"
Render = Callable[[Any], str]


@dataclass
class Invocation:
    """One run of the command line: its common options, filled while they are parsed."""

    mode: str | None = None
    data_dir: Path | None = None
    url: str | None = None
    json: bool = False
    quiet: bool = False

    def settings(self) -> Settings:
        """Return the settings in force: options, then the environment, then `.env`.

        Raises:
            ConfigError: they cannot be used.
        """
        from sfm_core.config.env import Environment
        from sfm_core.config.settings import load_settings

        return load_settings(Environment.read(self.overrides()))

    def overrides(self) -> dict[str, str]:
        """Return the variables that options set."""
        given = {"MEMORY_MODE": self.mode, "SFM_DATA_DIR": self.data_dir, URL: self.url}
        return {name: str(value) for name, value in given.items() if value is not None}

    def target(self, *, role: Role | None = None) -> AbstractContextManager[Target]:
        """Return what the command works on, to be entered: the service at the URL given, else the store itself.

        Args:
            role: what the store itself is opened as; the library unless given.
        """
        settings = self.settings()
        if settings.url is None:
            return self.local(role=role)
        from sfm_app.cli.remote import RemoteTarget

        return RemoteTarget(settings.url, settings.api_key)

    def local(self, *, role: Role | None = None, create: bool | None = None, rebuild: bool = False) -> LocalTarget:
        """Return the store itself, to be entered.

        Args:
            role: what it is opened as; the library unless given.
            create: whether schema may be made or migrated; None as the mode says.
            rebuild: open a vector index of another embedding too, to make it anew.
        """
        from sfm_app.cli.local import LocalTarget

        return LocalTarget(self.overrides(), quiet=self.quiet, role=role, create=create, rebuild=rebuild)

    def refuse_url(self, why: str, *, environment: bool = True) -> None:
        """Refuse a URL for a command that can only work here.

        Args:
            why: the end of a sentence that begins with "this command".
            environment: whether a URL out of the environment is refused as well, or only the option.

        Raises:
            click.UsageError: there is one.
        """
        if self.url is not None or (environment and self.settings().url is not None):
            raise click.UsageError(f"this command {why}; leave out --url and {URL}")

    def answer(self, call: Call, render: Render) -> None:
        """Carry out `call` and print its answer: as JSON when asked for, else as `render` puts it."""
        with self.target() as target:
            self.show(target.ask(call), render)

    def show(self, document: Any, render: Render) -> None:
        """Print `document`: as JSON when asked for, else as `render` puts it."""
        from sfm_app.cli.output import write_document, write_text

        if self.json:
            write_document(document)
        else:
            write_text(render(document))


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a common option; one that was not given does not undo the same option at the other place."""
    if value not in (None, False) and param.name is not None:
        setattr(ctx.ensure_object(Invocation), param.name, value)


def common_options() -> list[click.Parameter]:
    """Return fresh options that the program and each of its commands take."""

    def option(*names: str, **settings: Any) -> click.Option:
        return click.Option(names, expose_value=False, callback=_store, **settings)

    return [
        option("--mode", metavar="MODE", help="Mode of the plan; MEMORY_MODE."),
        option(
            "--data-dir",
            metavar="FOLDER",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where the embedded store lives; SFM_DATA_DIR.",
        ),
        option("--url", metavar="URL", help=f"Work on the running service there instead; {URL}."),
        option("--json", is_flag=True, help="Print clean JSON on standard output."),
        option("--quiet", is_flag=True, help="No progress and no warnings on standard error."),
    ]


class Command(click.Command):
    """A command that takes the common options as well."""

    def __init__(self, name: str, *, params: Sequence[click.Parameter] | None = None, **settings: Any) -> None:
        super().__init__(name, params=[*(params or ()), *common_options()], **settings)


class Group(click.Group):
    """A command with commands of its own that takes the common options as well."""

    def __init__(self, name: str, *, params: Sequence[click.Parameter] | None = None, **settings: Any) -> None:
        super().__init__(name, params=[*(params or ()), *common_options()], **settings)


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command; its first argument is the `Invocation`."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(name, cls=Command)(click.pass_obj(function))

    return decorate
