"""A real forward proxy for tests: HTTP CONNECT and SOCKS5 on one asyncio server, with user and password if wanted."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
from typing import Literal

Mode = Literal["serve", "refuse", "mute", "cut"]


class ForwardProxy:
    """`asked` keeps every target as the client named it. `names` maps names only the proxy knows to addresses.

    `mode`: `refuse` says no, `mute` takes the connection and says nothing, `cut` ends it within its answer.
    """

    def __init__(self, user: str = "", password: str = "") -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.names: dict[str, str] = {}
        self.mode: Mode = "serve"
        self.port = 0
        self.tunnels = 0
        self._user = user
        self._password = password
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port or self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Every tunnel ends with it, as with a proxy that dies."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    def url(self, scheme: str) -> str:
        who = f"{self._user}:{self._password}@" if self._user else ""
        return f"{scheme}://{who}127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            first = await reader.readexactly(1)
            if self.mode == "mute":
                await reader.read()
            elif first == b"\x05":
                await self._socks(reader, writer)
            else:
                await self._connect(first + await reader.readuntil(b"\r\n\r\n"), reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()

    async def _connect(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        host, _, port = target.rpartition(":")
        self.asked.append((method, host, int(port)))
        secret = base64.b64encode(f"{self._user}:{self._password}".encode())
        if self.mode == "cut":
            writer.write(b"HTTP/1.1 2")
        elif self._user and b"basic " + secret.lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif self.mode == "refuse" or method != "CONNECT":
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            await self._tunnel(host, int(port), reader, writer, b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        if self._user:
            if 2 not in methods:
                writer.write(b"\x05\xff")
                return
            writer.write(b"\x05\x02")
            _version, size = await reader.readexactly(2)
            user = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            right = (user.decode(), password.decode()) == (self._user, self._password)
            writer.write(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        else:
            writer.write(b"\x05\x00")
        _version, command, _zero, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(("name" if kind == 3 else "address", host, port))
        bound = b"\x00\x01\x00\x00\x00\x00\x00\x00"
        if self.mode == "cut":
            writer.write(b"\x05")
        elif self.mode == "refuse" or command != 1:
            writer.write(b"\x05\x02" + bound)
        else:
            await self._tunnel(host, port, reader, writer, b"\x05\x00" + bound)

    async def _tunnel(
        self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, yes: bytes
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(self.names.get(host, host), port)
        self._writers.add(there_writer)
        self.tunnels += 1
        writer.write(yes)
        try:
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        finally:
            self.tunnels -= 1
            self._writers.discard(there_writer)
            there_writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):  # one side has ended: so has the tunnel
        writer.close()
