"""The two ways to ask a memory: over REST, and in process."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from sfm_core import open_memory

__all__ = ["Rest", "Target", "in_process"]

_BATCH = 200


class Target(Protocol):
    """A system under test."""

    async def store(self, memories: Sequence[dict[str, Any]]) -> None:
        """Store memories, in order, and return when they can be recalled."""
        ...

    async def ask(self, query: str, namespace: str, k: int) -> list[str]:
        """Return the turns of the best `k` memories, best first."""
        ...


class Rest:
    """A running service."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}

    async def store(self, memories: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(memories), _BATCH):
            part = memories[start : start + _BATCH]
            answer = await self._post("/v1/memories/batch?wait=indexed", {"memories": part, "atomic": True})
            assert len(answer["results"]) == len(part)

    async def ask(self, query: str, namespace: str, k: int) -> list[str]:
        answer = await self._post("/v1/recall", {"query": query, "namespace": namespace, "k": k})
        assert not answer["partial"], answer["partial"]
        return [hit["memory"]["payload"]["turn"] for hit in answer["hits"]]

    async def _post(self, route: str, body: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self._send, route, json.dumps(body).encode())

    def _send(self, route: str, body: bytes) -> Any:
        request = urllib.request.Request(self._url + route, body, self._headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)


class _InProcess:
    def __init__(self, memory: Any) -> None:
        self._memory = memory

    async def store(self, memories: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(memories), _BATCH):
            await self._memory.remember_many(memories[start : start + _BATCH], atomic=True)

    async def ask(self, query: str, namespace: str, k: int) -> list[str]:
        answer = await self._memory.recall(query, namespace=namespace, k=k)
        assert not answer.partial, answer.partial
        return [hit.memory.payload["turn"] for hit in answer.hits]


@asynccontextmanager
async def in_process(settings: dict[str, str]) -> AsyncIterator[Target]:
    """Open a memory of this process with `settings`."""
    async with open_memory(settings=settings) as memory:
        yield _InProcess(memory)
