"""Books are checked against fresh snapshots while they serve; what waits and what is held is bounded."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gateway.core.book import MAX_LEVELS, MAX_TEXTS, Book, Side, _Sizes
from gateway.core.effects import Send
from gateway.core.governor import Governor
from gateway.core.inputs import Now
from gateway.core.market_data import Diff
from gateway.core.market_settings import MarketSettings
from gateway.core.sequencer import Buffer
from gateway.venues.binance import limits
from tests.gateway.market_rig import Rig, diff, snapshot
from tests.gateway.test_market_links import mark

S = 1_000_000_000
SETTINGS = MarketSettings(check_every_ms=60_000, snapshot_grace_ms=0)


class Exchange:
    """Books of its own, told by messages and snapshots; every symbol moves once in 100 ms."""

    def __init__(self, rng: random.Random, *symbols: str) -> None:
        self.rng = rng
        self.at = dict.fromkeys(symbols, 100)
        self.bids: dict[str, dict[str, str]] = {name: {"1000": "1"} for name in symbols}
        self.asks: dict[str, dict[str, str]] = {name: {"1001": "1"} for name in symbols}
        self.rig = Rig(market=SETTINGS)
        self.rig.serve(*symbols)
        self.rig.answers["/fapi/v1/depth"] = self.answer
        self.rig.start(*symbols)

    def answer(self, send: Send) -> tuple[int, Any]:
        name, limit = (value for _, value in send.params)
        bids = sorted(self.bids[name].items(), key=lambda row: -float(row[0]))[: int(limit)]
        asks = sorted(self.asks[name].items(), key=lambda row: float(row[0]))[: int(limit)]
        return 200, snapshot(self.at[name], [list(row) for row in bids], [list(row) for row in asks])

    def move(self, seconds: float, *, tell: bool = True) -> None:
        for step in range(round(seconds * 10)):
            for name in self.at:
                side, price = self.rng.choice((("b", self.rng.randint(900, 1000)), ("a", self.rng.randint(1001, 1100))))
                size = self.rng.choice(("0", str(self.rng.randint(1, 9)))) if price not in (1000, 1001) else "3"
                held = (self.bids if side == "b" else self.asks)[name]
                held[str(price)] = size
                if size == "0":
                    del held[str(price)]
                self.at[name] += 1
                at = self.at[name]
                levels = [[str(price), size]]
                if tell:
                    self.rig.feed(
                        diff(name, at, at, at - 1, levels if side == "b" else [], levels if side == "a" else [])
                    )
            if step % 10 == 0:
                for name in self.at:
                    self.rig.feed(mark(name, self.at[name]), "market")
            self.rig.wait(100)

    def checks(self) -> int:
        return self.rig.core.counters().get("book.check", 0)


def test_a_live_book_is_compared_with_a_fresh_snapshot_and_serves_on(seed: int) -> None:
    world = Exchange(random.Random(seed), "BTCUSDT")
    world.move(59)
    assert world.checks() == 0
    world.move(3)
    assert world.checks() == 1
    world.move(120)
    assert world.checks() == 3
    assert "book.gap" not in world.rig.subjects()
    record = world.rig.core._depth.get("BTCUSDT")
    assert record is not None
    assert record.shadow is None, "each check met"


@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_book_that_went_wrong_unseen_is_found_and_mended(seed: int, side: str) -> None:
    world = Exchange(random.Random(seed), "BTCUSDT")
    world.move(30)
    record = world.rig.core._depth.get("BTCUSDT")
    assert record is not None
    price = "899" if side == "bids" else "1101"  # where the market does not move: nothing else would ever mend it
    getattr(record.keeper.book, side).apply([(price, "7")])
    world.move(40)
    gaps = [event for event in world.rig.events if event.subject == "book.gap"]
    assert [gap.data["reason"] for gap in gaps] == ["check_failed"]
    said = [report.fields["detail"] for report in world.rig.reports if report.event == "book.gap"]
    assert said == [f"at {price}.0: 7.0 here, 0 in a fresh snapshot"]
    book = world.rig.book("BTCUSDT")
    assert book["state"] == "live"
    assert world.rig.core.counters()["book.check_failed"] == 1
    world.move(130)
    assert world.rig.core.counters()["book.check_failed"] == 1


def test_checks_of_many_books_are_spread_over_the_time_and_each_has_its_turn(seed: int) -> None:
    names = [f"S{n}USDT" for n in range(12)]
    world = Exchange(random.Random(seed), *names)
    world.move(50)
    before = len(world.rig.asked("/fapi/v1/depth"))
    most = 0
    for _ in range(80):
        asked = len(world.rig.asked("/fapi/v1/depth"))
        world.move(1)
        most = max(most, len(world.rig.asked("/fapi/v1/depth")) - asked)
    checked = {dict(send.params)["symbol"] for send in world.rig.asked("/fapi/v1/depth")[before:]}
    assert checked == set(names)
    assert most == 1, "never two in one second, with 12 books checked once a minute"
    assert "book.gap" not in world.rig.subjects()


def test_books_agree_as_far_as_both_know() -> None:
    ours, theirs = Book(), Book()
    ours.load([("10", "1"), ("9", "1"), ("5", "1")], [("11", "1"), ("12", "2")], limit=1000)
    theirs.load([("10", "1.0"), ("9", "1")], [("11", "1"), ("12", "2")], limit=2)
    assert ours.difference(theirs) is None, "below 9 the other knows nothing; 1.0 is 1"
    theirs.apply([("9.5", "1")], [])
    assert ours.difference(theirs) == "at 9.5: 0 here, 1.0 in a fresh snapshot"
    ours.apply([("9.5", "1")], [("12", "0")])
    assert ours.difference(theirs) == "at 12.0: 0 here, 2.0 in a fresh snapshot"


class TestBounds:
    def test_what_waits_for_a_snapshot_is_bounded_by_messages_and_by_levels(self) -> None:
        buffer = Buffer(5, 20)
        for n in range(1, 9):
            buffer.append(message(n, 1))
        assert [one.last_id for one in buffer] == [4, 5, 6, 7, 8]
        buffer.append(message(9, 16))
        assert ([one.last_id for one in buffer], buffer.levels) == ([5, 6, 7, 8, 9], 20)
        buffer.append(message(10, 1))
        assert ([one.last_id for one in buffer], buffer.levels) == ([6, 7, 8, 9, 10], 20)
        buffer.append(message(11, 5))
        assert ([one.last_id for one in buffer], buffer.levels) == ([10, 11], 6)
        buffer.append(message(12, 50))
        assert ([one.last_id for one in buffer], buffer.levels) == ([12], 50), "the newest is never dropped"
        buffer.clear()
        assert buffer.levels == 0

    def test_while_the_price_wanders_for_a_day_the_levels_held_and_remembered_stay_bounded(self, seed: int) -> None:
        rng = random.Random(seed)
        side, mid, most = Side(1.0, _Sizes()), 1_000_000, 0
        recent: dict[str, str] = {}
        for n in range(120_000):
            mid += rng.choice((1, 1, 1, 0))  # it drifts: what lies behind is never removed by anybody
            level = (f"{mid - rng.randint(0, 5)}", f"{rng.randint(1, 10**6)}")
            side.apply([level])
            recent[level[0]] = level[1]
            if len(recent) > 2_000:
                recent.pop(next(iter(recent)))
            if n % 97 == 0:
                most = max(most, len(side._slots), len(side._slots.by_key), len(side._sizes))
        assert most <= MAX_TEXTS + 1
        assert len(side._held()) <= MAX_TEXTS
        top = dict(side.top(20))
        assert top == {price: recent[price] for price in top}
        assert side.edge is not None, "what was cut is not said to be known"
        assert MAX_LEVELS < MAX_TEXTS

    def test_asking_again_and_again_through_a_ban_leaves_one_question_for_each_book(self) -> None:
        governor = Governor(limits)
        now = Now(0, 5 * S)
        governor.on_limit(now, 418, {"retry-after": "3600"}, b"{}")
        for serial in range(500):
            for symbol in ("A", "B"):
                assert governor.admit(now, Send(("market", "depth", symbol, serial), "GET", "/d", weight=20)) == []
        assert governor.take_refused() == []
        later = Now(0, 5 * S + 3_601 * S)
        assert [send.key for send in governor.release(later)] == [
            ("market", "depth", "A", 499), ("market", "depth", "B", 499),
        ]  # fmt: skip


def message(number: int, levels: int) -> Diff:
    return Diff(
        symbol="X", first_id=number, last_id=number, prev_id=number - 1, event_ms=0, bids=[("1", "1")] * levels, asks=[]
    )


class Governed(Rig):
    """What it asks for passes the rate governor first."""

    def __init__(self) -> None:
        self.governor = Governor(limits)
        self.left: list[tuple[int, int]] = []
        super().__init__()

    def _perform(self, effect: Any) -> None:
        if isinstance(effect, Send):
            self.leave(self.governor.admit(self.now, effect))
        else:
            super()._perform(effect)

    def leave(self, sends: list[Send]) -> None:
        for send in sends:
            self.left.append((self.now.boot_ns, send.weight))
            super()._perform(send)


def test_two_hundred_books_come_up_within_the_weight_budget_while_their_messages_wait() -> None:
    names = [f"S{n}USDT" for n in range(200)]
    rig = Governed()
    rig.serve(*names)
    at = 100

    def answer(send: Send) -> tuple[int, Any]:
        return 200, snapshot(at, [["10", "1"]], [["11", "1"]])

    rig.answers["/fapi/v1/depth"] = answer
    rig.start(*names)
    for second in range(200):
        at += 1
        for name in names:
            rig.feed(diff(name, at, at, at - 1, [], []))
        rig.feed(mark(names[0], second), "market")
        rig.wait(1_000, step_ms=250)
        rig.leave(rig.governor.release(rig.now))
        if all(rig.book(name)["state"] == "live" for name in names):
            break
    else:
        pytest.fail("not all are live after 200 s")
    times = [one for one, _ in rig.left]
    windows = [sum(weight for one, weight in rig.left if start <= one < start + 60 * S) for start in times]
    assert max(windows) <= 2_400 * 70 // 100
    assert len(rig.asked("/fapi/v1/depth")) <= 200 + 4, "hardly any was asked for twice"
    assert second > 60, "two hundred do not fit one minute's budget: the waiting was real"
