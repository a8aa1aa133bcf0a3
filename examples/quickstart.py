"""Remember something and ask for it: the five lines of the README."""

import asyncio

from sfm_core import open_memory


async def main() -> None:
    """Store one memory durably and recall it."""
    async with open_memory() as memory:
        await memory.remember("Ada moved to Turin", namespace="acme/agent-7", author="Ada")
        answer = await memory.recall("Where does Ada live?", namespace="acme/agent-7", k=5)
        print(answer.hits[0].memory.content)


if __name__ == "__main__":
    asyncio.run(main())
