"""The asyncio client of the gateway's Unix domain socket: the same requests, answers and errors as `ipc.client`.

Any number of tasks may ask at once; answers find their way by id. When the connection ends every waiting request
raises `gateway.unreachable`; connecting again is the caller's decision.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from ipc import wire
from ipc.client import MAX_IN_FLIGHT, MAX_UNSENT_BYTES, TIMEOUT_S, result_of, unreachable
from ipc.errors import IpcError
from ipc.framing import LineSplitter, TooLong


class _Lines(asyncio.Protocol):
    def __init__(self, owner: AsyncClient) -> None:
        self._owner = owner
        self._splitter = LineSplitter()

    def data_received(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self._owner._take(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner._ended("it closed the connection" if exc is None else f"the connection broke ({exc})")


class AsyncClient:
    """`alive` is False once the connection ended. `late` counts answers nobody waited for any more."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.alive = False
        self.late = 0
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[wire.Answer]] = {}
        self._next_id = 1
        self._why = "not connected"

    @classmethod
    async def connect(cls, path: Path | str, *, timeout_s: float = TIMEOUT_S) -> AsyncClient:
        """Raises IpcError `gateway.unreachable`."""
        client = cls(Path(path), timeout_s)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                transport, _ = await loop.create_unix_connection(lambda: _Lines(client), str(path))
        except (OSError, TimeoutError) as error:
            raise unreachable(client.path, str(error) or "connecting timed out") from None
        client._transport = transport
        client.alive = True
        return client

    async def ask(self, request: wire.Request, *, timeout_s: float | None = None) -> wire.Answer:
        """Raises `gateway.unreachable` where no answer came in time (its outcome is then unknown) and `wire.busy` at
        a bound, where nothing left."""
        transport = self._transport
        if transport is None or not self.alive:
            raise unreachable(self.path, self._why)
        if len(self._waiting) >= MAX_IN_FLIGHT:
            raise IpcError("wire.busy", f"{MAX_IN_FLIGHT} requests are unanswered")
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            raise IpcError("wire.busy", f"the gateway takes no bytes; {transport.get_write_buffer_size()} wait already")
        request_id = self._next_id
        self._next_id += 1
        future: asyncio.Future[wire.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        transport.write(wire.encode(msgspec.structs.replace(request, id=request_id)))
        try:
            async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s):
                return await future
        except TimeoutError:
            raise unreachable(self.path, "it did not answer in time; the outcome is unknown") from None
        finally:
            self._waiting.pop(request_id, None)

    async def result(self, request: wire.Request, *, timeout_s: float | None = None) -> Any:
        """The answer's result; a refusal is raised as IpcError."""
        return result_of(await self.ask(request, timeout_s=timeout_s))

    async def hello(self, request: wire.Hello | None = None) -> dict[str, Any]:
        result: dict[str, Any] = await self.result(request or wire.Hello(id=0))
        return result

    async def place(self, place: wire.Place, *, timeout_s: float | None = None) -> wire.Answer:
        return await self.ask(place, timeout_s=timeout_s)

    async def cancel(self, intent: wire.IntentId, *, timeout_s: float | None = None) -> wire.Answer:
        return await self.ask(wire.Cancel(id=0, intent=intent), timeout_s=timeout_s)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._ended("closed here")
            await asyncio.sleep(0)

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            self._broken(f"it sent a line of over {line.seen} bytes")
            return
        try:
            answer = wire.decode_answer(line)
        except msgspec.MsgspecError as error:
            self._broken(f"it sent what is no answer ({error})")
            return
        future = self._waiting.get(answer.id) if answer.id is not None else None
        if future is None or future.done():
            self.late += 1
        else:
            future.set_result(answer)

    def _broken(self, why: str) -> None:
        self._ended(why)
        if self._transport is not None:
            self._transport.abort()

    def _ended(self, why: str) -> None:
        if self.alive:
            self._why = why
        self.alive = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(unreachable(self.path, self._why))
