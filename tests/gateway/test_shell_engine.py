"""The engine: rows before effects, one input at a time, a full disk, faults of the core. The journal is a real one."""

from __future__ import annotations

import errno
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core.effects import (
    Answer,
    Connect,
    Disconnect,
    Effect,
    Exit,
    Probe,
    ReadEvents,
    Report,
    Send,
    SendFrame,
    Write,
)
from gateway.core.inputs import (
    ClientLine,
    Frame,
    Input,
    JournalBack,
    JournalFailed,
    Now,
    RestFailed,
    Shutdown,
    StreamAlive,
    Tick,
)
from gateway.core.rows import EventRow, FillRow, KvRow
from gateway.shell.engine import Engine
from gateway.shell.histogram import Latencies
from gateway.shell.journal import Journal
from gateway.shell.journal_log import LoggedJournal
from gateway.shell.publisher import Publisher
from ipc import wire
from ipc.events import Event
from tests.waiting import eventually

_INTENT = b'"intent":{"brain":"a","run":"r1","seq":1}'
PLACE = ClientLine(1, b'{"id":7,"op":"place",%s,"symbol":"B","side":"BUY","type":"MARKET","qty":"1"}' % _INTENT)
STATUS = ClientLine(1, b'{"id":8,"op":"status"}')


def event(seq: int) -> Write:
    return Write(EventRow(Event(seq=seq, at_ns=0, subject="order.sent", source="gateway")))


def send(name: str, *, repeatable: bool = False, order_path: bool = True, owner: str = "orders") -> Send:
    return Send((owner, name), "POST", "/x", order_path=order_path, repeatable=repeatable)


def accepted(request_id: int) -> Answer:
    return Answer(1, wire.encode(wire.Answer(id=request_id, ok=True, outcome="accepted")))


class Core:
    """Gives back what the test says for each input; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Input] = []
        self.script: Callable[[Input], list[Effect]] = lambda _item: []
        self.deadline_ns: int | None = None

    def start(self, _now: Now) -> list[Effect]:
        return []

    def step(self, _now: Now, item: Input) -> list[Effect]:
        if not isinstance(item, Tick):
            self.told.append(item)
        return self.script(item)

    def next_deadline_boot_ns(self) -> int | None:
        return self.deadline_ns

    def doubt_connection(self, _now: Now, conn: str, reason: str) -> list[Effect]:
        return [Disconnect(conn, reason)]


class World:
    """Keeps what was performed, in order; `on_order` lets a send fail at once, inside the call."""

    def __init__(self) -> None:
        self.done: list[tuple[str, Any]] = []
        self.on_order: Callable[[Send], None] = lambda _send: None

    def order(self, send: Send) -> bool:
        self.done.append(("order", send.key[1]))
        self.on_order(send)
        return True

    def rest(self, send: Send) -> None:
        self.done.append(("rest", send.key[1]))

    def connect(self, effect: Connect) -> None:
        self.done.append(("connect", effect.conn))

    def disconnect(self, effect: Disconnect) -> None:
        self.done.append(("disconnect", effect.conn))

    def send_frame(self, effect: SendFrame) -> None:
        self.done.append(("frame", effect.conn))

    def probe(self, effect: Probe) -> None:
        self.done.append(("probe", effect.conn))

    def answer(self, _client: int, line: bytes) -> None:
        self.done.append(("answer", json.loads(line)))

    def hang_up(self, client: int, reason: str) -> None:
        self.done.append(("hang up", (client, reason)))

    def ready(self) -> None:
        self.done.append(("ready", None))

    def leave(self, code: int, reason: str) -> None:
        self.done.append(("leave", (code, reason)))


class Logged:
    """Stands where structlog's logger does, and keeps the lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.lines.append((level, event, fields))


class Room:
    def __init__(self, path: Path, kind: type[Journal]) -> None:
        self.core, self.world, self.log = Core(), World(), Logged()
        self.journal = kind(path)
        publisher = Publisher(
            "main", begin_write=lambda: 0, render=lambda _key: None, all_keys=lambda: (), refused=lambda _reason: None,
            observe=lambda _hop, _us: None,
        )  # fmt: skip
        self.latencies = Latencies()
        self.engine = Engine(
            self.core, self.journal, publisher, self.world, self.log, self.latencies  # type: ignore[arg-type]
        )  # fmt: skip

    def fill_disk(self) -> None:
        """No further byte for whatever a commit writes to."""
        if isinstance(self.journal, LoggedJournal):
            self.put = self.journal._log._put
            self.journal._log._put = self.no_room  # type: ignore[assignment,method-assign]
            return
        pages = self.journal._db.execute("PRAGMA page_count").fetchone()[0]
        self.journal._db.execute(f"PRAGMA max_page_count={pages}")

    @staticmethod
    def no_room(_data: bytes) -> None:
        raise OSError(errno.ENOSPC, "database or disk is full")

    def free_disk(self) -> None:
        if isinstance(self.journal, LoggedJournal):
            self.journal._log._put = self.put  # type: ignore[method-assign]
            return
        self.journal._db.execute("PRAGMA max_page_count=1000000")

    def seqs(self) -> list[int]:
        return [row.seq for row in self.journal.read_events(0, 1000)[0]]


@pytest.fixture(params=[Journal, LoggedJournal])
async def room(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Room]:  # type: ignore[misc]
    room = Room(tmp_path / "j.sqlite", request.param)
    yield room
    room.engine.stop()
    room.journal.close()


async def test_rows_are_committed_before_anything_of_their_step_leaves(room: Room) -> None:
    seen: list[list[int]] = []
    room.world.on_order = lambda _send: seen.append(room.seqs())
    room.core.script = lambda item: [send("a"), event(1), accepted(7), event(2)] if item is PLACE else []
    room.engine.feed(PLACE)
    assert seen == [[1, 2]]
    assert [kind for kind, _ in room.world.done] == ["order", "answer"]
    assert room.latencies.summaries()["intent_to_socket"]["n"] == 1


async def test_what_comes_while_effects_are_performed_is_the_next_input(room: Room) -> None:
    order: list[str] = []

    def script(item: Input) -> list[Effect]:
        order.append(type(item).__name__)
        return [send("a"), Report("info", "after the send")] if item is PLACE else []

    room.core.script = script
    room.world.on_order = lambda one: room.engine.feed(RestFailed(one.key, False, "at once"))
    room.engine.feed(PLACE)
    assert order == ["ClientLine", "RestFailed"]
    assert room.log.lines == [("info", "after the send", {})]


async def test_ticks_come_by_the_deadline_and_at_least_every_100_ms(room: Room) -> None:
    ticks = 0

    def count(item: Input) -> list[Effect]:
        nonlocal ticks
        ticks += isinstance(item, Tick)
        return []

    room.core.script = count
    room.engine.start()
    await eventually(lambda: ticks >= 3, "a tick every 100 ms", 1.0)
    room.core.deadline_ns = 0  # long past: as often as the loop's timer can, which is once a millisecond
    room.engine.feed(StreamAlive("public"))
    before = ticks
    await eventually(lambda: ticks >= before + 20, "ticks by the deadline", 1.0)


async def test_with_a_full_disk_only_what_is_repeatable_leaves_and_nobody_is_told_otherwise(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.fill_disk()
    big = Write(KvRow("ledger", b"x" * 20_000))
    effects: list[Effect] = [
        big, event(1), send("place"), send("cancel", repeatable=True), send("leverage", owner="account"),
        send("depth", owner="market", order_path=False), accepted(7),
    ]  # fmt: skip
    room.core.script = lambda item: effects if item is PLACE else []
    room.engine.feed(PLACE)
    assert [entry for entry in room.world.done if entry[0] != "answer"] == [("order", "cancel"), ("rest", "depth")]
    (answer,) = [told for kind, told in room.world.done if kind == "answer"]
    assert (answer["id"], answer["ok"], answer["outcome"]) == (7, False, "unknown")
    assert answer["error"]["code"] == "gateway.journal"
    assert room.core.told[1:-1] == [
        RestFailed(("orders", "place"), False, "the journal cannot be written"),
        RestFailed(("account", "leverage"), False, "the journal cannot be written"),
    ]
    assert isinstance(room.core.told[-1], JournalFailed)
    assert ("error", "leaves without a journal", {"request": "orders/cancel"}) in room.log.lines
    assert room.engine.backlog() == 2

    room.free_disk()
    monkeypatch.setattr("gateway.shell.engine.RETRY_NS", 0)
    room.core.script = lambda item: [event(2), accepted(8)] if item is STATUS else []
    room.engine.feed(STATUS)
    assert room.seqs() == [1, 2]  # contiguous: the rows held back first
    assert room.journal.restore().kv["ledger"] == b"x" * 20_000
    assert room.world.done[-1][1]["ok"]
    assert isinstance(room.core.told[-1], JournalBack)
    assert room.engine.backlog() == 0


async def test_a_disk_that_stays_full_ends_the_process_before_memory_does(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.shell.engine.BACKLOG_ROWS", 3)
    monkeypatch.setattr("gateway.shell.engine.RETRY_NS", 0)
    room.fill_disk()
    room.core.script = lambda item: [Write(KvRow("k", b"x" * 20_000)), accepted(7)] if item is PLACE else []
    for _ in range(5):
        room.engine.feed(PLACE)
    assert [type(item) for item in room.core.told if item is not PLACE] == [JournalFailed]  # told once
    leaves = [told for kind, told in room.world.done if kind == "leave"]
    assert [code for code, _ in leaves] == [1]
    assert len([kind for kind, _ in room.world.done if kind == "answer"]) == 3


def broken(_item: Input) -> list[Effect]:
    raise ZeroDivisionError("a slip")


async def test_a_fault_while_reading_costs_one_answer(room: Room) -> None:
    room.core.script = broken
    room.engine.feed(STATUS)
    ((kind, answer),) = room.world.done
    assert (kind, answer["id"], answer["error"]["code"]) == ("answer", 8, "op.internal")
    (level, _, fields) = room.log.lines[0]
    assert level == "error"
    assert isinstance(fields["exc_info"], ZeroDivisionError)


@pytest.mark.parametrize("item", [PLACE, Tick(), Shutdown("x"), Frame("private", b"{}", 0, 0)])
async def test_a_fault_that_may_leave_wrong_state_ends_the_process(room: Room, item: Input) -> None:
    room.core.script = broken
    room.engine.feed(item)
    kind, (code, reason) = room.world.done[-1]
    assert (kind, code) == ("leave", 1)
    assert "journal is the truth" in reason
    if item is PLACE:
        assert room.world.done[0][1]["error"]["code"] == "op.internal"
    room.engine.feed(STATUS)
    assert room.world.done[-1][0] == "leave"  # nothing is handled any more


async def test_a_fault_on_market_data_rebuilds_that_connection_three_times_a_minute(room: Room) -> None:
    room.core.script = broken
    for _ in range(3):
        room.engine.feed(Frame("public", b"{}", 0, 0))
    assert room.world.done == [("disconnect", "public")] * 3
    room.engine.feed(Frame("public", b"{}", 0, 0))
    assert room.world.done[-1][0] == "leave"


async def test_events_are_answered_from_the_journal_in_pages_that_fit_a_line(room: Room) -> None:
    room.journal.commit([event(seq).row for seq in range(1, 6)])
    room.core.script = lambda _item: [ReadEvents(1, 9, 1, 3, ("order.*",), 5)]
    room.engine.feed(STATUS)
    ((_, answer),) = room.world.done
    assert [row["seq"] for row in answer["result"]] == [2, 3, 4]
    assert (answer["id"], answer["next"], answer["as_of"]) == (9, "4", 5)


async def test_an_exit_ends_it_once(room: Room) -> None:
    room.core.script = lambda _item: [Exit(0, "done"), Exit(1, "again")]
    room.engine.feed(STATUS)
    room.engine.feed(STATUS)
    assert room.world.done == [("leave", (0, "done"))]


async def test_a_fault_of_a_shell_ends_the_process(room: Room) -> None:
    def fail(_send: Send) -> None:
        raise RuntimeError("a slip")

    room.world.on_order = fail
    room.core.script = lambda _item: [event(1), send("a"), accepted(7)]
    room.engine.feed(PLACE)
    assert room.world.done[-1][0] == "leave"
    assert room.world.done[-1][1][0] == 1
    assert room.seqs() == [1]


async def test_a_slice_that_cannot_be_rendered_ends_the_process_instead_of_its_clock(room: Room) -> None:
    def broken(_now: Now, _key: str) -> bytes | None:
        raise ValueError("a slice")

    room.core.render = broken  # type: ignore[attr-defined]
    room.engine.start()
    assert room.engine.render("bs:main:BTCUSDT:book") is None
    room.engine.feed(Tick())
    assert [name for name, _ in room.world.done] == ["leave"]
    assert room.world.done[0][1][0] == 1
    assert "bs:main:BTCUSDT:book" in str(room.log.lines)


def in_sqlite(room: Room) -> int:
    """Events somebody sees who opens the file from outside."""
    with sqlite3.connect(f"file:{room.journal.path}?mode=ro", uri=True) as outside:
        count: int = outside.execute("SELECT count(*) FROM events").fetchone()[0]
    outside.close()
    return count


async def test_what_was_committed_is_in_sqlite_a_tick_later_though_nothing_else_happens(room: Room) -> None:
    room.engine.start()
    room.core.script = lambda item: [event(1), accepted(7)] if item is PLACE else []
    room.engine.feed(PLACE)
    assert in_sqlite(room) == (0 if isinstance(room.journal, LoggedJournal) else 1)
    await eventually(lambda: in_sqlite(room) == 1, "the tick folds the log", 10)
    assert room.journal.behind == 0


async def test_rows_sqlite_does_not_take_wait_in_the_log_and_orders_go_on(tmp_path: Path) -> None:
    room = Room(tmp_path / "j.sqlite", LoggedJournal)
    room.journal._db.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(tmp_path / "j.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    room.core.script = lambda item: [event(1), send("a")] if item is PLACE else []
    room.engine.start()
    room.engine.feed(PLACE)
    await eventually(lambda: bool(room.log.lines), "the fold failed and said so", 10)
    assert room.log.lines == [
        ("error", "SQLite takes no rows; they wait in the journal's log", {"error": "database is locked", "rows": 1})
    ]
    assert room.world.done == [("order", "a")]
    other.execute("ROLLBACK")
    other.close()
    await eventually(lambda: room.journal.behind == 0, "it takes them again", 10)
    assert room.seqs() == [1]
    room.engine.stop()
    room.journal.close()


async def test_rows_that_contradict_written_ones_end_the_process(tmp_path: Path) -> None:
    room = Room(tmp_path / "j.sqlite", LoggedJournal)
    fill = Write(FillRow("BTCUSDT", 1, "a", 5, b"{}"))
    room.core.script = lambda item: [fill, event(1)] if item is PLACE else [fill, event(2)] if item is STATUS else []
    room.engine.start()
    room.engine.feed(PLACE)
    room.engine.feed(STATUS)
    await eventually(lambda: bool(room.world.done), "the fold meets the second", 10)
    assert [(kind, what[0]) for kind, what in room.world.done] == [("leave", 1)]
    assert "a fill is written once" in str(room.log.lines)
    assert room.seqs() == [1, 2]  # the rest of its step is kept: events have no holes
    room.journal.close()
