"""Opening a backend in a test: once, again beside, after a close, and in a process that is killed."""

from __future__ import annotations

import importlib
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Struct

from sfm_core.config.secret import Secret
from sfm_core.plugins.types import BackendSpec, OpenContext, Port
from sfm_core.ports.vectors import Space

__all__ = ["Address", "Opener", "specs_of"]


def specs_of(plugin: ModuleType) -> list[BackendSpec]:
    """Return every backend that a plugin module registers, in the order of the ports."""
    hooks = [getattr(plugin, f"sfm_{port.value}", None) for port in Port]
    return [spec for hook in hooks if hook is not None for spec in hook()]


class Address(Struct, frozen=True):
    """How another process opens the same store: the module whose `sfm_<port>` hook registers it, and its arguments."""

    module: str
    port: Port
    name: str
    config: dict[str, Any]
    data_dir: str | None
    space: Space | None

    def opener(self) -> Opener:
        """Return what opens the store in this process."""
        specs = specs_of(importlib.import_module(self.module))
        [spec] = [spec for spec in specs if spec.port == self.port and spec.name == self.name]
        config = msgspec.convert(self.config, spec.config, dec_hook=_decoded)
        folder = Path(self.data_dir) if self.data_dir is not None else None
        return Opener(spec, config, OpenContext(data_dir=folder, space=self.space), module=self.module)

    def command(self, script: str, *arguments: str) -> list[str]:
        """Return the command line that runs module `script` on this store."""
        return [sys.executable, "-m", script, msgspec.json.encode(self).decode(), *arguments]


class Opener:
    """Opens one store as often as a test asks, and closes all of it at the end."""

    def __init__(self, spec: BackendSpec, config: Any, context: OpenContext, *, module: str = "") -> None:
        self.spec = spec
        self.config = config
        self.context = context
        self._module = module
        self._stack = AsyncExitStack()

    async def open(self, *, space: Space | None = None, rebuild: bool = False, spaceless: bool = False) -> Any:
        """Open the store beside what is open already; `space` replaces the context's, or `spaceless` takes it away."""
        chosen = None if spaceless else space or self.context.space
        context = msgspec.structs.replace(self.context, space=chosen, rebuild=rebuild)
        return await self._stack.enter_async_context(self.spec.open(self.config, context))

    async def close(self) -> None:
        """Close everything that was opened."""
        stack, self._stack = self._stack, AsyncExitStack()
        await stack.aclose()

    async def reopen(self, *, space: Space | None = None, rebuild: bool = False, spaceless: bool = False) -> Any:
        """Close everything and open the store again."""
        await self.close()
        return await self.open(space=space, rebuild=rebuild, spaceless=spaceless)

    @property
    def address(self) -> Address:
        """How another process opens this store."""
        context = self.context
        return Address(
            module=self._module,
            port=self.spec.port,
            name=self.spec.name,
            config=msgspec.to_builtins(self.config, enc_hook=_encoded),
            data_dir=str(context.data_dir) if context.data_dir is not None else None,
            space=context.space,
        )


def _encoded(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()  # the process that reads it is a child of this test
    raise NotImplementedError(f"a config holds a {type(value).__name__}")


def _decoded(kind: type, value: Any) -> object:
    if kind is Secret:
        return Secret(value)
    raise NotImplementedError(f"a config holds a {kind.__name__}")
