"""A stub, and nothing but a stub: ends TLS in front of a PostgreSQL that is built without it, the packaged 18 with pgvector."""

from __future__ import annotations

import asyncio
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sfm_core.testing.servers.secure import Authority

_TLS, _GSS = 80877103, 80877104


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class _Stub:
    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._context = context
        self._behind = behind
        self.port = 0
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    def run(self) -> None:
        """Serve until told to stop."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """Tell it from another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self._stopped.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak TLS with whoever asks for it, and hang up on all others: nothing passes in the clear."""
        with suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            while (asked := struct.unpack(">ii", await reader.readexactly(8))) == (8, _GSS):
                writer.write(b"N")
            if asked == (8, _TLS):
                writer.write(b"S")
                await writer.start_tls(self._context)
                behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._behind)
                await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))
        writer.close()


@contextmanager
def tls_in_front_of(port: int, authority: Authority) -> Iterator[int]:
    """Run the stub in a thread for as long as the block lasts, and give its port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.cert, authority.key)
    stub = _Stub(context, port)
    thread = threading.Thread(target=stub.run, daemon=True)
    thread.start()
    assert stub.ready.wait(30)
    try:
        yield stub.port
    finally:
        stub.stop()
        thread.join(30)
