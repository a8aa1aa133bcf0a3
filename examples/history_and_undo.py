"""Versions, the past, deleting, undoing and erasing."""

import asyncio

from sfm_core import open_memory
from sfm_core.errors import NotFound


async def main() -> None:
    """Change a memory, read its past, delete it, bring it back, then remove it for good."""
    async with open_memory() as memory:
        stored = await memory.remember("The office is in Turin", namespace="example/facts", kind="semantic")
        id = stored.memory.id
        changed = await memory.update(id, content="The office is in Milan")
        print("now:", changed.memory.content, "- version", changed.memory.version)
        past = await memory.get(id, as_of=stored.memory.updated_at)
        print("then:", past.content)

        deleted = await memory.delete(id)
        try:
            await memory.get(id)
        except NotFound:
            print("hidden")
        await memory.undo(deleted.operation)
        print("back:", (await memory.get(id)).content)

        await memory.erase(id)
        try:
            await memory.history(id)
        except NotFound:
            print("erased")


if __name__ == "__main__":
    asyncio.run(main())
