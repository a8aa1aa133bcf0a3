"""Vector search with any function from texts to vectors; here a toy that counts letters."""

import asyncio

from sfm_core import open_memory


def count_letters(texts: list[str]) -> list[list[float]]:
    """Return one vector of letter counts per text. Put your model here."""
    return [[1.0 + text.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


async def main() -> None:
    """Ask by text, then by a vector."""
    async with open_memory(embed=count_letters) as memory:
        for fact in ("zebras graze", "a jazz quartet", "fizzy drinks"):
            await memory.remember(fact, namespace="example/letters")
        [vector] = count_letters(["zzz"])
        answer = await memory.recall_vector(vector, namespace="example/letters", k=1)
        print(answer.hits[0].memory.content)


if __name__ == "__main__":
    asyncio.run(main())
