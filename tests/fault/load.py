"""The load client: writers that repeat until they are acknowledged, and readers that check every answer while all goes on."""

from __future__ import annotations

import asyncio
import hashlib
import random
import string
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx

from tests.fault.letters import vector_of
from tests.fault.oracle import GONE, Oracle, Record, State, Write

_PATIENCE = 150.0
"""Seconds after which a write that is repeated all the time counts as lost."""
_TIMEOUT = httpx.Timeout(30, connect=10)
_REPEATED = (409, 429, 503)


def word_of(record: Record, version: int) -> str:
    """Return a word that no other version has, nor one like it."""
    digest = hashlib.shake_128(f"{record.id} {version}".encode()).digest(16)
    return "".join(string.ascii_lowercase[byte % 26] for byte in digest)


class Load:
    """Writers and readers on the replicas of one API."""

    def __init__(
        self, oracle: Oracle, urls: Sequence[str], *, writers: int = 4, readers: int = 2, seed: int = 1
    ) -> None:
        self.oracle = oracle
        self._draw = random.Random(seed)
        self._urls = urls
        self._writers, self._readers = writers, readers
        self._stopping = False
        self._clients: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep writing and reading while the block runs; at its end every write that was begun is acknowledged."""
        limits = httpx.Limits(max_connections=100)
        self._clients = [httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=limits) for url in self._urls]
        self._stopping = False
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._writers):
                    group.create_task(self._write_on())
                for _ in range(self._readers):
                    group.create_task(self._read_on())
                try:
                    yield
                finally:
                    self._stopping = True
        finally:
            for client in self._clients:
                await client.aclose()

    async def progress(self, writes: int, seconds: float) -> bool:
        """Wait until so many more writes are acknowledged; tell whether that came about in so many seconds."""
        wanted, ends = self.oracle.acknowledged + writes, time.monotonic() + seconds
        while self.oracle.acknowledged < wanted:
            if time.monotonic() > ends:
                return False
            await asyncio.sleep(0.02)
        return True

    async def _write_on(self) -> None:
        while not self._stopping:
            record = self.oracle.add(self._draw.choice(self.oracle.namespaces), time.monotonic())
            await self._write(record, "created")
            for _ in range(self._draw.choice((0, 0, 1, 2))):
                await asyncio.sleep(0.01)
                await self._write(record, "updated")
            fate = self._draw.random()
            if fate < 0.3:
                await self._write(record, "deleted")
            if fate < 0.2 or fate > 0.9:
                await self._write(record, "erased")

    async def write_one(self, text: str) -> Record:
        """Write one memory whose content ends with a text, while the load runs."""
        record = self.oracle.add(self.oracle.namespaces[0], time.monotonic())
        await self._write(record, "created", f" {text}")
        return record

    async def _write(self, record: Record, kind: str, more: str = "") -> None:
        version = record.version + 1
        content = f"{word_of(record, version)} of {record.namespace}{more}"
        state: State = (version, content) if kind in ("created", "updated") else GONE
        waits = self._draw.random() < 0.04
        record.begin(state, time.monotonic())
        receipt = await self._acknowledged(record, kind, content, waits)
        if receipt is None:
            return
        self.oracle.acknowledged += 1
        got = receipt["memory"]["version"]
        if receipt["outcome"] != kind and not (kind == "updated" and receipt["outcome"] == "versioned"):
            self.oracle.violated(f"receipt: outcome {receipt['outcome']} of {kind} of {record.id}")
        if got != version:
            self.oracle.violated(f"receipt: version {got}, expected {version}, of {kind} {record.id}")
        record.acknowledged(Write(kind, got, receipt["sequence"], state and content), time.monotonic())
        if waits and receipt["indexed"]:
            await self._find(record, receipt["sequence"] if self._draw.random() < 0.5 else None)

    async def _acknowledged(self, record: Record, kind: str, content: str, waits: bool) -> Any:
        headers, begun = {"Idempotency-Key": str(uuid4())}, time.monotonic()
        query = {"wait": "indexed"} if waits else {}
        while True:
            answer: httpx.Response | None = None
            try:
                answer = await self._send(record, kind, content, headers=headers, params=query)
            except httpx.TransportError as error:
                self.oracle.unanswered[type(error).__name__] += 1
            if answer is not None and answer.status_code in (200, 201):
                return answer.json()
            if answer is not None and answer.status_code not in _REPEATED:
                self.oracle.violated(f"{kind} {record.id}: {answer.status_code} {answer.text[:300]}")
                return None
            if answer is not None and "retry-after" not in answer.headers:
                self.oracle.violated(
                    f"{kind} {record.id}: {answer.status_code} without Retry-After {answer.text[:300]}"
                )
                return None
            if time.monotonic() - begun > _PATIENCE:
                self.oracle.violated(f"{kind} {record.id}: not acknowledged after {_PATIENCE:g} s")
                return None
            if answer is not None:
                self.oracle.unanswered[answer.json()["detail"]] += 1
            self.oracle.repeats += 1
            await asyncio.sleep(0.1)

    async def _send(self, record: Record, kind: str, content: str, **more: Any) -> httpx.Response:
        client, place = self._draw.choice(self._clients), f"/v1/memories/{record.id}"
        if kind == "created":
            body = {"id": record.id, "namespace": record.namespace, "content": content}
            return await client.post("/v1/memories", json=body, **more)
        if kind == "updated":
            return await client.patch(place, json={"content": content}, **more)
        if kind == "erased":
            more["params"] = {**more["params"], "erase": "true"}
        return await client.delete(place, **more)

    async def _read_on(self) -> None:
        reads = (self._get, self._get, self._ask_words, self._ask_words, self._ask_vector, self._ask_vector, self._list)
        while not self._stopping:
            await asyncio.sleep(0.01)
            known = [record for record in self._recent() if record.writes]
            if known:
                await self._draw.choice(reads)(self._draw.choice(known))

    def _recent(self) -> list[Record]:
        records = list(self.oracle.records.values())
        return records if self._draw.random() < 0.3 else records[-40:]

    async def _asked(self, method: str, path: str, **more: Any) -> tuple[float, httpx.Response | None]:
        begun = time.monotonic()
        try:
            answer = await self._draw.choice(self._clients).request(method, path, **more)
        except httpx.TransportError as error:
            self.oracle.unanswered[type(error).__name__] += 1
            return begun, None
        if answer.status_code == 503:
            self.oracle.unanswered[answer.json()["detail"]] += 1
            return begun, None
        self.oracle.reads += 1
        if answer.status_code not in (200, 404):
            self.oracle.violated(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
            return begun, None
        return begun, answer

    async def _get(self, record: Record) -> None:
        begun, answer = await self._asked("GET", f"/v1/memories/{record.id}")
        if answer is None:
            return
        if answer.status_code == 200:
            self.oracle.see(answer.json(), begun, time.monotonic(), "get")
        else:
            self.oracle.see_none(record, begun, time.monotonic(), "get")

    async def _list(self, record: Record) -> None:
        query = {"namespace": record.namespace, "limit": 1000}
        begun, answer = await self._asked("GET", "/v1/memories", params=query)
        if answer is None:
            return
        page, now = answer.json(), time.monotonic()
        if page["next"] is None:
            self.oracle.see_list(record.namespace, page["items"], begun, now)
        else:
            for memory in page["items"]:
                self.oracle.see(memory, begun, now, "list")

    async def _recalled(self, how: str, **query: Any) -> tuple[float, dict[str, Any] | None]:
        begun, answer = await self._asked("POST", "/v1/recall", json=query)
        if answer is None or answer.status_code != 200:
            return begun, None
        told = answer.json()
        for hit in told["hits"]:
            self.oracle.see(hit["memory"], begun, time.monotonic(), how)
        return begun, told

    async def _ask_words(self, record: Record) -> None:
        """What is acknowledged is found by its words at once, on every replica."""
        word = (record.state[1] if record.state else max(record.contents)).split()[0]
        begun, told = await self._recalled("recall by words", query=word, namespace=record.namespace, k=20)
        if told is None or "lexical" in told["partial"]:
            return
        if record.live and record.steady(begun, time.monotonic()) and record.state and word in record.state[1]:
            self._must_hold(told, record, "recall by words")

    async def _ask_vector(self, record: Record) -> None:
        """The vector arm may lag; what it offers must be current all the same."""
        if record.live and self._draw.random() < 0.3:
            await self._find(record, record.writes[-1].sequence)
            return
        content = self._draw.choice(sorted(record.contents))
        query = {"vector": vector_of(content), "namespace": record.namespace, "k": 5}
        await self._recalled("recall by vector", **query)

    async def _find(self, record: Record, sequence: int | None) -> None:
        """Ask for what is projected, as the receipt or the reached `min_sequence` says."""
        if record.state is None:
            return
        query: dict[str, Any] = {"vector": vector_of(record.state[1]), "namespace": record.namespace, "k": 5}
        if sequence is not None:
            query["min_sequence"] = sequence
        begun, told = await self._recalled("recall of what is indexed", **query)
        if told is None or {"index_lag", "vectors"} & set(told["partial"]):
            return
        if record.steady(begun, time.monotonic()):
            self._must_hold(told, record, "recall of what is indexed")

    def _must_hold(self, told: dict[str, Any], record: Record, how: str) -> None:
        if all(hit["memory"]["id"] != record.id for hit in told["hits"]):
            self.oracle.violated(f"{how}: {record.id} {record.writes} is missing; partial {told['partial']}")
