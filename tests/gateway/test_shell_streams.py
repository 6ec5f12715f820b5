"""WebSocket connections against a real server: one end for each Connect, stamped frames, pings, fragments, giants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.core.effects import Connect, Disconnect, Probe, SendFrame
from gateway.core.inputs import Frame, StreamAlive, StreamClosed, StreamOpened
from gateway.shell import streams as streams_module
from gateway.shell.streams import Streams, Told
from ipc.clock import boot_ns, wall_ns
from tests.waiting import eventually, stays

Handler = Callable[[ServerConnection], Awaitable[None]]


class Exchange:
    def __init__(self) -> None:
        self.handler: Handler = self.hold
        self.received: list[str | bytes] = []
        self.sockets: list[ServerConnection] = []
        self.server: Server | None = None

    async def hold(self, socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                self.received.append(message)

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        await self.handler(socket)

    async def start(self) -> str:
        self.server = await serve(self._serve, "127.0.0.1", 0, ping_interval=None, compression=None)
        return f"ws://127.0.0.1:{next(iter(self.server.sockets)).getsockname()[1]}/private/ws?listenKey=SECRETKEY"


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    yield exchange
    if exchange.server is not None:
        exchange.server.close()
        await exchange.server.wait_closed()


@pytest.fixture
async def told() -> list[Told]:
    return []


@pytest.fixture
async def streams(told: list[Told]) -> AsyncIterator[Streams]:
    streams = Streams(told.append)
    yield streams
    await streams.close()


def kinds(told: list[Told]) -> list[str]:
    return [type(item).__name__ for item in told]


async def test_frames_come_stamped_in_order_those_sent_with_the_handshake_too(
    exchange: Exchange, streams: Streams, told: list[Told]
) -> None:
    async def talk(socket: ServerConnection) -> None:
        for number in range(50):
            await socket.send(f"{number}")
        await exchange.hold(socket)

    exchange.handler = talk
    before = (wall_ns(), boot_ns())
    streams.connect(Connect("public", await exchange.start()))
    await eventually(lambda: len(told) == 51, "all frames")
    after = (wall_ns(), boot_ns())
    assert told[0] == StreamOpened("public")
    frames = [item for item in told if isinstance(item, Frame)]
    assert [frame.data for frame in frames] == [b"%d" % number for number in range(50)]
    for frame in frames:
        assert before[0] <= frame.recv_ns <= after[0]
        assert before[1] <= frame.recv_boot_ns <= after[1]


async def test_a_fragmented_message_is_one_frame(exchange: Exchange, streams: Streams, told: list[Told]) -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send(["ab", "cd", "ef"])
        await socket.send("gh")
        await exchange.hold(socket)

    exchange.handler = talk
    streams.connect(Connect("public", await exchange.start()))
    await eventually(lambda: len(told) == 3, "both messages")
    assert [item.data for item in told if isinstance(item, Frame)] == [b"abcdef", b"gh"]


async def test_pings_are_answered_and_told_and_a_probe_brings_its_pong(
    exchange: Exchange, streams: Streams, told: list[Told]
) -> None:
    streams.connect(Connect("private", await exchange.start()))
    await eventually(lambda: told == [StreamOpened("private")], "open")
    await asyncio.wait_for(await exchange.sockets[0].ping(b"life"), 5)
    await eventually(lambda: told[1:] == [StreamAlive("private")], "the ping is told")
    streams.probe(Probe("private"))
    await eventually(lambda: told[1:] == [StreamAlive("private")] * 2, "the pong is told")
    streams.send(SendFrame("private", b'{"method":"SUBSCRIBE"}'))
    await eventually(lambda: exchange.received == ['{"method":"SUBSCRIBE"}'], "a text frame went out")


async def test_every_connect_ends_in_exactly_one_closed_with_no_key_in_its_reason(
    exchange: Exchange, streams: Streams, told: list[Told]
) -> None:
    url = await exchange.start()
    streams.connect(Connect("a", url))
    await eventually(lambda: kinds(told) == ["StreamOpened"], "a is open")
    streams.disconnect(Disconnect("a", "we want no more"))
    await eventually(lambda: told[1:] == [StreamClosed("a", "we want no more")], "a is closed")

    async def shut(socket: ServerConnection) -> None:
        await socket.close(1008, "go away")

    async def cut(socket: ServerConnection) -> None:
        socket.transport.abort()

    for name, handler in (("b", shut), ("c", cut)):
        exchange.handler = handler
        del told[:]
        streams.connect(Connect(name, url))
        await eventually(lambda: kinds(told) == ["StreamOpened", "StreamClosed"], name)
    for name, wrong in (("d", "ws://127.0.0.1:1/x?listenKey=SECRETKEY"), ("e", url.replace("ws:", "nonsense:"))):
        del told[:]
        streams.connect(Connect(name, wrong))
        await eventually(lambda: kinds(told) == ["StreamClosed"], name)
        assert "SECRETKEY" not in repr(told)
    await stays(lambda: len(told) == 1, "told once", for_s=0.05)
    streams.disconnect(Disconnect("nobody", "x"))
    streams.probe(Probe("nobody"))
    streams.send(SendFrame("nobody", b"x"))


async def test_after_a_disconnect_nothing_of_the_connection_is_news(
    exchange: Exchange, streams: Streams, told: list[Told]
) -> None:
    async def chatter(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send("more")
                await asyncio.sleep(0)

    exchange.handler = chatter
    streams.connect(Connect("public", await exchange.start()))
    await eventually(lambda: len(told) > 10, "it talks")
    streams.disconnect(Disconnect("public", "enough"))
    count = len(told)
    await eventually(lambda: told[-1] == StreamClosed("public", "enough"), "closed")
    assert len(told) == count + 1


async def test_a_handshake_that_never_ends_and_one_refused_are_closed(
    streams: Streams, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "OPEN_TIMEOUT_S", 0.2)

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    for number, handler in enumerate((mute, refuse)):
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        streams.connect(Connect("x", f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await eventually(lambda: len(told) > number, "given up")  # noqa: B023  it ends before the next number
        assert kinds(told) == ["StreamClosed"] * (number + 1)
        server.close()
    assert "403" in told[1].reason  # type: ignore[union-attr]


async def test_a_message_over_the_bound_ends_the_connection(
    exchange: Exchange, streams: Streams, told: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "MAX_MESSAGE_BYTES", 1000)

    async def talk(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await socket.send("x" * 1000)
            await socket.send("x" * 1001)
            await exchange.hold(socket)

    exchange.handler = talk
    streams.connect(Connect("public", await exchange.start()))
    await eventually(lambda: kinds(told) == ["StreamOpened", "Frame", "StreamClosed"], "1000 pass, 1001 end it")


async def test_the_end_of_the_process_closes_all(exchange: Exchange, told: list[Told]) -> None:
    streams = Streams(told.append)
    url = await exchange.start()
    for name in ("public", "market", "private"):
        streams.connect(Connect(name, url))
    await eventually(lambda: len(told) == 3, "open")
    streams.connect(Connect("late", url))
    await streams.close()
    closed = [item.conn for item in told if isinstance(item, StreamClosed)]
    assert sorted(closed) == ["late", "market", "private", "public"]


@pytest.mark.parametrize("said", ["no such key " + "aB3" * 20, "bad /private/ws?listenKey=SECRETKEY"])
async def test_a_key_that_the_exchange_repeats_in_its_goodbye_is_not_handed_on(
    exchange: Exchange, streams: Streams, told: list[Told], said: str
) -> None:
    async def leave(socket: ServerConnection) -> None:
        await socket.close(1008, said)

    exchange.handler = leave
    streams.connect(Connect("private", await exchange.start()))
    await eventually(lambda: kinds(told)[-1:] == ["StreamClosed"], "closed")
    last = told[-1]
    assert isinstance(last, StreamClosed)
    assert "1008" in last.reason
    assert "(key)" in last.reason
    assert not any(secret in last.reason for secret in ("aB3", "SECRETKEY"))
