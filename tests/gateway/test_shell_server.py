"""The socket's server against real clients: half lines, giants, floods, slow readers, stale paths, gone processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ipc.framing import MAX_LINE_BYTES, TooLong
from ipc.server import Server, SocketBusy
from tests.waiting import eventually, pause, stays


class Recorder:
    """Keeps what it is told; answers each line with `reply(client, line)`."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.server: Server | None = None
        self.reply: Callable[[int, bytes | TooLong], bytes | None] = lambda _client, _line: None

    def opened(self, client: int, uid: int, pid: int) -> None:
        self.told.append(("opened", client, uid, pid))

    def line(self, client: int, line: bytes | TooLong) -> None:
        self.told.append(("line", client, line if isinstance(line, bytes) else "too long"))
        answer = self.reply(client, line)
        if answer is not None:
            assert self.server is not None
            self.server.send(client, answer)

    def closed(self, client: int, reason: str, process_gone: bool) -> None:
        self.told.append(("closed", client, reason, process_gone))

    def of(self, kind: str) -> list[tuple[object, ...]]:
        return [entry for entry in self.told if entry[0] == kind]


@pytest.fixture
async def recorder(run_dir: Path) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    recorder.server = Server(run_dir / "a.sock", recorder, max_connections=4, max_unread_bytes=200_000)
    await recorder.server.start()
    yield recorder
    await recorder.server.close(0.1)


async def connect(run_dir: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(os.fspath(run_dir / "a.sock"), limit=1 << 20)


async def test_a_client_is_known_by_its_user_and_process_and_its_lines_come_whole(
    recorder: Recorder, run_dir: Path
) -> None:
    recorder.reply = lambda client, line: b"%d:%s\n" % (client, line if isinstance(line, bytes) else b"?")
    reader, writer = await connect(run_dir)
    for piece in (b"ha", b"lf\n", b"two\nthree\nfo", b"ur\n"):
        writer.write(piece)
        await writer.drain()
        await pause(0.01)  # so that pieces arrive apart
    assert [await reader.readline() for _ in range(4)] == [b"1:half\n", b"1:two\n", b"1:three\n", b"1:four\n"]
    assert recorder.of("opened") == [("opened", 1, os.getuid(), os.getpid())]
    assert stat.S_IMODE((run_dir / "a.sock").stat().st_mode) == 0o660
    writer.write(b"unfinished")
    writer.close()
    await eventually(lambda: recorder.of("closed"), "the close is told")
    assert ("line", 1, b"unfinished") not in recorder.told


async def test_a_giant_line_is_named_once_and_the_connection_lives_on(recorder: Recorder, run_dir: Path) -> None:
    recorder.reply = lambda _client, line: b"too long\n" if isinstance(line, TooLong) else b"ok\n"
    reader, writer = await connect(run_dir)
    writer.write(b"x" * (1 << 20) + b"\nnext\n" + b"y" * MAX_LINE_BYTES + b"\n" + b"z" * (MAX_LINE_BYTES + 1) + b"\n")
    assert [await reader.readline() for _ in range(4)] == [b"too long\n", b"ok\n", b"ok\n", b"too long\n"]
    writer.close()


async def test_a_reader_that_does_not_read_is_disconnected_and_others_are_served(
    recorder: Recorder, run_dir: Path
) -> None:
    recorder.reply = lambda _client, line: line * 50 + b"\n" if isinstance(line, bytes) else None
    _, slow = await connect(run_dir)
    flood = b"".join(b"%01000d\n" % n for n in range(40))
    for _ in range(20):
        slow.write(flood)
    await eventually(lambda: recorder.of("closed"), "the slow reader is gone")
    assert recorder.of("closed") == [("closed", 1, "more than 200000 bytes left unread", False)]
    reader, writer = await connect(run_dir)
    writer.write(b"a\n")
    assert await reader.readline() == b"a" * 50 + b"\n"
    slow.close()
    writer.close()


async def test_connections_are_bounded_and_a_free_place_can_be_taken_again(recorder: Recorder, run_dir: Path) -> None:
    recorder.reply = lambda _client, _line: b"ok\n"
    held = [await connect(run_dir) for _ in range(4)]
    await eventually(lambda: len(recorder.of("opened")) == 4, "four are in")
    reader, writer = await connect(run_dir)
    with contextlib.suppress(ConnectionResetError):  # closed with a reset: the same
        assert await reader.read() == b""
    writer.close()
    with contextlib.suppress(ConnectionResetError):
        await writer.wait_closed()
    assert recorder.server is not None
    assert recorder.server.refused == 1
    held[0][1].close()
    await eventually(lambda: recorder.of("closed"), "one left")
    reader, writer = await connect(run_dir)
    writer.write(b"x\n")
    assert await reader.readline() == b"ok\n"
    for _, each in [*held, (reader, writer)]:
        each.close()


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(run_dir: Path) -> None:
    path = run_dir / "a.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(os.fspath(path))
    stale.close()
    first = Server(path, Recorder())
    await first.start()
    second = Server(path, Recorder())
    with pytest.raises(SocketBusy, match="another gateway answers"):
        await second.start()
    await first.close(0.1)
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(SocketBusy, match="is no socket"):
        await second.start()
    assert path.read_text() == "a file"


def test_a_path_over_107_bytes_is_refused_and_one_of_107_is_not(run_dir: Path) -> None:
    room = 107 - len(os.fsencode(run_dir)) - 1
    Server(run_dir / ("x" * room), Recorder())
    with pytest.raises(ValueError, match="more than 107 bytes"):
        Server(run_dir / ("x" * (room + 1)), Recorder())


_ORPHAN = """
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'mine\\n')
assert s.recv(10) == b'ok\\n'
child = os.fork()
if child == 0:
    time.sleep(60)
print(child, flush=True)
os._exit(0)
"""


async def test_a_hello_finds_connections_whose_process_is_gone_though_a_child_holds_the_descriptor(
    recorder: Recorder, run_dir: Path
) -> None:
    recorder.reply = lambda _client, _line: b"ok\n"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ORPHAN, os.fspath(run_dir / "a.sock"), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    child = int(await process.stdout.readline())
    await process.wait()
    try:
        reader, writer = await connect(run_dir)
        writer.write(b'{"id":1,"op":"status"}\n')
        await reader.readline()
        assert recorder.of("closed") == []  # no newcomer for a name: nobody is asked for
        writer.write(b'{"id":1,"op":"hello"}\n')
        await reader.readline()
        assert recorder.of("closed") == [("closed", 1, "its process is gone", True)]
        assert recorder.told[-1] == ("line", 2, b'{"id":1,"op":"hello"}')  # told before the newcomer's hello
        writer.close()
    finally:
        os.kill(child, 9)
        await process.stdout.read()  # the child held the pipe: its end comes before the loop's


async def test_a_flood_of_reads_delays_neither_what_acts_nor_other_clients(recorder: Recorder, run_dir: Path) -> None:
    recorder.reply = lambda _client, _line: b"ok\n"
    reader, flood = await connect(run_dir)
    other_reader, other = await connect(run_dir)
    await eventually(lambda: len(recorder.of("opened")) == 2, "both are in")
    read = b'{"id":1, "op" : "events"}'
    acts = [
        b'{"id":2,"op":"place"}',
        b'{"id":3,"op":"cancel"}',
        b'{"id":4,"op":"ping","show":{"x":"\\"op\\":\\"note\\""}}',
    ]
    flood.write(b"\n".join([read] * 1500 + acts) + b"\n")
    other.write(b"hello?\n")
    for _ in range(1503):
        assert await reader.readline() == b"ok\n"
    assert await other_reader.readline() == b"ok\n"
    got = [(client, line) for _, client, line in recorder.of("line")]
    assert [line for client, line in got if client == 1 and line != read] == acts  # in their order
    assert got.index((1, acts[-1])) < 200
    assert got.index((2, b"hello?")) < 200
    assert got.count((1, read)) == 1500
    flood.write(b"again\n")
    assert await reader.readline() == b"ok\n"  # it is read again
    for writer in (flood, other):
        writer.close()


async def test_a_client_that_leaves_in_the_middle_of_its_flood_ends_it(recorder: Recorder, run_dir: Path) -> None:
    def hang_up(client: int, line: bytes | TooLong) -> None:
        if line == b"40":
            assert recorder.server is not None
            recorder.server.hang_up(client, "enough")

    recorder.reply = hang_up
    _, writer = await connect(run_dir)
    writer.write(b"".join(b"%d\n" % number for number in range(1000)))
    await eventually(lambda: recorder.of("closed"), "hung up")
    await stays(lambda: recorder.of("line")[-1] == ("line", 1, b"40"), "no further line", for_s=0.02)
    writer.close()
