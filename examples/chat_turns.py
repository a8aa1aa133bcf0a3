"""Store a conversation turn by turn with all that is known of each turn, and ask about it."""

import asyncio

from sfm_core import open_memory

TURNS = [
    ("Ann", "Hi Bob, how was your weekend?", "2024-05-06T09:00:00Z"),
    ("Bob", "I adopted a puppy called Rex on Saturday.", "2024-05-06T09:01:00Z"),
    ("Ann", "What breed is it?", "2024-05-06T09:02:00Z"),
    ("Bob", "A border collie, very lively!", "2024-05-06T09:03:00Z"),
]


async def main() -> None:
    """The answer to "which breed" does not hold the word: the turn before it does, and lends it a share of its score."""
    async with open_memory() as memory:
        await memory.remember_many(
            [
                {
                    "content": said,
                    "author": who,
                    "thread": "2024-05-06",
                    "position": turn,
                    "occurred_at": when,
                    "namespace": "example/chat",
                }
                for turn, (who, said, when) in enumerate(TURNS)
            ]
        )
        answer = await memory.recall("What breed is Bob's dog?", namespace="example/chat", k=2, explain=True)
        for hit in answer.hits:
            parts = ", ".join(f"{part.name} {part.added:+.2f}" for part in hit.explain.parts)
            print(f"{hit.score:.2f} {hit.memory.author}: {hit.memory.content} ({parts})")


if __name__ == "__main__":
    asyncio.run(main())
