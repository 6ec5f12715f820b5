"""The root of the core without any socket: routing, stopping, numbering above a stream, paging, exact replays."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.account_settings import AccountWish
from gateway.core.assembly import RootSettings
from gateway.core.build import CoreSettings, build
from gateway.core.effects import Answer, Connect, Disconnect, Effect, Exit, ReadEvents, Report, Send, Write
from gateway.core.gateway import Gateway
from gateway.core.inputs import (
    ClientLine,
    ClientOpened,
    Frame,
    Input,
    JournalBack,
    Now,
    RestFailed,
    RestReply,
    Shutdown,
    StoreState,
    StreamClosed,
    StreamOpened,
    Tick,
)
from gateway.core.market_settings import LinkSettings, MarketSettings
from gateway.core.order_settings import OrderSettings
from gateway.core.rights import Rights
from gateway.core.rows import EventRow, KvRow, Restored
from gateway.core.sessions import SessionSettings
from gateway.venues.binance.adapter import BINANCE_USDM
from gateway.venues.binance.endpoints import endpoints
from ipc.errors import CODES
from ipc.framing import MAX_LINE_BYTES
from ipc.slices import GatewaySlice, decode

MS = 1_000_000
NOTHING = Restored(1, (), (), (), (), (), {})


class Room:
    """A whole core and a clock; every input and what came of it is kept."""

    def __init__(self, seed: int = 1) -> None:
        settings = CoreSettings(
            root=RootSettings("main", "simex", "0", 1, ("BTCUSDT",), (), stop_within_ms=500),
            sessions=SessionSettings("main", "simex"),
            market=MarketSettings(),
            links=LinkSettings(),
            orders=OrderSettings(),
            wish=AccountWish(),
            endpoints=endpoints("simex", simex_rest="http://x", simex_ws="ws://x"),
            rights=Rights(1000),
        )
        self.ms = 1_000
        draw = random.Random(seed).random
        self.core: Gateway = build(
            settings, BINANCE_USDM.venue, NOTHING, self.now, epoch="E1", boot="b", new_tag="abcd", draw=draw
        )
        self.log: list[Effect] = list(self.core.start(self.now))

    @property
    def now(self) -> Now:
        return Now((self.ms + 10**12) * MS, self.ms * MS)

    def feed(self, item: Input, passed_ms: int = 1) -> list[Effect]:
        self.ms += passed_ms
        out = self.core.step(self.now, item)
        self.log += out
        return out

    def ask(self, **request: Any) -> dict[str, Any]:
        out = self.feed(ClientLine(1, json.dumps({"id": 1, **request}).encode()))
        (answer,) = [effect for effect in out if isinstance(effect, Answer)]
        found: dict[str, Any] = json.loads(answer.line)
        return found

    def events(self) -> list[tuple[int, str]]:
        rows = [effect.row for effect in self.log if isinstance(effect, Write)]
        return [(row.event.seq, row.event.subject) for row in rows if isinstance(row, EventRow)]

    def exits(self) -> list[Exit]:
        return [effect for effect in self.log if isinstance(effect, Exit)]


@pytest.fixture
def room() -> Room:
    room = Room()
    room.feed(ClientOpened(1, 1000, 7))
    return room


def test_a_start_journals_its_installation_and_epoch_before_it_asks_anything(room: Room) -> None:
    rows = [effect.row for effect in room.log if isinstance(effect, Write)]
    assert KvRow("install", b"abcd") in rows
    assert room.events()[0] == (1, "gateway.started")
    sends = {effect.path for effect in room.log if isinstance(effect, Send)}
    assert {"/fapi/v1/time", "/fapi/v1/exchangeInfo", "/fapi/v1/listenKey"} <= sends


def test_a_stream_ahead_of_the_journal_is_numbered_on_above_and_said(room: Room) -> None:
    before = room.events()[-1][0]
    room.feed(StoreState(up=True, stream_seq=500))
    assert room.events()[-1] == (501, "journal.gap")
    gap = next(
        e.row.event for e in room.log if isinstance(e, Write) and isinstance(e.row, EventRow) and e.row.event.seq == 501
    )
    assert gap.data == {"stream_seq": 500, "journal_seq": before}
    assert room.ask(op="ping")["as_of"] == 501


def test_a_stop_with_nothing_open_ends_with_0_and_closes_the_connections(room: Room) -> None:
    for name in ("public", "market"):
        room.feed(StreamOpened(name))
    out = room.feed(Shutdown("SIGTERM"))
    assert [effect for effect in out if isinstance(effect, Exit)] == []
    assert room.events()[-1][1] == "gateway.stopping"
    out = room.feed(Tick())
    assert [effect.code for effect in out if isinstance(effect, Exit)] == [0]
    opened = {effect.conn for effect in room.log if isinstance(effect, Connect)}
    assert {effect.conn for effect in out if isinstance(effect, Disconnect)} == opened
    room.feed(Tick(), 5000)
    assert len(room.exits()) == 1


def test_two_signals_at_once_are_one_wish_and_a_later_one_ends_it_with_1(room: Room) -> None:
    room.feed(Shutdown("SIGINT"))
    room.feed(Shutdown("SIGTERM"), 1400)
    assert room.exits() == []
    room.feed(Shutdown("SIGINT"), 200)
    assert [effect.code for effect in room.exits()] == [1]


@pytest.mark.parametrize("number", [0, 7, 10**15 - 1, 10**15, 2**53])
def test_a_bare_ping_is_answered_as_one_that_takes_the_long_way(room: Room, number: int) -> None:
    """However it is written, with the same lease behind it."""
    room.ask(op="hello", brain="macd", run="r5", symbols=["BTCUSDT"])
    brain = room.core._parts.sessions.brains.registered("macd")
    lines = [b'{"op":"ping","id":%d}' % number, b'{"id": %d, "op": "ping"}' % number]
    for line in lines:
        room.ms += 100
        (answer,) = room.feed(ClientLine(1, line))
        assert isinstance(answer, Answer)
        told = {"id": number, "ok": True, "as_of": room.core._log.last, "result": {"epoch": "E1"}}
        assert (answer.client, json.loads(answer.line)) == (1, told)
        assert brain.lease_until_boot_ns == room.now.boot_ns + 3000 * MS
    assert room.core._parts.sessions._sessions[1].pending == 0
    wrong = [b'{"op":"ping","id":007}', b'{"op":"ping","id":%d}' % (2**53 + 1), b'{"op":"ping","id":-1}']
    for line in wrong:
        (answer,) = room.feed(ClientLine(1, line))
        assert isinstance(answer, Answer) and not json.loads(answer.line)["ok"]


def test_a_bare_ping_brings_back_a_brain_whose_lease_had_ended(room: Room) -> None:
    room.ask(op="hello", brain="macd", run="r5", symbols=["BTCUSDT"])
    room.feed(ClientLine(1, b'{"op":"ping","id":1}'))
    for _ in range(40):
        room.feed(Tick(), 100)
    assert not room.core._parts.sessions.brains.registered("macd").alive
    room.feed(ClientLine(1, b'{"op":"ping","id":2}'))
    assert room.core._parts.sessions.brains.registered("macd").alive


def test_while_stopping_entries_are_refused_and_status_says_not_ready(room: Room) -> None:
    room.ask(op="hello", brain="macd", run="r1", symbols=["BTCUSDT"])
    room.feed(Shutdown("SIGTERM"))
    intent = {"brain": "macd", "run": "r1", "seq": 1}
    answer = room.ask(op="place", intent=intent, symbol="BTCUSDT", side="BUY", type="MARKET", qty="0.1")
    assert answer["error"]["code"] == "gateway.stopping"
    assert room.ask(op="ping")["ok"]


HELLO = {"op": "hello", "brain": "macd", "run": "r5", "strategy": "macd", "symbols": ["BTCUSDT"], "intervals": []}


def lost_brain(room: Room) -> None:
    """Its lease is over, and the grace before its position is closed has begun."""
    room.ask(**HELLO)
    for _ in range(40):
        room.feed(Tick(), 100)
    assert room.events()[-1][1] == "brain.lost"
    assert flattened(room) == []


def flattened(room: Room) -> list[bytes]:
    rows = [effect.row for effect in room.log if isinstance(effect, Write)]
    return [row.value for row in rows if isinstance(row, KvRow) and row.key == "flatten:BTCUSDT"]


def test_a_brain_that_asks_again_during_a_stall_of_ours_is_heard_before_it_is_flattened(room: Room) -> None:
    lost_brain(room)
    room.feed(Tick(), 12_000)  # its `ping` waits in the socket, and the loop looks at its timers first
    room.ask(op="ping")
    for _ in range(150):
        room.feed(Tick(), 100)
        room.ask(op="ping")
    assert flattened(room) == []


def test_a_brain_that_stays_silent_after_a_stall_of_ours_is_flattened_a_lease_later(room: Room) -> None:
    lost_brain(room)
    room.feed(Tick(), 12_000)
    for _ in range(29):
        room.feed(Tick(), 100)
    assert flattened(room) == []
    room.feed(Tick(), 100)
    assert len(flattened(room)) == 1


def test_a_journal_that_works_again_means_a_new_start(room: Room) -> None:
    room.feed(JournalBack())
    assert [effect.code for effect in room.exits()] == [1]


def test_what_the_governor_cannot_take_comes_back_to_its_owner_unsent_and_nothing_loops(room: Room) -> None:
    ban = b'{"code":-1003,"msg":"Way too many requests; IP(1.2.3.4) banned until %d."}' % (room.now.wall_ms + 600_000)
    room.feed(RestReply(("links", "time", 0), 418, {"retry-after": "600"}, ban))
    reports = [effect for effect in room.log if isinstance(effect, Report) and effect.event == "the exchange limits us"]
    assert [report.fields["status"] for report in reports] == [418]
    count = len([effect for effect in room.log if isinstance(effect, Send)])
    for _ in range(50):
        room.feed(Tick(), 100)
    assert len([effect for effect in room.log if isinstance(effect, Send)]) == count  # silence is kept


def test_reads_answer_without_touching_the_journal(room: Room) -> None:
    status = room.ask(op="status")["result"]
    raw = room.core.render(room.now, "bs:main:gateway")
    assert raw is not None
    shown = decode(GatewaySlice, raw)
    assert (status["environment"], status["ready"], shown.ready, shown.risk) == ("simex", False, False, "running")
    assert room.ask(op="account")["ok"]
    assert room.ask(op="position")["ok"]
    assert room.ask(op="book", symbol="BTCUSDT")["error"]["code"] in CODES
    out = room.feed(ClientLine(1, b'{"id":4,"op":"events","after":3,"limit":9,"subjects":["order.*"]}'))
    assert out == [ReadEvents(1, 4, 3, 9, ("order.*",), room.events()[-1][0])]
    assert room.core.keys()[-1] == "bs:main:gateway"


def test_a_page_that_would_not_fit_a_line_has_fewer_rows(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def page(_symbol: str, limit: int, _token: str | None) -> tuple[dict[str, Any], str | None]:
        asked.append(limit)
        return {"rows": ["x" * 200] * limit}, "more"

    monkeypatch.setattr(room.core._parts.market, "book_page", page)
    out = room.feed(ClientLine(1, b'{"id":4,"op":"book","symbol":"BTCUSDT","limit":1000}'))
    (answer,) = [effect for effect in out if isinstance(effect, Answer)]
    assert len(answer.line) <= MAX_LINE_BYTES
    assert asked == [1000, 500, 250]
    assert json.loads(answer.line)["next"] == "more"


def test_two_parts_that_answer_each_other_for_ever_are_stopped(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Send(("market", "x"), "GET", "/x")
    monkeypatch.setattr(room.core._parts.governor, "admit", lambda _now, one: [])
    monkeypatch.setattr(room.core._parts.governor, "refused", [send])
    monkeypatch.setattr(room.core._parts.governor, "take_refused", lambda: [send])
    monkeypatch.setattr(room.core, "_replies", {"market": lambda _now, _reply: [send]})
    with pytest.raises(RuntimeError, match="effects and signals in one step"):
        room.feed(RestFailed(("market", "x"), False, "x"))


BODIES = [b'{"serverTime":1000000002000}', b'{"listenKey":"abc"}', b"<html>", b"{}", b"[]", b"", b'{"code":-1021}']


@dataclass(frozen=True)
class Reply:
    """An answer to one of the requests made so far; status 0: no answer."""

    which: int
    status: int
    body: bytes

    def to(self, sends: list[Send]) -> Input:
        send = sends[self.which % len(sends)]
        if self.status == 0:
            return RestFailed(send.key, True, "no answer")
        return RestReply(send.key, self.status, {}, self.body)


REQUESTS: list[dict[str, Any]] = [
    {"op": "ping"},
    {"op": "status"},
    {"op": "orders"},
    {"op": "risk"},
    {"op": "risk", "action": "pause"},
    {"op": "hello", "brain": "a", "run": "r1", "symbols": ["BTCUSDT"], "intervals": ["1m"]},
    {
        "op": "place",
        "intent": {"brain": "a", "run": "r1", "seq": 1},
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "qty": "1",
    },
    {"op": "cancel", "intent": {"brain": "a", "run": "r1", "seq": 1}},
    {"op": "cancel_all"},
    {"op": "flatten"},
    {"op": "note", "subject": "brain.signal", "data": {"a": 1}},
    {"op": "bars", "symbol": "X"},
]

INPUTS = st.one_of(
    st.just(Tick()),
    st.sampled_from(REQUESTS).map(lambda request: ClientLine(1, json.dumps({"id": 1, **request}).encode())),
    st.sampled_from(["public", "market", "private"]).map(StreamOpened),
    st.sampled_from(["public", "market", "private"]).map(lambda conn: StreamClosed(conn, "cut")),
    st.tuples(st.sampled_from(["public", "market", "private"]), st.binary(max_size=60)).map(
        lambda pair: Frame(pair[0], pair[1], 0, 0)
    ),
    st.tuples(st.integers(0, 99), st.sampled_from([0, 200, 400, 429, 503]), st.sampled_from(BODIES)).map(
        lambda three: Reply(*three)
    ),
    st.booleans().map(lambda up: StoreState(up, "x")),
    st.just(Shutdown("x")),
)  # fmt: skip


@given(st.lists(st.tuples(INPUTS, st.integers(0, 400)), max_size=40))
def test_any_inputs_in_any_order_never_raise_number_events_without_gaps_and_replay_exactly(
    inputs: list[tuple[Input | Reply, int]],
) -> None:
    logs = []
    for _ in range(2):
        room = Room()
        room.feed(ClientOpened(1, 1000, 7))
        for item, passed_ms in inputs:
            sends = [effect for effect in room.log if isinstance(effect, Send)]
            room.feed(item.to(sends) if isinstance(item, Reply) else item, passed_ms)
        assert [seq for seq, _ in room.events()] == list(range(1, len(room.events()) + 1))
        keys = room.core.keys()
        assert len(keys) == len(set(keys))
        for key in keys:
            room.core.render(room.now, key)
        logs.append(room.log)
    assert logs[0] == logs[1]
