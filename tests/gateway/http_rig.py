"""A raw HTTP server that answers, cuts, stalls and lies by script, and a collector of what a transport delivers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from gateway.core.inputs import RestFailed, RestReply
from tests.waiting import eventually

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]
PING = "/fapi/v1/ping"
ORDER = b'{"orderId":1}'


def http(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "X-MBX-ORDER-COUNT-10S: 3", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Exchange:
    """Raw HTTP server. `script` handles each complete request; `requests` keeps them."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.serving = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.script: Script = self.answer
        self.server: asyncio.Server | None = None
        self.port = 0

    async def answer(self, _request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(http(ORDER))

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        for writer in self.writers:
            writer.close()
        await eventually(lambda: self.serving == 0, "every connection was let go")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.serving += 1
        self.writers.append(writer)
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if not request.startswith(b"GET /fapi/v1/ping"):
                    self.requests.append(request)
                await self.script(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.serving -= 1


class Told:
    """Collects what the transport delivers, and waits for it."""

    def __init__(self) -> None:
        self.all: list[RestReply | RestFailed] = []
        self._came = asyncio.Event()

    def __call__(self, item: RestReply | RestFailed) -> None:
        self.all.append(item)
        self._came.set()

    async def wait(self, count: int) -> list[RestReply | RestFailed]:
        async with asyncio.timeout(8):
            while len(self.all) < count:
                self._came.clear()
                await self._came.wait()
        return self.all


async def cut_at_once(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def cut_in_the_head(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await writer.drain()
    writer.close()


async def cut_in_the_body(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(http(ORDER)[:-4])
    await writer.drain()
    writer.close()


async def no_http(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"<html>hello</html>\r\n\r\n")


async def too_much(_request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(http(b"x" * (2 << 20)))


async def silence(_request: bytes, writer: asyncio.StreamWriter) -> None:
    await writer.wait_closed()  # until the end of the test
