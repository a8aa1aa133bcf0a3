"""Shared fixtures: names and folders for a test alone, and stubs of a Qdrant server that fail on demand."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from sfm_core.testing.servers.secure import Authority
from sfm_qdrant.testing_engine import EngineCollections, Refused

_MEMORY = Path("/dev/shm")


_MOST_BYTES = 32 * 1024 * 1024


class Stub:
    """A stub, not a server: Qdrant's HTTP routes that the plugin uses, answered by Qdrant's engine in this process.

    It proves that requests survive the wire, what the engine makes of them, and what the plugin makes of a wire that fails.

    Attributes:
        engine: the collections.
        fault: what happens to every request from now on: None, `hang`, `slow`, `cut`, `garbage`, or a status such as 500.
        version: what it says that it is.
        asked: method and path of every request.
        keys: the API keys that came with the last requests, over HTTP and gRPC.
    """

    def __init__(self) -> None:
        self.fault: str | int | None = None
        self.version = "1.18.3"
        self.asked: list[str] = []
        self.keys: dict[str, str | None] = {}
        self.port = 0
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[Any]] = set()
        self.engine = _collections_in_memory()

    def forget(self) -> None:
        """Lose everything."""
        self.engine.close()
        self.engine = _collections_in_memory()

    async def start(self, authority: Authority | None = None) -> None:
        """Listen, on the port of before if there was one; over TLS alone where an authority is given."""
        context = None
        if authority is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(authority.cert, authority.key)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections, and break those that are open."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        closed = asyncio.ensure_future(server.wait_closed())
        # One that was just accepted is not served yet.
        while self._busy or not closed.done():
            for task in list(self._busy):
                task.cancel()
            await asyncio.wait({closed, *self._busy}, timeout=0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            self._busy.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split("\r\n")[0].split(" ")
        length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        if length and int(length[1]) > _MOST_BYTES:
            return False
        body = await reader.readexactly(int(length[1])) if length else b""
        self.asked.append(f"{method} {path.partition('?')[0]}")
        key = re.search(r"api-key: (\S+)", head, re.IGNORECASE)
        self.keys["http"] = key[1] if key else None
        if self.fault == "hang":
            await asyncio.sleep(3600)
        if self.fault == "slow":
            await asyncio.sleep(0.3)
        status, answer = await self._answer(method, path, body)
        data = json.dumps(answer).encode() if self.fault != "garbage" else b"<html>not what was asked for</html>"
        first = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
        writer.write(first + (data[: len(data) // 2] if self.fault == "cut" else data))
        await writer.drain()
        return self.fault != "cut"

    async def _answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if isinstance(self.fault, int):
            return self.fault, {"status": {"error": "a stub's fault, with a secret in it"}}
        if path == "/":
            return 200, {"title": "stub", "version": self.version}
        try:
            route, _, options = path.partition("?")
            wait = "wait=true" in options.split("&")
            result = await self._route(method, route, json.loads(body) if body else {}, wait)
        except Refused as error:
            return error.status, {"status": {"error": str(error)}}
        return 200, {"result": result, "status": "ok", "time": 0.0}

    async def _route(self, method: str, path: str, body: Any, wait: bool) -> Any:
        from qdrant_client import models

        engine: Any = self.engine
        parts = path.strip("/").split("/")
        if path == "/aliases":
            return _plain(await engine.get_aliases())
        if path == "/collections":
            return _plain(await engine.get_collections())
        if path == "/collections/aliases":
            return await engine.update_collection_aliases(models.ChangeAliasesOperation(**body).actions)
        name, rest = parts[1], "/".join(parts[2:])
        told = {"operation_id": 0, "status": "completed" if wait else "acknowledged"}
        match (method, rest):
            case ("GET", "exists"):
                return {"exists": await engine.collection_exists(name)}
            case ("GET", ""):
                return _plain(await engine.get_collection(name))
            case ("DELETE", ""):
                return await engine.delete_collection(name)
            case ("PUT", ""):
                made = models.CreateCollection(**body)
                return await engine.create_collection(name, made.vectors or {}, made.sparse_vectors, made.hnsw_config)
            case ("PUT", "index"):
                index = models.CreateFieldIndex(**body)
                await engine.create_payload_index(name, index.field_name, index.field_schema, wait=wait)
                return told
            case ("PUT", "points"):
                await engine.upsert(name, models.PointsList(**body).points, wait=wait)
                return told
            case ("POST", "points/batch"):
                operations = models.UpdateOperations(**body).operations
                await engine.batch_update_points(name, operations, wait=wait)
                return [told for _ in operations]
            case ("POST", "points/query/batch"):
                searches = models.QueryRequestBatch(**body).searches
                return _plain(await engine.query_batch_points(name, searches))
            case ("POST", "points"):
                asked = models.PointRequest(**body)
                return _plain(await engine.retrieve(name, asked.ids, asked.with_payload, asked.with_vector))
            case ("POST", "points/count"):
                return _plain(await engine.count(name, models.CountRequest(**body).filter))
            case _:
                raise AssertionError(f"the stub has no {method} {path}")


def _collections_in_memory() -> EngineCollections:
    where = str(_MEMORY) if _MEMORY.is_dir() else None
    return EngineCollections(Path(tempfile.mkdtemp(prefix="sfm-qdrant-", dir=where)))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


class GrpcStub:
    """A stub, not a server: the same as `Stub` over gRPC, answered by the same engine."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self.port = 0
        self._server: Any = None

    async def start(self, authority: Authority | None = None) -> None:
        """Listen, on the port of before if there was one; over TLS alone where an authority is given."""
        import grpc
        from qdrant_client import grpc as wire

        self._server = grpc.aio.server()
        wire.add_PointsServicer_to_server(_points(self._stub), self._server)
        wire.add_CollectionsServicer_to_server(_collections(self._stub), self._server)
        wire.add_QdrantServicer_to_server(_root(self._stub), self._server)
        where = f"127.0.0.1:{self.port}"
        if authority is None:
            self.port = self._server.add_insecure_port(where)
        else:
            shown = [(authority.key.read_bytes(), authority.cert.read_bytes())]
            self.port = self._server.add_secure_port(where, grpc.ssl_server_credentials(shown))
        await self._server.start()

    async def stop(self) -> None:
        """Refuse connections."""
        await self._server.stop(grace=None)


_CODES = {404: "NOT_FOUND", 409: "ALREADY_EXISTS", 500: "INTERNAL"}


def _answering(call: Any) -> Any:
    """Answer a refusal with the code that a server answers with."""
    import grpc

    @functools.wraps(call)
    async def wrapped(self: Any, request: Any, context: Any) -> Any:
        try:
            return await call(self, request)
        except Refused as error:
            await context.abort(grpc.StatusCode[_CODES.get(error.status, "INVALID_ARGUMENT")], str(error))

    return wrapped


def _points(stub: Stub) -> Any:
    from qdrant_client import grpc as wire
    from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

    def told(wait: bool) -> Any:
        return wire.UpdateResult(
            operation_id=0, status=wire.UpdateStatus.Value("Completed" if wait else "Acknowledged")
        )

    class Points(wire.PointsServicer):  # type: ignore[misc]
        @_answering
        async def Upsert(self, request: Any) -> Any:
            points = [GrpcToRest.convert_point_struct(point) for point in request.points]
            await stub.engine.upsert(request.collection_name, points, wait=request.wait)
            return wire.PointsOperationResponse(result=told(request.wait))

        @_answering
        async def UpdateBatch(self, request: Any) -> Any:
            operations = [GrpcToRest.convert_points_update_operation(one) for one in request.operations]
            await stub.engine.batch_update_points(request.collection_name, operations, wait=request.wait)
            return wire.UpdateBatchResponse(result=[told(request.wait) for _ in operations])

        @_answering
        async def Get(self, request: Any) -> Any:
            ids = [GrpcToRest.convert_point_id(id) for id in request.ids]
            payload = GrpcToRest.convert_with_payload_selector(request.with_payload)
            vectors = GrpcToRest.convert_with_vectors_selector(request.with_vectors)
            found = await stub.engine.retrieve(request.collection_name, ids, payload, vectors)
            return wire.GetResponse(result=[RestToGrpc.convert_retrieved_point(record) for record in found])

        @_answering
        async def QueryBatch(self, request: Any) -> Any:
            asked = [GrpcToRest.convert_query_points(one) for one in request.query_points]
            answers = await stub.engine.query_batch_points(request.collection_name, asked)
            return wire.QueryBatchResponse(
                result=[
                    wire.BatchResult(result=[RestToGrpc.convert_scored_point(hit) for hit in answer.points])
                    for answer in answers
                ]
            )

        @_answering
        async def Count(self, request: Any) -> Any:
            where = GrpcToRest.convert_filter(request.filter)
            found = await stub.engine.count(request.collection_name, where)
            return wire.CountResponse(result=RestToGrpc.convert_count_result(found))

        @_answering
        async def CreateFieldIndex(self, request: Any) -> Any:
            schema = GrpcToRest.convert_payload_schema_params(request.field_index_params)
            await stub.engine.create_payload_index(
                request.collection_name, request.field_name, schema, wait=request.wait
            )
            return wire.PointsOperationResponse(result=told(request.wait))

    return Points()


def _collections(stub: Stub) -> Any:
    from qdrant_client import grpc as wire
    from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

    class Collections(wire.CollectionsServicer):  # type: ignore[misc]
        @_answering
        async def ListAliases(self, request: Any) -> Any:
            known = (await stub.engine.get_aliases()).aliases
            return wire.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(one) for one in known])

        @_answering
        async def UpdateAliases(self, request: Any) -> Any:
            actions = [GrpcToRest.convert_alias_operations(one) for one in request.actions]
            await stub.engine.update_collection_aliases(actions)
            return wire.CollectionOperationResponse(result=True)

        @_answering
        async def CollectionExists(self, request: Any) -> Any:
            exists = await stub.engine.collection_exists(request.collection_name)
            return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=exists))

        @_answering
        async def Create(self, request: Any) -> Any:
            vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
            sparse = GrpcToRest.convert_sparse_vector_config(request.sparse_vectors_config)
            hnsw = GrpcToRest.convert_hnsw_config_diff(request.hnsw_config) if request.HasField("hnsw_config") else None
            await stub.engine.create_collection(request.collection_name, vectors or {}, sparse, hnsw)
            return wire.CollectionOperationResponse(result=True)

        @_answering
        async def Delete(self, request: Any) -> Any:
            await stub.engine.delete_collection(request.collection_name)
            return wire.CollectionOperationResponse(result=True)

        @_answering
        async def Get(self, request: Any) -> Any:
            found = await stub.engine.get_collection(request.collection_name)
            return wire.GetCollectionInfoResponse(result=RestToGrpc.convert_collection_info(found))

        @_answering
        async def List(self, request: Any) -> Any:
            found = (await stub.engine.get_collections()).collections
            return wire.ListCollectionsResponse(collections=[wire.CollectionDescription(name=c.name) for c in found])

    return Collections()


def _root(stub: Stub) -> Any:
    from qdrant_client import grpc as wire

    class Root(wire.QdrantServicer):  # type: ignore[misc]
        async def HealthCheck(self, request: Any, context: Any) -> Any:
            stub.keys["grpc"] = dict(context.invocation_metadata()).get("api-key")
            return wire.HealthCheckReply(title="stub", version=stub.version)

    return Root()


@pytest.fixture
def collection() -> str:
    """A name that nothing else uses."""
    return f"test_{uuid4().hex}"


@pytest_asyncio.fixture
async def stub() -> AsyncIterator[Stub]:
    """A stub that listens."""
    stub = Stub()
    await stub.start()
    yield stub
    await stub.stop()
    stub.engine.close()


@pytest_asyncio.fixture
async def grpc_stub(stub: Stub) -> AsyncIterator[GrpcStub]:
    """A stub that listens for gRPC; it says what `stub` says."""
    wire = GrpcStub(stub)
    await wire.start()
    yield wire
    await wire.stop()


@pytest.fixture
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is such: the engine in process waits for the disk some forty times a shard."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="sfm-qdrant-", dir=_MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
