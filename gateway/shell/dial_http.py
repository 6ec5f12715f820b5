"""httpx over our own dialler: the same proxy, address family and named errors as orders and streams have."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from gateway.shell.dial import Dial, explain

TLS_HANDSHAKE_S = 10.0


def transport(dial: Dial, context: ssl.SSLContext, limits: httpx.Limits) -> httpx.AsyncBaseTransport:
    made = httpx.AsyncHTTPTransport(verify=context, trust_env=False)
    made._pool = httpcore.AsyncConnectionPool(  # where httpx leaves the network to others: httpcore's own parameter
        ssl_context=context,
        max_connections=limits.max_connections,
        max_keepalive_connections=limits.max_keepalive_connections,
        keepalive_expiry=limits.keepalive_expiry,
        network_backend=_Network(dial),
    )
    return made


class _Network(httpcore.AsyncNetworkBackend):
    def __init__(self, dial: Dial) -> None:
        self._dial = dial

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return _Stream(await self._dial(host, port), host)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"connect: {host}:{port} did not answer within {timeout} s") from None
        except OSError as error:
            raise httpcore.ConnectError(explain(error, host)) from None

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Reader(asyncio.StreamReader):
    """Knows what it was fed and has not given out: bytes on an idle connection make it useless."""

    pending = 0

    def feed_data(self, data: Any) -> None:
        self.pending += len(data)
        super().feed_data(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.pending -= len(data)
        return data


class _Stream(httpcore.AsyncNetworkStream):
    """Begins to read with its first use, or with TLS: so TLS has the socket from its first byte."""

    def __init__(self, made: socket.socket, host: str) -> None:
        self._socket = made
        self._host = host
        self._reader: _Reader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def _open(self, **tls: Any) -> tuple[_Reader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            loop = asyncio.get_running_loop()
            self._reader = reader = _Reader(loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            way, _ = await loop.create_connection(lambda: protocol, sock=self._socket, **tls)
            self._writer = asyncio.StreamWriter(way, protocol, reader, loop)
        return self._reader, self._writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            async with asyncio.timeout(timeout):
                reader, _ = await self._open()
                return await reader.read(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout(f"{self._host} sent nothing more within {timeout} s") from None
        except OSError as error:
            raise httpcore.ReadError(explain(error, self._host)) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            async with asyncio.timeout(timeout):
                _, writer = await self._open()
                writer.write(buffer)
                await writer.drain()
        except TimeoutError:
            raise httpcore.WriteTimeout(f"{self._host} takes no more bytes") from None
        except OSError as error:
            raise httpcore.WriteError(explain(error, self._host)) from None

    async def aclose(self) -> None:
        if self._writer is None:
            self._socket.close()
            return
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):  # it is gone either way
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                await self._open(
                    ssl=ssl_context, server_hostname=server_hostname or self._host,
                    ssl_handshake_timeout=TLS_HANDSHAKE_S,
                )  # fmt: skip
        except TimeoutError:
            self._socket.close()
            raise httpcore.ConnectTimeout(f"tls: {self._host} did not finish the handshake") from None
        except OSError as error:  # ssl errors are OSErrors
            self._socket.close()
            raise httpcore.ConnectError(explain(error, self._host)) from None
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":  # asked of an idle connection: it ended, or says what nobody asked for
            reader = self._reader
            return reader is not None and (reader.pending > 0 or reader.at_eof())
        return None if self._writer is None else self._writer.get_extra_info(info)
