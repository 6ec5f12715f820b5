"""One connection to Redis as a raw protocol: commands out, replies in their order. It never reconnects by itself.

`command` returns nothing and costs no task; its `done` is called with the reply (an `hiredis.ReplyError` instance
where Redis refused) or not at all where the connection ends first: then `lost` is called, once.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

Done = Callable[[Any], None]


class RedisLink(asyncio.Protocol):
    """Made by `open_link`. `waiting` is how many replies are outstanding."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._replies: deque[Done | None] = deque()

    @property
    def waiting(self) -> int:
        return len(self._replies)

    def command(self, *args: Any, done: Done | None = None) -> None:
        self.write(hiredis.pack_command(args), done)

    def write(self, packed: bytes, done: Done | None = None) -> None:
        self.write_all([(packed, done)])

    def write_all(self, commands: Sequence[tuple[bytes, Done | None]]) -> None:
        """Several commands in one packet."""
        if self._transport is None:
            return
        self._replies.extend([done for _, done in commands])
        self._transport.write(b"".join([packed for packed, _ in commands]))

    async def ask(self, *args: Any) -> Any:
        """One command and its reply; raises hiredis.ReplyError, or ConnectionError where the connection ends."""
        if self._transport is None:
            raise ConnectionError("the connection to Redis is gone")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.command(*args, done=lambda reply: None if future.done() else future.set_result(reply))
        reply = await future
        if isinstance(reply, Exception):
            raise reply
        return reply

    def end(self, reason: str) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._drop(reason)

    def _drop(self, reason: str) -> None:
        waiting, self._replies = self._replies, deque()
        for done in waiting:
            if done is not None:
                done(ConnectionError(reason))
        self._lost(reason)

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if not self._replies:
                    self.end("Redis sent what nobody had asked for")
                    return
                done = self._replies.popleft()
                if done is not None:
                    done(reply)
        except hiredis.ProtocolError as error:
            self.end(f"not the Redis protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._drop(f"connection lost: {exc}" if exc else "closed by Redis")


async def open_link(url: str, lost: Callable[[str], None], timeout_s: float) -> RedisLink:
    """Connects, authenticates and selects the database of `unix://path`, `redis://` or `rediss://`.

    Raises OSError, TimeoutError, hiredis.ReplyError. `lost` is not called for a link this did not return.
    """
    parts = urlsplit(url)
    state = {"returned": False}

    def told(reason: str) -> None:
        if state["returned"]:
            lost(reason)

    loop = asyncio.get_running_loop()

    def factory() -> RedisLink:
        return RedisLink(told)

    if parts.scheme == "unix":
        opening = loop.create_unix_connection(factory, unquote(parts.path))
    else:
        context = ssl.create_default_context() if parts.scheme == "rediss" else None
        opening = loop.create_connection(factory, parts.hostname or "localhost", parts.port or 6379, ssl=context)
    _, link = await asyncio.wait_for(opening, timeout_s)
    try:
        await asyncio.wait_for(_enter(link, url), timeout_s)
    except BaseException:
        link.end("not entered")
        raise
    state["returned"] = True
    return link


async def _enter(link: RedisLink, url: str) -> None:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    password = unquote(parts.password) if parts.password else query.get("password", [""])[0]
    user = unquote(parts.username) if parts.username else query.get("username", [""])[0]
    if password:
        await link.ask(*(("AUTH", user, password) if user else ("AUTH", password)))
    path = parts.path.strip("/")
    database = query.get("db", [path if parts.scheme != "unix" and path.isdigit() else "0"])[0]
    if database != "0":
        await link.ask("SELECT", database)
    await link.ask("PING")
