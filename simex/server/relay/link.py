"""One connection to the streams of the exchange behind the relay, kept up for as long as it is wanted.

Stream mode, one per route: every frame says which stream it belongs to, and the event inside is passed on as it is.
A connection that ends, says nothing, or does not answer pings is made anew after a pause that doubles.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import aiohttp
import orjson

log = logging.getLogger("simex.relay")

MAX_STREAMS = 1024
"""Of one connection to the exchange; a further stream stays mute until another one is given up."""
UNREADABLE = (KeyError, TypeError, ValueError, ArithmeticError)
"""What reading a frame or an answer of another shape than the exchange's raises."""
_NAMES_A_COMMAND = 100
_GATHER_S = 0.05
_BETWEEN_COMMANDS_S = 0.25
_FRAME_BYTES = 16 * 1024 * 1024
_MAX_HEADS = 4096
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """When to give a connection up and when to try again, in seconds."""

    silence_s: float = 15.0
    """Without any frame while streams are subscribed; every route carries a followed stream that comes each second."""
    ping_every_s: float = 15.0
    first_pause_s: float = 0.25
    longest_pause_s: float = 10.0
    proven_after_s: float = 30.0
    """A connection that lived so long starts the pauses afresh."""


class Link:
    """Streams of one route. `on_frame(name, event)` gets every event; `on_up` and `on_down(reason)` the changes."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, settings: LinkSettings,
        on_frame: Callable[[str, bytes], None], on_up: Callable[[], None], on_down: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.url = url
        self.up = False
        self._session = session
        self._settings = settings
        self._on_frame, self._on_up, self._on_down = on_frame, on_up, on_down
        self._wanted: dict[str, None] = {}
        self._sent: set[str] = set()
        self._changed = asyncio.Event()
        self._names: dict[bytes, str] = {}
        self._number = 0

    def want(self, name: str) -> None:
        """Subscribe to a stream, now and after every new connection."""
        if name not in self._wanted and len(self._wanted) >= MAX_STREAMS:
            log.error("%s stays mute: %d streams are followed on %s already", name, MAX_STREAMS, self.url)
        self._wanted[name] = None
        self._changed.set()

    def drop(self, name: str) -> None:
        """Nobody wants a stream any more."""
        self._wanted.pop(name, None)
        self._changed.set()

    async def run(self) -> None:
        """Connect, listen, and connect again, for ever."""
        pause_s = self._settings.first_pause_s
        while True:
            began = time.monotonic()
            try:
                reason = await self._listen()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
            if self.up:
                self.up = False
                self._on_down(reason)
            if time.monotonic() - began >= self._settings.proven_after_s:
                pause_s = self._settings.first_pause_s
            wait_s = pause_s * random.uniform(0.75, 1.25)
            log.warning("no streams from %s (%s); trying again in %.1f s", self.url, reason, wait_s)
            await asyncio.sleep(wait_s)
            pause_s = min(pause_s * 2, self._settings.longest_pause_s)

    async def _listen(self) -> str:
        """One connection from beginning to end; returns why it ended."""
        connecting = self._session.ws_connect(
            self.url, heartbeat=self._settings.ping_every_s, max_msg_size=_FRAME_BYTES, decode_text=False
        )
        async with asyncio.timeout(_CONNECT_S):
            socket = await connecting
        async with socket:
            self._sent = set()
            self._changed.set()
            sender = asyncio.create_task(self._subscribe(socket), name="simex-relay-subscribe")
            try:
                self.up = True
                self._on_up()
                return await self._receive(socket)
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse[Literal[False]]) -> str:
        while True:
            limit_s = self._settings.silence_s if self._wanted else None
            try:
                async with asyncio.timeout(limit_s):
                    message = await socket.receive()
            except TimeoutError:
                if not self._wanted:
                    continue
                return f"nothing came for {limit_s} s"
            if message.type is aiohttp.WSMsgType.TEXT:
                try:
                    self._take(bytes(message.data))
                except UNREADABLE as error:
                    return f"a frame cannot be read ({type(error).__name__}: {error}): {bytes(message.data[:200])!r}"
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return f"closed by the other side ({message.type.name}, code {socket.close_code})"

    def _take(self, frame: bytes) -> None:
        """Pass one frame on: `{"stream":"<name>","data":<event>}`."""
        head, found, rest = frame.partition(b'"data":')
        if not found or not rest.endswith(b"}"):
            self._command_answer(frame)
            return
        name = self._names.get(head)
        if name is None:
            name = self._name_in(head)
            if name is None:
                self._command_answer(frame)
                return
        self._on_frame(name, rest[:-1].strip())

    def _name_in(self, head: bytes) -> str | None:
        try:
            name = orjson.loads(head.rstrip(b", ") + b"}").get("stream")
        except orjson.JSONDecodeError:
            return None
        if not isinstance(name, str):
            return None
        if len(self._names) >= _MAX_HEADS:
            self._names.clear()
        self._names[head] = name
        return name

    def _command_answer(self, frame: bytes) -> None:
        if not frame.startswith(b'{"result":null'):
            log.error("unexpected frame from %s: %.200s", self.url, frame.decode("utf-8", "replace"))

    async def _subscribe(self, socket: aiohttp.ClientWebSocketResponse[Literal[False]]) -> None:
        """Send what changed, in few commands and far below the ten a second that are allowed."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER_S)
            self._changed.clear()
            wanted = dict.fromkeys(list(self._wanted)[:MAX_STREAMS])
            for method, names in (
                ("UNSUBSCRIBE", [name for name in self._sent if name not in wanted]),
                ("SUBSCRIBE", [name for name in wanted if name not in self._sent]),
            ):
                for at in range(0, len(names), _NAMES_A_COMMAND):
                    part = names[at : at + _NAMES_A_COMMAND]
                    self._number += 1
                    try:
                        await socket.send_json({"method": method, "params": part, "id": self._number})
                    except ConnectionError:
                        return  # the receiver sees the end of the connection
                    self._sent = self._sent - set(part) if method == "UNSUBSCRIBE" else self._sent | set(part)
                    await asyncio.sleep(_BETWEEN_COMMANDS_S)
