"""Slices and events against a real Redis: order, atomicity, windows, kills, streams ahead of the journal."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gateway.core.inputs import StoreState
from gateway.core.rows import EventRow
from gateway.shell.journal import Journal
from gateway.shell.publisher import IN_FLIGHT, Publisher, window_ns
from gateway.shell.redis_store import RedisStore
from ipc.clock import boot_ns
from ipc.events import Event, decode
from ipc.redis_server import PrivateRedis, start_private
from tests.waiting import eventually, pause, sampled

STREAM = "bs:main:events"
BOOK, BARS, POSITION = "bs:main:BTCUSDT:book", "bs:main:BTCUSDT:bars:5m", "bs:main:BTCUSDT:position"


class Room:
    """A publisher with its store and journal; slices are numbered texts, so that each write is seen."""

    def __init__(self, url: str, folder: Path) -> None:
        self.journal = Journal(folder / "main.journal.sqlite")
        self.states: list[StoreState] = []
        self.samples: list[tuple[str, float]] = []
        self.names = [BOOK, BARS, POSITION]
        self.sequence = 0
        self.as_of = 0
        self.publisher = Publisher(
            "main",
            begin_write=self._begin,
            render=lambda name: f"{name.rpartition(':')[2]} {self.sequence} as_of {self.as_of}".encode(),
            all_keys=lambda: self.names,
            refused=lambda reason: self.store.refused(reason),
            observe=lambda hop, us: self.samples.append((hop, us)),
        )
        self.store = RedisStore(url, "main", self.journal, self.publisher, self._tell)
        self.client = redis.Redis.from_url(url)

    def _begin(self) -> None:
        self.sequence += 1

    def _tell(self, state: StoreState) -> None:
        self.states.append(state)
        if state.stream_seq is not None:  # what the core does: number on above it, and say so
            self.event(state.stream_seq + 1, "journal.gap", symbol=None)

    def event(self, seq: int, subject: str = "order.sent", symbol: str | None = "BTCUSDT") -> None:
        event = Event(seq=seq, at_ns=seq, subject=subject, source="gateway", symbol=symbol)
        recorded = self.journal.commit([EventRow(event)])
        self.as_of = seq
        self.publisher.event(recorded, boot_ns())
        self.publisher.dirty([POSITION], boot_ns())
        self.publisher.flush()

    def stream(self) -> list[int]:
        rows: list[Any] = self.client.xrange(STREAM)  # type: ignore[assignment]
        for key, fields in rows:
            assert decode(fields[b"e"]).seq == int(key.partition(b"-")[0])
        return [int(key.partition(b"-")[0]) for key, _ in rows]

    def get(self, name: str) -> str:
        return (self.client.get(name) or b"").decode()  # type: ignore[union-attr]

    async def up(self) -> None:
        await eventually(lambda: self.publisher.up, "the store is up")

    async def close(self) -> None:
        await self.store.close()
        self.client.close()
        self.journal.close()


@pytest.fixture
async def room(redis_url: str, tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(redis_url, tmp_path)
    yield room
    await room.close()


@pytest.fixture
def own_redis() -> Iterator[tuple[PrivateRedis, Path]]:
    """A server of this test alone: it is killed in it."""
    path = Path(tempfile.mkdtemp(prefix="bs-kill-", dir="/tmp"))
    server = start_private(path)
    yield server, path
    server.stop()
    shutil.rmtree(path, ignore_errors=True)


async def test_a_first_connection_brings_the_stream_up_to_the_journal_and_then_all_slices(room: Room) -> None:
    for seq in range(1, 451):  # more than two scripts
        room.event(seq)
    room.store.start()
    await eventually(lambda: room.get(BARS), "slices are there")
    assert room.stream() == list(range(1, 451))
    assert room.states == [StoreState(up=True)]
    assert room.get(POSITION).endswith("as_of 450")


async def test_an_event_is_never_behind_a_slice_that_includes_it(room: Room) -> None:
    room.store.start()
    await room.up()
    read_both = "return {redis.call('GET', KEYS[1]), redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)}"
    pair = room.client.register_script(read_both)
    for seq in range(1, 60):
        room.event(seq)
        await pause(0.0005 * (seq % 4))
        position, last = await asyncio.to_thread(pair, keys=[POSITION, STREAM])
        shown = int((position or b"0").rpartition(b" ")[2])
        assert shown <= (int(last[0][0].partition(b"-")[0]) if last else 0)
    await eventually(lambda: room.get(POSITION).endswith("as_of 59"), "the last one is shown")
    assert room.stream() == list(range(1, 60))


async def test_the_first_change_is_written_at_once_and_what_follows_joins_the_next_write(room: Room) -> None:
    room.store.start()
    await room.up()
    listener = room.client.pubsub()  # type: ignore[no-untyped-call]
    listener.subscribe("bs:main:BTCUSDT:wake")
    await eventually(lambda: room.publisher.writes >= 2 and not room.publisher._dirty, "the start is over")
    published = room.publisher
    await eventually(
        lambda: boot_ns() - published._last_write_ns > 5 * published._window_ns,
        "the last write is longer ago than the window",
    )
    before = room.publisher.writes
    room.publisher.dirty([BOOK], boot_ns())
    room.publisher.flush()
    assert room.publisher.writes == before + 1
    wrote_ns = published._last_write_ns
    for _ in range(50):
        room.publisher.dirty([BOOK], boot_ns())
        room.publisher.flush()
    windows = (boot_ns() - wrote_ns) // published._window_ns
    assert room.publisher.writes <= before + 1 + windows, "at most one write a window"
    await eventually(lambda: room.publisher.writes >= before + 2, "the rest is written")
    kinds = []
    async with asyncio.timeout(20):
        while "message" not in kinds:
            message = await asyncio.to_thread(listener.get_message, timeout=0.1)
            kinds += [message["type"]] if message else []
    listener.close()
    assert any(hop == "frame_to_slice" and us < 1e6 for hop, us in room.samples)


async def test_every_slice_is_rewritten_within_100_ms_but_those_of_change_only_once(room: Room) -> None:
    room.store.start()
    await room.up()
    await eventually(lambda: room.get(BARS), "bars are there")
    bars = room.get(BARS)
    began_ns, before = boot_ns(), int(room.get(BOOK).split()[1])
    await eventually(lambda: int(room.get(BOOK).split()[1]) >= before + 10, "ten more", timeout_s=20)
    assert boot_ns() - began_ns > 850_000_000, "not more often than every 100 ms"
    assert room.get(BARS) == bars
    room.publisher.dirty([BARS], boot_ns())
    room.publisher.flush()
    await eventually(lambda: room.get(BARS) != bars, "a change is written")


@pytest.mark.parametrize("lost", ["everything", "one slice"])
async def test_a_slice_of_change_that_redis_lost_comes_back_by_itself(room: Room, lost: str) -> None:
    room.store.start()
    await eventually(lambda: room.get(BARS), "slices are there")
    first = room.get(BARS)
    if lost == "everything":
        room.client.flushall()
    else:
        room.client.delete(BARS)
    await eventually(lambda: room.get(BARS), "it is back", timeout_s=20)
    again = room.get(BARS)
    assert again != first
    written = room.publisher.writes
    await eventually(lambda: room.publisher.writes > written + 15, "a second of writes", timeout_s=20)
    assert room.get(BARS) == again, "written once, not for ever"
    assert len(room.states) == 1, "on the same connection"


async def test_a_second_or_older_append_is_refused_with_its_slices_and_the_journal_decides(room: Room) -> None:
    room.store.start()
    await room.up()
    room.event(1)
    await eventually(lambda: room.stream() == [1], "the first is there")
    room.client.xadd(STREAM, {"e": b'{"seq":5,"at_ns":0,"subject":"x","source":"y"}'}, id="5-0")  # somebody else
    room.event(2)
    await eventually(lambda: room.states[-1].stream_seq == 5, "the store looked again")
    await room.up()
    assert room.states[1:] == [StoreState(up=False, reason=room.states[1].reason), StoreState(up=True, stream_seq=5)]
    assert "REFUSED" in room.states[1].reason
    await eventually(lambda: room.stream() == [1, 5, 6], "numbering goes on above")
    room.event(7)
    await eventually(lambda: room.stream() == [1, 5, 6, 7], "and on")
    await eventually(lambda: room.get(POSITION).endswith("as_of 7"), "slices too")


async def test_a_refused_append_leaves_the_slices_as_they_were(room: Room) -> None:
    room.store.start()
    await room.up()
    room.event(1)
    await eventually(lambda: room.get(POSITION).endswith("as_of 1"), "as of the first")
    before = room.publisher.writes
    room.client.xadd(STREAM, {"e": b"{}"}, id="9-0")
    room.store.start = lambda: None  # type: ignore[method-assign]
    room.store._connect_timeout_s = 0.0  # no new connection: what the refused script did alone is looked at
    room.event(2)
    await eventually(lambda: not room.publisher.up, "given up")
    assert room.publisher.writes > before
    assert room.get(POSITION).endswith("as_of 1")


async def test_kill_9_of_redis_loses_no_event_and_stops_nothing(
    own_redis: tuple[PrivateRedis, Path], tmp_path: Path
) -> None:
    server, folder = own_redis
    room = Room(server.url, tmp_path)
    room.store.start()
    await room.up()
    for seq in range(1, 21):
        room.event(seq)
    os.kill(server.pid, signal.SIGKILL)
    for seq in range(21, 41):
        room.event(seq)
    await eventually(lambda: not room.publisher.up, "gone")
    for seq in range(41, 61):
        room.event(seq)
    again = start_private(folder)
    try:
        assert again.url == server.url
        await eventually(lambda: room.publisher.up, "back", 10)
        for seq in range(61, 71):
            room.event(seq)
        await eventually(lambda: room.get(POSITION).endswith("as_of 70"), "all shown")
        assert room.stream() == list(range(1, 71))
        assert [state.up for state in room.states] == [True, False, True]
    finally:
        await room.close()
        again.stop()


async def test_a_redis_that_stops_answering_is_given_up_and_holds_nobody_back(
    own_redis: tuple[PrivateRedis, Path], tmp_path: Path
) -> None:
    server, _ = own_redis
    room = Room(server.url, tmp_path)
    room.store.start()
    await room.up()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        started = asyncio.get_running_loop().time()
        for seq in range(1, 301):
            room.event(seq)
            await asyncio.sleep(0)
        assert asyncio.get_running_loop().time() - started < 2.0
        assert room.publisher._link is None or room.publisher._link.waiting <= 4 * IN_FLIGHT + 4
        await eventually(lambda: not room.publisher.up, "given up", 8)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    await eventually(lambda: room.publisher.up, "back", 10)
    await eventually(lambda: room.stream() == list(range(1, 301)), "all of them, once")
    await room.close()


async def test_the_stream_is_bounded_and_a_far_behind_one_gets_only_what_it_can_hold(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.shell.redis_store.MAX_STREAM", 300)
    monkeypatch.setattr("gateway.shell.publisher.MAX_STREAM", 300)
    for seq in range(1, 1001):
        room.event(seq)
    room.store.start()
    await room.up()
    stream = room.stream()
    assert stream[-1] == 1000
    assert stream == list(range(stream[0], 1001))
    assert 300 <= len(stream) <= 500  # `~`: whole nodes are dropped


async def test_what_is_pending_at_the_end_is_written_before_it_closes(redis_url: str, tmp_path: Path) -> None:
    room = Room(redis_url, tmp_path)
    room.store.start()
    await room.up()
    for seq in range(1, 6):
        room.event(seq)
    await room.store.close()
    assert room.stream() == [1, 2, 3, 4, 5]
    await room.close()


@pytest.mark.parametrize(("symbols", "ms"), [(0, 1), (20, 1), (21, 6), (30, 51), (40, 100), (500, 100)])
def test_the_window_widens_above_20_symbols_to_at_most_100_ms(symbols: int, ms: int) -> None:
    assert window_ns(symbols) == ms * 1_000_000


@pytest.mark.parametrize("count", [200, 201, 450, 2500])
async def test_any_number_of_events_of_one_step_arrives_once_and_in_order(room: Room, count: int) -> None:
    """Up to a script's worth, several scripts, and more than are held: those follow from the journal."""
    room.store.start()
    await room.up()
    rows = [EventRow(Event(seq=seq, at_ns=0, subject="order.sent", source="gateway")) for seq in range(1, count + 1)]
    room.publisher.event(room.journal.commit(rows), boot_ns())
    room.as_of = count
    room.publisher.dirty([POSITION], boot_ns())
    room.publisher.flush()
    await eventually(lambda: room.get(POSITION).endswith(f"as_of {count}"), "the slice shows the last")
    assert room.stream() == list(range(1, count + 1))


async def test_a_password_and_a_database_of_the_url_are_used_and_a_wrong_one_is_said_without_it(
    own_redis: tuple[PrivateRedis, Path], tmp_path: Path
) -> None:
    server, _ = own_redis
    client = redis.Redis.from_url(server.url)
    client.config_set("requirepass", "s3cret-word")
    path = server.url.removeprefix("unix://")
    wrong = Room(f"unix://:wrong-word@{path}?db=2", tmp_path)
    wrong.store.start()
    await eventually(lambda: wrong.states, "it says why")
    assert not wrong.states[0].up
    assert "wrong-word" not in wrong.states[0].reason
    assert not wrong.publisher.up
    wrong.client.close()
    await wrong.store.close()
    wrong.journal.close()
    right = Room(f"unix://:s3cret-word@{path}?db=2", tmp_path)
    right.store.start()
    await right.up()
    right.event(1)
    there = redis.Redis.from_url(server.url, password="s3cret-word", db=2)
    await eventually(lambda: there.xlen(STREAM) == 1, "it is in database 2")
    for each in (client, there):
        each.close()
    await right.close()


async def test_an_append_refused_for_a_moment_leaves_no_hole_behind_those_already_on_their_way(room: Room) -> None:
    room.store.start()
    await room.up()
    room.event(1)
    await eventually(lambda: room.stream() == [1], "the first is there")
    good = room.publisher._sha
    room.publisher._last_append_ns = 0
    room.publisher._sha = b"0" * 40  # Redis will not know it: NOSCRIPT, as after SCRIPT FLUSH; OOM and BUSY are alike
    room.event(2)
    room.publisher._sha = good
    room.publisher._last_append_ns = 0
    room.event(3)  # in the same turn of the loop: both are on their way before the first answer
    await eventually(lambda: len(room.states) >= 3 and room.publisher.up, "given up and made anew")
    await eventually(lambda: room.get(POSITION).endswith("as_of 3"), "all shown")
    assert room.stream() == [1, 2, 3]


async def test_a_stream_somebody_deletes_goes_on_without_a_new_connection(room: Room) -> None:
    room.store.start()
    await room.up()
    room.event(1)
    await eventually(lambda: room.stream() == [1], "the first is there")
    room.client.delete(STREAM)
    room.event(2)
    await eventually(lambda: room.stream() == [2], "the journal has the rest")
    room.client.xdel(STREAM, "2-0")  # an entry less is no hole: the last generated id counts
    room.event(3)
    await eventually(lambda: room.stream() == [3], "and on")
    assert room.states == [StoreState(up=True)]


async def test_a_full_redis_is_tried_calmly_said_once_and_made_good_when_it_has_room(
    own_redis: tuple[PrivateRedis, Path], tmp_path: Path
) -> None:
    server, _ = own_redis
    room = Room(server.url, tmp_path)
    room.store.start()
    await room.up()
    room.event(1)
    await eventually(lambda: room.stream() == [1], "the first is there")
    room.client.config_set("maxmemory", "1")
    await eventually(lambda: not room.publisher.up, "given up")
    before = room.store.connections
    assert len(await sampled(lambda: room.publisher.writes, for_s=2.0, every_s=0.01)) > 5
    assert room.store.connections - before <= 8
    assert sum(not state.up for state in room.states) <= 8
    assert "OOM" in next(state.reason for state in room.states if not state.up)
    room.event(2)
    before = len(room.states)
    await eventually(lambda: len(room.states) > before, "what cannot be appended is said")
    room.client.config_set("maxmemory", "0")
    room.event(3)
    await eventually(lambda: room.stream() == [1, 2, 3], "all of them, once", 10)
    await eventually(lambda: room.get(POSITION).endswith("as_of 3"), "all shown", 10)
    await room.close()


async def test_a_journal_that_cannot_be_read_for_a_moment_does_not_end_the_store(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [sqlite3.OperationalError("disk I/O error")]
    read = room.journal.read_events

    def once(*args: Any, **more: Any) -> Any:
        if faults:
            raise faults.pop()
        return read(*args, **more)

    monkeypatch.setattr(room.journal, "read_events", once)
    room.event(1)
    room.store.start()
    await eventually(lambda: room.states, "it is said")
    assert (room.states[0].up, "disk I/O" in room.states[0].reason) == (False, True)
    await eventually(lambda: room.stream() == [1], "and read again")
