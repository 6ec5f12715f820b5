"""Reconciliation against a model exchange: it ends equal to the exchange, finds what is wrong once, and only that."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.effects import Send
from gateway.core.signals import ClockSuspect, Holdback, KeyDoubt, ReadyChanged, RestrictBrain
from gateway.core.venue_orders import VenueOrder
from gateway.venues.binance.user_frames import parse_user_frame
from tests.gateway.account_model import MS, Harness, ModelExchange, ModelOrder, d, restored_from
from tests.gateway.account_with_orders import RealHarness

BTC, ETH = "BTCUSDT", "ETHUSDT"
FRAME_DELAY_MS = 300  # the stream of a healthy exchange is never later than this


class Traffic:
    """A healthy exchange under random traffic: requests are served and answered late, frames come a little late."""

    def __init__(self, harness: Harness, rng: random.Random, symbols: tuple[str, ...] = (BTC, ETH)) -> None:
        self.h = harness
        self.rng = rng
        self.symbols = symbols
        self.served: list[tuple[Send, int, bytes]] = []
        self.count = 0

    def step(self, act: bool = True) -> None:
        exchange, rng = self.h.exchange, self.rng
        if act and rng.random() < 0.5:
            self._act()
        self._deliver(late_only=rng.random() < 0.5)
        for send in list(self.h.sends):
            if rng.random() < 0.6:
                self.h.sends.remove(send)
                self.served.append((send, *exchange.answer(send)))
        for item in list(self.served):
            if rng.random() < 0.6:
                self.served.remove(item)
                self.h.reply(*item)
        self.h.tick()
        self.h.advance(rng.choice((1, 10, 40, 100)))

    def _deliver(self, *, late_only: bool) -> None:
        exchange = self.h.exchange
        while exchange.frames:
            late = json.loads(exchange.frames[0])["E"] + FRAME_DELAY_MS < exchange.now_ms + 100
            if late_only and not late:
                return
            self.h.next_frame()

    def _act(self) -> None:
        exchange, rng = self.h.exchange, self.rng
        symbol = rng.choice(self.symbols)
        live = [o for o in exchange.orders.values() if o.status in ("NEW", "PARTIALLY_FILLED") and o.symbol == symbol]
        what = rng.random()
        if what < 0.1:
            exchange.transfer(d(rng.randint(-50, 50)) + d("0.5"))
        elif what < 0.45 or not live:
            self.count += 1
            name = f"bs-{self.count}" if rng.random() < 0.8 else f"web_{self.count}"
            side: Literal["BUY", "SELL"] = "BUY" if rng.random() < 0.5 else "SELL"
            exchange.place(symbol, side, d(rng.randint(1, 5)), d(rng.randint(90, 110)), name)
        elif what < 0.6:
            exchange.cancel(rng.choice(live))
        else:
            order = rng.choice(live)
            left = int(order.qty - order.filled)
            exchange.fill(order, d(rng.randint(1, left)))

    def settle(self, seconds: int) -> None:
        """No new events; everything still under way arrives."""
        until = self.h.exchange.now_ms + seconds * 1000
        while self.h.exchange.now_ms < until:
            self.step(act=False)


def harness_with(exchange: ModelExchange) -> Harness:
    harness = Harness(exchange)
    harness.start()
    return harness


def order_of(exchange: ModelExchange, symbol: str = BTC, name: str = "bs-900", qty: int = 4) -> ModelOrder:
    return exchange.place(symbol, "BUY", d(qty), d(100), name)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), real=st.booleans())
def test_healthy_traffic_ends_equal_and_without_a_difference(seed: int, real: bool) -> None:
    """With a model of the order core, and with the real one (which asks the exchange on its own account, too)."""
    harness = (RealHarness if real else Harness)(ModelExchange((BTC, ETH)))
    traffic = Traffic(harness, random.Random(seed))
    for _ in range(20):  # the account is already busy when the gateway comes
        traffic._act()
    harness.exchange.frames.clear()
    harness.advance(1_000)
    harness.up()
    for step in range(400):
        traffic.step()
        if step % 60 == 50:
            harness.want(traffic.rng.choice((BTC, ETH, None)))
    traffic.settle(70)
    harness.agrees()
    assert harness.account.ready()
    assert harness.differences() == []
    assert not [signal for signal in harness.signals if isinstance(signal, KeyDoubt | RestrictBrain)]
    assert harness.account.status()["statements_held"] == 0


INJECTIONS = ("foreign", "missed_fill", "missed_close", "missed_cancel", "moved", "wallet")


def inject(what: str, exchange: ModelExchange, order: ModelOrder) -> tuple[str, str | None]:
    """Something the stream does not tell; the difference it must be found as."""
    if what == "foreign":
        exchange.place(BTC, "SELL", d(1), d(200), "web_elsewhere", told=False)
        return "order.foreign", BTC
    if what == "missed_fill":
        exchange.fill(order, d(1), told=False)
        return "fill.missed", BTC
    if what == "missed_close":
        exchange.fill(order, d(4), told=False)
        return "fill.missed", BTC
    if what == "missed_cancel":
        exchange.cancel(order, told=False)
        return "order.closed", BTC
    if what == "moved":
        exchange.move_position(BTC, d(7), d(101))
        return "position", BTC
    exchange.wallet -= d("3.21")  # no transfer of the traffic is of this amount, which would hide it
    return "wallet", None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), what=st.sampled_from(INJECTIONS), busy=st.booleans(), real=st.booleans())
def test_every_injected_difference_is_found_and_reported_once(seed: int, what: str, busy: bool, real: bool) -> None:
    """Also while the other symbol trades; within one period of the comparison that looks for it."""
    exchange = ModelExchange((BTC, ETH))
    harness = RealHarness(exchange) if real else Harness(exchange)
    harness.start()
    traffic = Traffic(harness, random.Random(seed), (ETH,))
    order = order_of(exchange)
    traffic.settle(2)
    expected = inject(what, exchange, order)
    until = exchange.now_ms + (400_000 if what == "wallet" else 80_000)
    while exchange.now_ms < until:
        traffic.step(act=busy and traffic.rng.random() < 0.2)
    traffic.settle(10)
    assert harness.differences() == [expected]
    traffic.settle(130)
    assert harness.differences() == [expected], "reported again"
    harness.agrees()
    restricted = [signal.brain for signal in harness.signals if isinstance(signal, RestrictBrain)]
    assert restricted == (["b1"] if what == "moved" else [])
    doubted = [signal for signal in harness.signals if isinstance(signal, KeyDoubt)]
    assert len(doubted) == (0 if what == "wallet" else 1)


def test_another_entry_price_of_the_same_quantity_is_adopted_and_stops_nobody() -> None:
    """Fills heard of in another order than they happened make one; the quantity, which is the risk, agrees."""
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.start()
    order = order_of(exchange)
    exchange.fill(order, d(2))
    harness.run(2_000)
    qty, entry = exchange.positions[BTC, "BOTH"]
    exchange.move_position(BTC, qty, entry + d(3))
    harness.run(80_000)
    assert harness.differences() == [("position", BTC)]
    told = next(event for event in harness.events if event.subject == "reconcile.difference")
    assert told.data["action"] == "adopted"
    harness.agrees()
    assert [signal for signal in harness.signals if isinstance(signal, RestrictBrain | KeyDoubt)] == []


@pytest.mark.parametrize("what", INJECTIONS)
def test_what_happened_while_the_stream_was_away_is_found_before_ready(what: str) -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange)
    harness.run(200)
    harness.down()
    assert not harness.account.ready()
    assert harness.account.state(BTC) == "down"
    harness.run(5_000)
    expected = inject(what, exchange, order)
    harness.advance(3_000)
    harness.signals.clear()
    harness.up("reconnect")
    assert harness.account.state(BTC) == "resync"
    harness.run(3_000)
    assert [s.ready for s in harness.signals if isinstance(s, ReadyChanged)] == [True]
    assert harness.differences() == [expected]
    harness.agrees()
    gap = [e.data["evidence"].get("during_gap") for e in harness.events if e.subject == "reconcile.difference"]
    assert gap == [None if what in ("moved", "wallet") else True]


def test_a_restart_takes_up_where_the_journal_ended_and_books_the_fills_in_between() -> None:
    exchange = ModelExchange((BTC, ETH))
    first = harness_with(exchange)
    order = order_of(exchange)
    exchange.fill(order, d(1))
    first.run(500)
    exchange.frames.clear()
    exchange.fill(order, d(2), told=False)  # while nobody listens
    again = Harness(exchange, restored=restored_from(first))
    again.orders.held, again.orders.trades = first.orders.held, first.orders.trades
    again.boot_ns = first.boot_ns + 60_000 * MS
    exchange.now_ms += 60_000
    leg = again.account.books.leg(BTC, "BOTH")
    assert (leg.qty, leg.entry) == (d(1), d(100)), "the journal's own figures come first"
    again.start()
    again.agrees()
    assert again.differences() == [("fill.missed", BTC)]
    assert again.account.books.ledgers[BTC, "b1"].fills == 2


def test_a_first_start_takes_over_what_is_there_without_calling_it_a_difference() -> None:
    exchange = ModelExchange((BTC, ETH))
    order = order_of(exchange, name="web_1")
    exchange.fill(order, d(1))
    exchange.frames.clear()
    exchange.now_ms += 1_000_000
    harness = harness_with(exchange)
    harness.agrees()
    assert harness.differences() == []
    assert [o.client_order_id for o in harness.orders.open_orders(BTC)] == ["web_1"]
    assert harness.orders.open_orders(BTC)[0].brain is None
    changed = [e for e in harness.events if e.subject == "position.changed"]
    assert [(e.symbol, e.data["qty"], e.data["entry"]) for e in changed] == [(BTC, "1", "100")]


def test_nothing_is_ready_before_everything_is_read() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.tick()
    assert harness.sends == [], "REST before the private stream would be older than it"
    harness.up()
    paths = {send.path for send in harness.sends}
    assert {"/fapi/v3/positionRisk", "/fapi/v3/balance", "/fapi/v1/openOrders"} <= paths
    for held in list(harness.sends):
        assert not harness.account.ready()
        assert harness.account.state(None) == "resync"
        assert harness.account.settings(BTC).entries_refused
        harness.sends.remove(held)
        harness.reply(held, *exchange.answer(held))
        harness.tick()
    harness.run(1_000)
    assert harness.account.ready()
    assert harness.account.settings(BTC).entries_refused is None
    assert harness.subjects()[-1] == "gateway.ready"


def test_a_reading_the_stream_spoke_during_proves_nothing() -> None:
    """The position read is from before the fill, the fill comes first: it must be read again, not adopted."""
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.up()
    old = [(send, *exchange.answer(send)) for send in harness.sends]
    harness.sends.clear()
    order = order_of(exchange)
    exchange.fill(order, d(3))
    harness.all_frames()
    for item in old:
        harness.reply(*item)
    harness.run(2_000)
    harness.agrees()
    assert harness.differences() == []
    assert harness.account.status()["readings"] > 1


def test_in_flight_orders_hold_back_judgement_and_then_entries() -> None:
    """A symbol that never comes to rest: entries held for at most 2 s, never judged, given up, tried again."""
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    harness.orders.flying.add(BTC)
    exchange.move_position(BTC, d(3), d(100))
    harness.want(BTC)
    harness.run(8_000)
    assert harness.differences() == []
    held = [(s.symbol, s.on) for s in harness.signals if isinstance(s, Holdback)]
    assert held == [(BTC, True), (BTC, False)]
    harness.orders.flying.clear()
    harness.run(12_000)
    assert harness.differences() == [("position", BTC)]
    harness.agrees()


def test_an_unknown_order_does_not_stop_the_start_but_its_symbol_stays_refused_while_it_differs() -> None:
    exchange = ModelExchange((BTC, ETH))
    first = harness_with(exchange)
    order = order_of(exchange)
    exchange.fill(order, d(1))
    first.run(300)
    again = Harness(exchange, restored=restored_from(first))
    again.orders.held, again.orders.trades = first.orders.held, first.orders.trades
    again.orders.fly(BTC, "bs-lost", 0, "unknown")
    exchange.move_position(BTC, d(2), d(100))
    again.up()
    again.run(15_000)
    assert again.account.ready()
    assert again.account.settings(BTC).entries_refused
    assert again.account.settings(ETH).entries_refused is None
    assert again.account.state(BTC) == "resync"
    again.orders.forget("bs-lost")
    again.run(10_000)
    assert again.differences() == [("position", BTC)]
    assert again.account.settings(BTC).entries_refused is None


def test_an_unknown_order_found_by_a_reading_is_told_to_the_order_core() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    harness.orders.fly(BTC, "bs-55", harness.boot_ns, "unknown")
    harness.advance(100)
    order = exchange.place(BTC, "BUY", d(1), d(100), "bs-55", told=False)
    harness.want(BTC)
    harness.run(500)
    assert harness.orders.find("bs-55").state == "open"  # type: ignore[union-attr]
    exchange.fill(order, d(1))
    harness.run(500)
    harness.agrees()
    assert harness.differences() == []


def test_an_order_the_exchange_forgot_is_closed_only_after_a_second_reading() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange)
    harness.run(200)
    del exchange.orders[order.number]
    harness.want(BTC)
    harness.run(300)
    assert harness.orders.open_orders(BTC) != ()
    harness.run(2_000)
    assert harness.orders.open_orders(BTC) == ()
    assert harness.differences() == [("order.vanished", BTC)]


def test_a_start_never_gives_up_on_rest_failures_and_waits_longer_each_time() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    exchange.broken = lambda send: (502, b"<html>bad gateway</html>") if send.path == "/fapi/v3/balance" else None
    harness.up()
    harness.run(60_000)
    assert not harness.account.ready()
    asked = sum(1 for _, path, _ in exchange.calls if path == "/fapi/v3/balance")
    assert 8 <= asked <= 16, "backing off to at most 10 s"
    exchange.broken = lambda send: None
    harness.run(12_000)
    assert harness.account.ready()


def test_a_periodic_reading_is_given_up_and_the_next_one_comes() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    exchange.broken = lambda send: (500, {"code": -1001, "msg": "Internal error"})
    harness.want(BTC)
    harness.run(60_000)
    assert harness.account.status()["given_up"] == 1
    assert harness.account.ready()
    exchange.broken = lambda send: None
    exchange.move_position(BTC, d(1), d(100))
    harness.run(80_000)
    assert harness.differences() == [("position", BTC)]


def test_answers_of_an_abandoned_reading_are_not_used() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.up()
    old = [(send, *exchange.answer(send)) for send in harness.sends if send.key[1] == "read"]
    harness.down()
    harness.sends = [send for send in harness.sends if send.key[1] != "read"]
    order = order_of(exchange)
    exchange.fill(order, d(1))
    harness.all_frames()
    harness.up()
    for item in old:
        harness.reply(*item)
    harness.run(2_000)
    harness.agrees()
    assert harness.account.ready()


def test_a_lost_request_does_not_hang_the_reading() -> None:
    """Neither answer nor failure (it waits out a ban): after 90 s the reading begins again."""
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.up()
    harness.sends.clear()
    harness.run(95_000)
    assert harness.account.status()["stalled"] == 1
    assert harness.account.ready()


def test_a_symbol_the_exchange_lacks_is_down_and_the_rest_serves() -> None:
    exchange = ModelExchange((BTC, "NOPEUSDT"))
    exchange.broken = lambda send: (
        (400, {"code": -1121, "msg": "Invalid symbol."}) if dict(send.params).get("symbol") == "NOPEUSDT" else None
    )
    harness = harness_with(exchange)
    assert harness.account.state(BTC) == "live"
    assert harness.account.state("NOPEUSDT") == "down"


def test_the_periods_are_kept_and_cost_little() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    harness.run(10_000)
    harness.sends.clear()
    spent = 0
    weights: list[int] = []
    until = exchange.now_ms + 600_000
    while exchange.now_ms < until:
        harness.tick()
        weights += [send.weight for send in harness.sends]
        harness.answer_all()
        harness.advance(500)
    spent = sum(weights)
    assert spent <= 10 * 100, f"{spent} weight in ten minutes"
    done = [e.data["cause"] for e in harness.events if e.subject == "reconcile.done"]
    assert 6 <= done.count("every 60 s") <= 10
    assert done.count("every 5 min") in (1, 2)


def test_a_statement_no_fill_explains_starts_a_reading() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange)
    harness.all_frames()
    exchange.fill(order, d(2))
    harness.next_frame()  # the statement comes, the fill is lost
    harness.drop_frame()
    harness.run(900)
    assert harness.account.status()["statements_held"] == 1
    harness.run(3_000)
    assert harness.differences() == [("fill.missed", BTC)]
    harness.agrees()


def test_an_unreadable_frame_is_counted_and_what_it_said_is_read() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange)
    harness.all_frames()
    exchange.fill(order, d(2))
    exchange.frames = [frame[:-20] for frame in exchange.frames]
    harness.all_frames()
    assert harness.account.status()["user_frames_bad"] == 2
    harness.run(3_000)
    harness.agrees()


def test_hedge_legs_are_kept_apart_and_agree() -> None:
    exchange = ModelExchange((BTC, ETH), hedge=True)
    harness = harness_with(exchange)
    long = exchange.place(BTC, "BUY", d(3), d(100), "bs-1", leg="LONG")
    short = exchange.place(BTC, "SELL", d(2), d(110), "bs-2", leg="SHORT")
    exchange.fill(long, d(3))
    exchange.fill(short, d(2))
    harness.run(200)
    assert [(p.leg, p.qty, p.entry) for p in harness.account.legs(BTC)] == [
        ("LONG", d(3), d(100)),
        ("SHORT", d(-2), d(110)),
    ]
    close = exchange.place(BTC, "SELL", d(1), d(130), "bs-3", leg="LONG")
    exchange.fill(close, d(1))
    harness.run(70_000)
    harness.agrees()
    assert harness.differences() == []
    assert harness.account.books.leg(BTC, "LONG").realised == Decimal(30)


def test_a_timestamp_out_of_the_window_has_the_clock_measured_and_is_tried_again() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    late = b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}'
    exchange.broken = lambda send: (400, late)
    harness.up()
    harness.run(200)
    assert any(isinstance(signal, ClockSuspect) for signal in harness.signals)
    exchange.broken = lambda send: None
    harness.run(15_000)
    assert harness.account.ready()
    assert harness.account.settings(BTC).entries_refused is None


def test_several_unseen_trades_of_one_order_are_booked_in_their_order() -> None:
    """Two fills of a closed order, and one of another, all while the stream was away."""
    exchange = ModelExchange((BTC, ETH))
    harness = RealHarness(exchange)
    harness.start()
    first, second = order_of(exchange, name="web_1", qty=3), order_of(exchange, name="web_2", qty=2)
    harness.run(100)
    harness.down()
    for order, qty in ((first, 1), (second, 1), (first, 2)):
        exchange.fill(order, d(qty), told=False)
        exchange.now_ms += 10
    harness.advance(2_000)
    harness.up("reconnect")
    harness.run(3_000)
    harness.agrees()
    assert harness.differences() == [("fill.missed", BTC)] * 3
    filled = [e.ids.trade_id or 0 for e in harness.events if e.subject == "order.filled" and e.ids]
    assert filled == sorted(filled)
    assert len(filled) == 3


def test_more_trades_than_a_page_are_all_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.venues.binance.account_requests.TRADES_PAGE", 7)
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange, qty=40)
    exchange.fill(order, d(1))
    harness.run(100)
    harness.want(None)
    harness.run(2_000)
    harness.down()
    for _ in range(25):
        exchange.fill(order, d(1), told=False)
        exchange.now_ms += 5
    harness.advance(2_000)
    harness.up("reconnect")
    harness.run(3_000)
    harness.agrees()
    assert len(harness.differences()) == 25


def test_fills_of_a_renumbered_exchange_are_still_booked() -> None:
    """An exchange that counts its trades anew: what the stream brings is news all the same."""
    exchange = ModelExchange((BTC, ETH), next_id=5_000_000)
    harness = harness_with(exchange)
    exchange.fill(order_of(exchange), d(1))
    harness.run(100)
    harness.want(None)
    harness.run(2_000)
    exchange.next_id = 10
    exchange.trades.clear()
    exchange.now_ms += 1_000
    exchange.fill(order_of(exchange, name="bs-901"), d(2))
    harness.run(500)
    assert harness.account.books.leg(BTC, "BOTH").qty == d(3)
    harness.run(400_000, step_ms=200)
    harness.agrees()
    assert harness.differences() == []


def test_an_order_closed_here_and_open_there_is_told_once_and_doubts_the_key_once() -> None:
    """The journal's word is not turned round; a person must look, but not hear of it every minute."""
    exchange = ModelExchange((BTC, ETH))
    harness = RealHarness(exchange)
    harness.start()
    order = order_of(exchange)
    exchange.cancel(order)
    harness.run(200)
    order.status = "NEW"
    harness.run(250_000, step_ms=100)
    assert harness.differences() == [("order.reopened", BTC)]
    assert sum(isinstance(signal, KeyDoubt) for signal in harness.signals) == 1
    assert harness.account.ready()


def test_wishes_for_one_symbol_come_to_one_chain_a_second() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    before = len([e for e in harness.events if e.subject == "reconcile.done"])
    for _ in range(200):  # ten seconds
        harness.want(BTC)
        harness.run(50)
    done = [e for e in harness.events if e.subject == "reconcile.done"][before:]
    assert 9 <= len(done) <= 11


def test_a_reading_that_stalls_again_waits_twice_as_long() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.up()
    begun = []
    for second in range(1_000):
        if any(send.key[1] == "read" for send in harness.sends):
            begun.append(second)
        harness.sends.clear()
        harness.tick()
        harness.advance(1_000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(begun)]
    assert [round(gap / 90) for gap in gaps] == [1, 2, 4]


@pytest.mark.parametrize("told_late", [True, False])
def test_a_fill_found_by_asking_that_the_stream_never_tells_doubts_the_key(told_late: bool) -> None:
    """The order core heals a mute stream by itself: the figures agree, and still the stream must be given up."""
    exchange = ModelExchange((BTC, ETH))
    harness = harness_with(exchange)
    order = order_of(exchange)
    harness.run(200)
    exchange.fill(order, d(2))
    late = exchange.frames.copy()
    exchange.frames.clear()
    found = parse_user_frame(late[-1])
    assert isinstance(found, VenueOrder)
    harness.deliver(replace(found, source="query"))
    harness.agrees()
    harness.run(1_000)
    if told_late:
        for frame in late:
            harness.frame(frame)
    harness.run(1_500)
    doubts = [signal for signal in harness.signals if isinstance(signal, KeyDoubt)]
    assert len(doubts) == (0 if told_late else 1)
    harness.run(5_000)
    assert len([signal for signal in harness.signals if isinstance(signal, KeyDoubt)]) == len(doubts)
    assert harness.differences() == []


def test_an_account_that_never_rests_starts_without_a_wallet_and_gets_it_when_it_does() -> None:
    """Something moves during every reading: ready in the end, but what was never compared is not called live."""
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange)
    harness.up()
    for _ in range(400):
        exchange.transfer(d(1))
        harness.tick()
        sent, harness.sends = harness.sends, []
        bodies = [(send, *exchange.answer(send)) for send in sent]
        harness.all_frames()
        for item in bodies:
            harness.reply(*item)
        harness.tick()
        harness.advance(50)
    assert harness.account.ready()
    assert harness.account.state(BTC) == "live"
    assert harness.account.state(None) == "resync"
    harness.run(12_000)
    assert harness.account.state(None) == "live"
    harness.agrees()
    assert harness.differences() == []
