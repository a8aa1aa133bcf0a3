"""A plugin object with operation hooks: it redacts e-mail addresses before anything is stored."""

import asyncio
import re

from msgspec.structs import replace

from sfm_core import Memory, Principal, open_memory
from sfm_core.plugins.specs import hookimpl
from sfm_core.plugins.types import PluginInfo

ADDRESS = re.compile(r"\S+@\S+")


class Redaction:
    """Mounted as an object here; as a distribution it would be an entry point of the group `sfm.plugins`."""

    @hookimpl
    def sfm_plugin_info(self) -> PluginInfo:
        """Say who this is."""
        return PluginInfo(name="redaction", version="1.0", api="1.0")

    @hookimpl
    def sfm_remembering(self, memory: Memory, principal: Principal) -> Memory:
        """Return the memory without addresses."""
        return replace(memory, content=ADDRESS.sub("[address]", memory.content or "")) if memory.content else memory


async def main() -> None:
    """Store a text with an address, and read back what was kept."""
    async with open_memory(plugins=[Redaction()]) as memory:
        receipt = await memory.remember("Write to ada@example.org", namespace="example/redaction")
        print(receipt.memory.content)


if __name__ == "__main__":
    asyncio.run(main())
