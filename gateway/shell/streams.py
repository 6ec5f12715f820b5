"""WebSocket connections to the exchange. Frames are stamped and handed over inside `data_received`: no queue between.

Every Connect is answered by exactly one StreamClosed in the end, with StreamOpened before it where the handshake went
through. Pings and pongs are told as StreamAlive. A message over `MAX_MESSAGE_BYTES` ends the connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode
from websockets.uri import parse_uri

from gateway.core.effects import Connect, Disconnect, Probe, SendFrame
from gateway.core.inputs import Frame, StreamAlive, StreamClosed, StreamOpened
from gateway.shell.dial import Dial, Dialler, explain
from ipc.clock import boot_ns, wall_ns

MAX_MESSAGE_BYTES = 8 << 20
MAX_EARLY = 1_000  # frames that came with the answer to the handshake
OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0

_KEY_LIKE = re.compile(r"(?<=listenKey=)[^\s&\"']+|[A-Za-z0-9]{32,}")  # a reason goes into events and slices

Told = Frame | StreamOpened | StreamClosed | StreamAlive

_quiet = logging.getLogger("gateway.websockets")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False  # its debug lines would hold frames and the key in the URL


class Streams:
    """`tell` gets every input, on the loop."""

    def __init__(
        self, tell: Callable[[Told], None], *, ssl_context: ssl.SSLContext | None = None, dial: Dial | None = None
    ) -> None:
        self._tell = tell
        self._ssl = ssl_context or ssl.create_default_context()
        self._dial = dial or Dialler()
        self._held: dict[str, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, effect: Connect) -> None:
        """A second Connect of a name ends the first."""
        old = self._held.pop(effect.conn, None)
        if old is not None:
            old.end("replaced by a new connection")
        held = self._held[effect.conn] = _Held(effect.conn)
        task = asyncio.get_running_loop().create_task(self._run(held, effect.url))
        held.task = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def disconnect(self, effect: Disconnect) -> None:
        held = self._held.get(effect.conn)
        if held is not None:
            held.end(effect.reason)

    def send(self, effect: SendFrame) -> None:
        socket = self._socket(effect.conn)
        if socket is not None:
            socket.send_now(effect.data)

    def probe(self, effect: Probe) -> None:
        socket = self._socket(effect.conn)
        if socket is not None:
            socket.ping_now()

    async def close(self) -> None:
        for held in list(self._held.values()):
            held.end("the gateway is stopping")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_S + 1.0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _socket(self, conn: str) -> _Socket | None:
        held = self._held.get(conn)
        return held.socket if held is not None else None

    async def _run(self, held: _Held, url: str) -> None:
        held.started = True
        try:
            reason = held.reason or await self._live(held, url)
        except (OSError, TimeoutError, WebSocketException, ValueError) as error:
            reason = explain(error, urlsplit(url).hostname or "").replace(url, "(url)")
        except asyncio.CancelledError:
            reason = held.reason or "cancelled"
        if self._held.get(held.conn) is held:
            del self._held[held.conn]
        self._tell(StreamClosed(held.conn, held.reason or _KEY_LIKE.sub("(key)", reason)[:200]))

    async def _live(self, held: _Held, url: str) -> str:
        where = parse_uri(url)
        options: dict[str, Any] = {"ssl": self._ssl, "server_hostname": where.host} if where.secure else {}

        def made(*args: Any, **kwargs: Any) -> _Socket:
            return _Socket(self._tell, held, *args, **kwargs)

        socket = await connect(
            url,
            sock=await self._dial(where.host, where.port),
            compression=None,
            proxy=None,
            max_size=MAX_MESSAGE_BYTES,
            ping_interval=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            logger=_quiet,
            create_connection=made,  # type: ignore[arg-type]
            **options,
        )
        assert isinstance(socket, _Socket)
        held.socket = socket
        socket.live()
        try:
            await socket.wait_closed()
        except asyncio.CancelledError:
            socket.transport.abort()
            raise
        return f"closed: {socket.close_code} {socket.close_reason}".rstrip()


class _Held:
    """One Connect, from its task's start to its StreamClosed."""

    def __init__(self, conn: str) -> None:
        self.conn = conn
        self.reason = ""
        self.socket: _Socket | None = None
        self.task: asyncio.Task[None] | None = None
        self.started = False

    def end(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self.socket is not None:
            self.socket.close_now()
        elif self.task is not None and self.started:  # one cancelled before its start would never tell its end
            self.task.cancel()


class _Socket(ClientConnection):
    """Hands frames over as they come; what comes before `live` (with the handshake's answer) is held till then."""

    def __init__(self, tell: Callable[[Told], None], held: _Held, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tell = tell
        self._held = held
        self._early: list[Frame] | None = []
        self._parts: list[bytes] = []

    def live(self) -> None:
        self._tell(StreamOpened(self._held.conn))
        early, self._early = self._early or [], None
        for frame in early:
            self._tell(frame)

    def process_event(self, event: Any) -> None:
        if self.response is None or not isinstance(event, WsFrame):
            super().process_event(event)
            return
        opcode = event.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY or opcode is Opcode.CONT:
            if not event.fin:
                self._parts.append(bytes(event.data))
                return
            data = bytes(event.data)
            if self._parts:
                data = b"".join(self._parts) + data
                self._parts = []
            if self._held.reason:
                return  # given up by the core: nothing more of it is news
            frame = Frame(self._held.conn, data, wall_ns(), boot_ns())
            if self._early is None:
                self._tell(frame)
            elif len(self._early) < MAX_EARLY:
                self._early.append(frame)
            else:  # one frame less would be a hole nobody sees: the connection is made anew instead
                self._held.end(f"more than {MAX_EARLY} frames before the handshake was told")
        elif opcode is Opcode.PING or opcode is Opcode.PONG:
            if opcode is Opcode.PONG:
                super().process_event(event)
            if self._early is None:
                self._tell(StreamAlive(self._held.conn))

    def send_now(self, data: bytes) -> None:
        """Nothing happens on a connection that is closing: its StreamClosed is on the way."""
        if self.protocol.state.name == "OPEN":
            self.protocol.send_text(data)
            self.send_data()

    def ping_now(self) -> None:
        if self.protocol.state.name == "OPEN":
            self.protocol.send_ping(b"")
            self.send_data()

    def close_now(self) -> None:
        """Says goodbye; a peer that does not answer is cut after the close time-out."""
        if self.protocol.state.name == "OPEN":
            self.protocol.send_close(1000)
            self.send_data()
        loop = self.loop
        loop.call_later(CLOSE_TIMEOUT_S, self._cut)

    def _cut(self) -> None:
        transport = getattr(self, "transport", None)
        if transport is not None and not transport.is_closing():
            transport.abort()
