"""One WebSocket connection: its commands, its bounded send buffer, its pings and its end."""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import WSMessage, WSMsgType, web

from simex.server.chaos.frames import half, server_frame
from simex.server.streams import PRIVATE

if TYPE_CHECKING:
    from simex.server.hub import Hub

MAX_STREAMS = 1024
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
    buffer_bytes: int = 32 * 1024 * 1024
    """Unsent bytes at which a slow consumer is disconnected."""


class Connection:
    """A client's socket. `names` are the subscriptions it believes to have, in order."""

    def __init__(
        self, number: int, socket: web.WebSocketResponse, request: web.Request, route: str, combined: bool,
        hub: "Hub", settings: SocketSettings,
    ) -> None:  # fmt: skip
        self.number = number
        self.route = route
        self.combined = combined
        self.names: dict[str, None] = {}
        self.sent = 0
        self.remote = request.remote or ""
        self._socket = socket
        self._transport = request.transport
        self._hub = hub
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

    def send_event(self, name: str, data: bytes) -> None:
        """Queue one event, in the envelope if the mode asks for it."""
        if self.combined:
            data = b'{"stream":' + orjson.dumps(name) + b',"data":' + data + b"}"
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
                while self._frozen and not self._gone():
                    await asyncio.sleep(_FROZEN_LOOK_S)
                if not self._allowed():
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
        return self._in_second <= self._settings.messages_per_s

    async def _on_message(self, message: WSMessage) -> None:
        if message.type is WSMsgType.PING:
            self._put(WSMsgType.PONG, bytes(message.data))
        elif message.type is WSMsgType.PONG:
            if bytes(message.data) == self._ping:
                self._pong_due = None
        elif message.type is WSMsgType.TEXT:
            self._on_command(message.data)

    def _on_command(self, text: str) -> None:
        try:
            command = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            self._answer({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}})
            self.close(SLOW_CODE, b"Invalid JSON")
            return
        if not isinstance(command, dict):
            self._answer({"error": {"code": 2, "msg": "Invalid request: not an object"}})
            return
        request_id = command.get("id")
        try:
            self._answer({"result": self._execute(command), "id": request_id})
        except _BadCommand as error:
            self._answer({"error": {"code": error.code, "msg": str(error)}, "id": request_id})

    def _execute(self, command: dict[str, Any]) -> object:
        method, params = command.get("method"), command.get("params", [])
        if not isinstance(params, list):
            raise _BadCommand(2, "Invalid request: params must be an array")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not params or not all(isinstance(name, str) for name in params):
                raise _BadCommand(2, "Invalid request: params must name streams")
            self._subscribe(params) if method == "SUBSCRIBE" else self._unsubscribe(params)
            return None
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if method in ("SET_PROPERTY", "GET_PROPERTY"):
            return self._property(method, params)
        raise _BadCommand(2, f"Invalid request: unknown method {method!r}")

    def _subscribe(self, names: list[str]) -> None:
        if len(self.names.keys() | set(names)) > MAX_STREAMS:
            raise _BadCommand(2, f"Invalid request: more than {MAX_STREAMS} streams")
        for name in names:
            self.names[name] = None
            self._hub.subscribe(self, name)

    def _unsubscribe(self, names: list[str]) -> None:
        for name in names:
            self.names.pop(name, None)
            self._hub.unsubscribe(self, name)

    def _property(self, method: str, params: list[Any]) -> object:
        if not params or params[0] != "combined":
            raise _BadCommand(0, "Unknown property")
        if method == "GET_PROPERTY":
            return self.combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _BadCommand(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None

    def _answer(self, body: dict[str, Any]) -> None:
        self._put(WSMsgType.TEXT, orjson.dumps(body))

    def describe(self) -> dict[str, Any]:
        """For /admin/state. A listenKey is a credential: only its beginning is shown."""
        names = [f"{name[:6]}…" for name in self.names] if self.route == PRIVATE else list(self.names)
        return {
            "id": self.number, "route": self.route, "combined": self.combined, "streams": names, "sent": self.sent,
            "queued_bytes": self._queued_bytes,
        }  # fmt: skip


class _BadCommand(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
