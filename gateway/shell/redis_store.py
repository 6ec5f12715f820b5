"""Keeps a connection to Redis for the publisher, and the stream level with the journal before it writes.

On a new connection: what the journal holds above the stream's last id is appended first, in order; then all slices.
A stream ahead of the journal is told to the core (StoreState.stream_seq), which numbers on above it. The core is told
up and down once each; with Redis gone everything else goes on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import hiredis

from gateway.core.inputs import StoreState
from gateway.shell import alarm
from gateway.shell.journal import Journal
from gateway.shell.publisher import APPEND, EVENTS_PER_SCRIPT, MAX_STREAM, Publisher, append_command
from gateway.shell.redis_link import RedisLink, open_link
from ipc import keys

RETRY_S = (0.02, 1.0)
STEADY_S = 1.0  # a connection that ends sooner (a Redis without memory takes it and refuses to write) is backed off
REPLY_TIMEOUT_S = 2.0

# what a connection, Redis or the journal can meet on the way; all of it passes, so all of it is tried again
_FAULTS = (OSError, TimeoutError, hiredis.ReplyError, sqlite3.Error, ValueError, LookupError)


class RedisStore:
    """`start()` runs until `close()`. `tell` gets the StoreState inputs."""

    def __init__(
        self, url: str, account: str, journal: Journal, publisher: Publisher, tell: Callable[[StoreState], None], *,
        connect_timeout_s: float = 1.0,
    ) -> None:  # fmt: skip
        self._url = url
        self._stream = keys.events(account)
        self._journal = journal
        self._publisher = publisher
        self._tell = tell
        self._connect_timeout_s = connect_timeout_s
        self._task: asyncio.Task[None] | None = None
        self._link: RedisLink | None = None
        self._ended: asyncio.Event = asyncio.Event()
        self._reason = ""
        self.connections = 0
        self._told_up = False
        self.last_error = ""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def refused(self, reason: str) -> None:
        """A write was refused (an older append: somebody else writes this stream; no memory; too many events held)."""
        self.give_up(f"a write was refused: {reason}")

    def give_up(self, reason: str) -> None:
        if self._link is not None:
            self._link.end(reason)

    async def close(self) -> None:
        deadline_s = asyncio.get_running_loop().time() + 1.0
        while self._publisher.drain() and asyncio.get_running_loop().time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.002)  # replies come to a protocol, and this is once, at the end
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._publisher.stop()
        if self._link is not None:
            self._link.end("the gateway is stopping")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = RETRY_S[0]
        while True:
            since_s: float | None = None
            try:
                await self._connect()
                since_s = loop.time()
                await self._watch()
            except _FAULTS as error:
                self._down(f"{type(error).__name__}: {error}")
            if since_s is not None and loop.time() - since_s >= STEADY_S:
                delay_s = RETRY_S[0]
            await asyncio.sleep(delay_s)
            delay_s = min(RETRY_S[1], delay_s * 2)

    async def _connect(self) -> None:
        self._ended.clear()
        self._link = link = await open_link(self._url, self._lost, self._connect_timeout_s)
        sha = await asyncio.wait_for(link.ask("SCRIPT", "LOAD", APPEND), REPLY_TIMEOUT_S)
        last = await asyncio.wait_for(self._stream_last(link), REPLY_TIMEOUT_S)
        ahead = last if last > self._journal.last_event_seq else None
        if ahead is None:
            await self._catch_up(link, sha, last)
        self.connections += 1
        self._told_up = True
        if ahead is not None:
            # the core journals `journal.gap` above the stream's last; its rows are read back like all others
            self._tell(StoreState(up=True, stream_seq=ahead))
            await self._catch_up(link, sha, ahead)
        # no await between the last look at the journal and here: nothing can be missed
        self._publisher.begin(link, sha)
        if ahead is None:
            self._tell(StoreState(up=True))

    async def _stream_last(self, link: RedisLink) -> int:
        try:
            info: list[Any] = await link.ask("XINFO", "STREAM", self._stream)
        except hiredis.ReplyError as error:
            if "no such key" in str(error).lower():
                return 0
            raise
        fields = dict(zip(info[::2], info[1::2], strict=True))
        return int(bytes(fields[b"last-generated-id"]).partition(b"-")[0])

    async def _catch_up(self, link: RedisLink, sha: bytes, after: int) -> None:
        after = max(after, self._journal.last_event_seq - MAX_STREAM)
        behind: int | None = None  # the first page may leave out what the stream cannot hold
        while after < self._journal.last_event_seq:
            page, _more = self._journal.read_events(after, EVENTS_PER_SCRIPT, max_bytes=1 << 20)
            if not page:
                return
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            link.write(append_command(sha, self._stream, page, [], behind), future.set_result)
            reply = await asyncio.wait_for(future, REPLY_TIMEOUT_S)
            if isinstance(reply, Exception):
                raise reply
            after = behind = page[-1].seq

    async def _watch(self) -> None:
        """Until the connection ends; a server that holds writes unanswered for 2 s is given up."""
        link = self._link
        stuck_s = 0.0
        while not self._ended.is_set():
            before = self._publisher.writes
            if not await alarm.wait(self._ended, 0.25):
                waits = link is not None and link.waiting > 0 and self._publisher.writes == before
                stuck_s = stuck_s + 0.25 if waits else 0.0
                if stuck_s >= REPLY_TIMEOUT_S:
                    self.give_up(f"no reply within {REPLY_TIMEOUT_S:.0f} s")
        self._down(self._reason)

    def _lost(self, reason: str) -> None:
        self._reason = reason
        self._publisher.stop()
        self._ended.set()

    def _down(self, reason: str) -> None:
        self._publisher.stop()
        if reason != self.last_error or self._told_up:
            self._tell(StoreState(up=False, reason=reason))
        self._told_up = False
        self.last_error = reason
        if self._link is not None:
            self._link.end(reason)
            self._link = None
