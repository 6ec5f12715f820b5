"""One WebSocket as the exchange serves it: bounded send buffer, pings, its end, and what faults do to it."""

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import WSMessage, WSMsgType, web

from simex.server.chaos.frames import half, server_frame

SLOW_CODE = 1008
_FROZEN_LOOK_S = 0.1
"""How often a half-open connection looks whether its client has gone."""


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """Connection rules. Times in seconds, sizes in bytes."""

    ping_every_s: float = 180.0
    pong_within_s: float = 600.0
    life_s: float = 24 * 3600.0
    messages_per_s: int = 10
    """Of any kind on a stream connection."""
    pings_per_s: int = 5
    """Ping and pong frames on the WebSocket API."""
    buffer_bytes: int = 32 * 1024 * 1024
    """Unsent bytes at which a slow consumer is disconnected."""


class Wire:
    """A client's socket. A subclass says what a text means (`on_text`) and what counts to the limit of a second."""

    limited: frozenset[WSMsgType] = frozenset({WSMsgType.TEXT, WSMsgType.PING, WSMsgType.PONG})

    def __init__(
        self, number: int, socket: web.WebSocketResponse, request: web.Request, route: str, settings: SocketSettings
    ) -> None:
        self.number = number
        self.route = route
        self.combined = False
        self.names: dict[str, None] = {}
        """The subscriptions that it believes to have, in order."""
        self.sent = 0
        self.remote = request.remote or ""
        self.flooded = False
        """It was closed because it sent too much."""
        self._socket = socket
        self._transport = request.transport
        self._settings = settings
        self._queue: deque[tuple[WSMsgType, bytes]] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._low = asyncio.Event()
        self._low.set()
        self._close: tuple[int, bytes] | None = None
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._frozen = 0
        self._drip: tuple[int, int] | None = None
        self._cut_next = False
        self._second = 0
        self._in_second = 0
        self._ping: bytes = b""
        self._pong_due: float | None = None

    @property
    def queued_bytes(self) -> int:
        """Unsent bytes, the bound is `SocketSettings.buffer_bytes`."""
        return self._queued_bytes

    def send_bytes(self, data: bytes) -> None:
        """Queue a text frame."""
        self._put(WSMsgType.TEXT, data)

    def send_text(self, text: str) -> None:
        """Queue a frame of any text, as it is."""
        self._put(WSMsgType.TEXT, text.encode())

    def close(self, code: int, reason: bytes = b"") -> None:
        """Send what is queued, then a close frame; a frozen connection is cut."""
        if self._frozen:
            self.abort()
        self._close = (code, reason)
        self._wake.set()

    def abort(self) -> None:
        """Cut the TCP connection without a word."""
        self._queue.clear()
        self._queued_bytes = 0
        self._low.set()
        if self._transport is not None:
            self._transport.abort()

    def freeze(self) -> None:
        """Half open: TCP stays, and nothing is heard or said until `thaw`. What comes meanwhile waits, both ways."""
        self._frozen += 1
        self._thawed.clear()

    def thaw(self) -> None:
        """What has waited on both sides goes its way, once every `freeze` has been taken back."""
        self._frozen -= 1
        if self._frozen:
            return
        self._thawed.set()

    def drip(self, pace: tuple[int, int] | None) -> None:
        """Write (bytes, every ms) from now on; None: at full speed again."""
        self._drip = pace

    def cut_frame(self) -> None:
        """End TCP in the middle of the next frame; a ping makes sure that there is one."""
        self._cut_next = True
        self._put(WSMsgType.PING, b"0")

    def cut_within(self, data: bytes) -> None:
        """End TCP in the middle of this text."""
        self._cut_next = True
        self._put(WSMsgType.TEXT, data)

    async def drained(self, low_bytes: int) -> None:
        """Wait until at most `low_bytes` are unsent (at once when the connection ends)."""
        while self._queued_bytes > low_bytes:
            self._low.clear()
            await self._low.wait()

    async def run(self) -> None:
        """Serve the socket until it ends."""
        writer = asyncio.create_task(self._write())
        keeper = asyncio.create_task(self._keep())
        try:
            async for message in self._socket:
                await self._until_thawed()
                if message.type in self.limited and not self._allowed():
                    self.flooded = True
                    self.close(SLOW_CODE, b"Too many requests")
                    break
                await self._on_message(message)
            if self._close is not None:
                await writer
        finally:
            self._queued_bytes = 0
            self._low.set()
            for task in (writer, keeper):
                task.cancel()
            await asyncio.gather(writer, keeper, return_exceptions=True)

    async def _until_thawed(self) -> None:
        while self._frozen and not self._gone():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._thawed.wait(), _FROZEN_LOOK_S)

    def _gone(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    def _put(self, kind: WSMsgType, data: bytes) -> None:
        if self._close is not None:
            return
        self._queue.append((kind, data))
        self._queued_bytes += len(data)
        if self._queued_bytes > self._settings.buffer_bytes:
            self._close = (SLOW_CODE, b"slow consumer")
            self.abort()
            return
        self._wake.set()

    async def _write(self) -> None:
        """Move the queue to the socket; flow control is the socket's."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    if self._frozen:
                        await self._thawed.wait()
                        continue
                    kind, data = self._queue.popleft()
                    await self._send(kind, data)
                    self.sent += 1
                    self._queued_bytes -= len(data)
                    if not self._low.is_set():
                        self._low.set()
                await self._thawed.wait()
                if self._close is not None:
                    await self._socket.close(code=self._close[0], message=self._close[1])
                    return
        except ConnectionError:
            if not self._cut_next:
                self.abort()  # the reader sees the end of the connection and cleans up

    async def _send(self, kind: WSMsgType, data: bytes) -> None:
        if self._drip is None and not self._cut_next:
            await self._socket.send_frame(data, kind)
            return
        transport, frame = self._transport, server_frame(int(kind), data)
        if transport is None or self._gone():
            raise ConnectionResetError("the connection is gone")
        if self._cut_next:
            transport.write(half(frame))
            transport.close()
            raise ConnectionResetError("cut within a frame")
        place = 0
        while place < len(frame) and not transport.is_closing():
            size, every_ms = self._drip or (len(frame), 0)
            transport.write(frame[place : place + size])
            place += size
            await asyncio.sleep(every_ms / 1000)

    async def _keep(self) -> None:
        """Ping at the exchange's rhythm, end a silent connection, end an old one."""
        settings = self._settings
        born = time.monotonic()
        next_ping = born + settings.ping_every_s
        while True:
            due = min(moment for moment in (next_ping, self._pong_due, born + settings.life_s) if moment is not None)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            if now >= born + settings.life_s:
                self.close(1001, b"24h")
                return
            if self._pong_due is not None and now >= self._pong_due:
                self.abort()
                return
            if now >= next_ping:
                next_ping = now + settings.ping_every_s
                self._ping = str(time.time_ns() // 1_000_000).encode()
                self._pong_due = self._pong_due or now + settings.pong_within_s
                self._put(WSMsgType.PING, self._ping)

    def _allowed(self) -> bool:
        """Count one message from the client; False above the limit of a second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        return self._in_second <= self.per_second

    @property
    def per_second(self) -> int:
        """How many of the limited messages a second may have."""
        return self._settings.messages_per_s

    async def on_text(self, text: str) -> None:
        """One message of the client."""
        raise TypeError(f"{type(self).__name__} does not say what a text means")

    async def _on_message(self, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            self._put(WSMsgType.PONG, bytes(message.data))
        elif message.type is WSMsgType.PONG:
            if bytes(message.data) == self._ping:
                self._pong_due = None
        elif message.type is WSMsgType.TEXT:
            await self.on_text(message.data)

    def answer(self, body: dict[str, Any]) -> None:
        """Queue an answer."""
        self._put(WSMsgType.TEXT, orjson.dumps(body))

    def describe(self) -> dict[str, Any]:
        """For /admin/state."""
        return {
            "id": self.number, "route": self.route, "combined": self.combined, "streams": list(self.names),
            "sent": self.sent, "queued_bytes": self._queued_bytes,
        }  # fmt: skip
