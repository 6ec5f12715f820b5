"""Account slices and events: what a fill, a transfer, funding and a margin call show, together and with `as_of`."""

from __future__ import annotations

import random
from decimal import Decimal

import msgspec

from gateway.core.signals import KeyDoubt
from ipc import keys, slices
from ipc.events import VOCABULARY
from ipc.slices import LedgerSlice, OrdersSlice, PositionSlice, WalletSlice
from tests.gateway.account_model import Harness, ModelBrain, ModelExchange, d
from tests.gateway.test_account_reconcile import Traffic

BTC, ETH = "BTCUSDT", "ETHUSDT"
POSITION, ORDERS = keys.position("main", BTC), keys.orders("main", BTC)
LEDGER, WALLET = keys.ledger("main", BTC, "b1"), keys.wallet("main")


def started() -> Harness:
    harness = Harness(ModelExchange((BTC, ETH)))
    harness.start()
    return harness


def shown(harness: Harness, key: str) -> bytes:
    raw = harness.account.render(harness.now(), key)
    assert raw is not None
    return raw


def anew(harness: Harness, key: str) -> slices.Head:
    part, now = harness.account._slices, harness.now()
    slot = part._slots[key]
    if slot.what == "wallet":
        return part.wallet(now)
    if slot.what == "position":
        return part.position(now, slot.symbol)
    if slot.what == "orders":
        return part.orders(now, slot.symbol)
    return part.ledger(now, slot.symbol, slot.brain)


def test_a_fill_moves_position_orders_ledger_and_wallet_together() -> None:
    harness = started()
    exchange = harness.exchange
    first = exchange.place(BTC, "BUY", d(3), d(100), "bs-1")
    exchange.fill(first, d(2))
    harness.market.marks[BTC] = d(104)
    harness.dirty.clear()
    harness.all_frames()
    assert {POSITION, ORDERS, LEDGER, WALLET} <= set(harness.dirty)
    position = slices.decode(PositionSlice, shown(harness, POSITION))
    leg = slices.PositionLeg(leg="BOTH", qty="2", entry="100", unrealised="8", updated_ms=exchange.now_ms)
    assert (position.state, position.legs, position.as_of) == ("live", [leg], harness.log.last)
    ledger = slices.decode(LedgerSlice, shown(harness, LEDGER))
    assert (ledger.qty, ledger.entry, ledger.unrealised, ledger.fees) == ("2", "100", "8", {"USDT": "0.1000"})
    assert (ledger.fills, ledger.orders, ledger.run, ledger.alive, ledger.risk) == (1, 1, "r1", True, "running")
    orders = slices.decode(OrdersSlice, shown(harness, ORDERS))
    assert [(order.client_order_id, order.state) for order in orders.orders] == [("bs-1", "partially_filled")]
    wallet = slices.decode(WalletSlice, shown(harness, WALLET))
    assert [(row.asset, row.wallet) for row in wallet.balances] == [("USDT", str(exchange.wallet))]
    assert len({position.as_of, ledger.as_of, orders.as_of, wallet.as_of}) == 1
    exchange.fill(first, d(1))
    close = exchange.place(BTC, "SELL", d(3), d(110), "bs-2")
    exchange.fill(close, d(3))
    harness.all_frames()
    ledger = slices.decode(LedgerSlice, shown(harness, LEDGER))
    assert (ledger.qty, ledger.entry, ledger.realised, ledger.unrealised, ledger.orders) == ("0", "0", "30", "0", 0)
    assert slices.decode(PositionSlice, shown(harness, POSITION)).legs[0].realised == "30"


def test_whoever_closes_what_a_brain_holds_the_close_stands_in_the_brain_s_ledger() -> None:
    """Else its position would go without the profit and the fee of its going, and nothing explains the wallet."""
    for closer in ("bs-gateway-1", "by-hand-1"):
        harness = started()
        exchange = harness.exchange
        before = exchange.wallet
        exchange.fill(exchange.place(BTC, "BUY", d(2), d(100), "bs-1"), d(2))
        exchange.fill(exchange.place(BTC, "SELL", d(2), d(97), closer), d(2))
        harness.all_frames()
        ledger = slices.decode(LedgerSlice, shown(harness, LEDGER))
        assert (ledger.qty, ledger.fills, ledger.realised) == ("0", 2, "-6"), closer
        assert before + d(ledger.realised) - sum(map(d, ledger.fees.values())) == exchange.wallet, closer
        assert set(harness.account.books.ledgers) == {(BTC, "b1")}, closer


def test_what_is_done_where_no_brain_trades_is_in_no_brain_s_ledger() -> None:
    harness = started()
    brain = harness.brains.get("b1")
    assert brain is not None
    brain.symbols = (ETH,)
    harness.exchange.fill(harness.exchange.place(BTC, "BUY", d(2), d(100), "by-hand-1"), d(2))
    harness.all_frames()
    assert harness.account.books.ledgers == {}


def test_what_is_kept_encoded_never_differs_from_what_would_be_made_anew(seed: int) -> None:
    harness = Harness(ModelExchange((BTC, ETH)))
    rng = random.Random(seed)
    traffic = Traffic(harness, rng)
    harness.up()
    for step in range(300):
        traffic.step()
        if rng.random() < 0.2:
            harness.market.marks[rng.choice((BTC, ETH))] = d(rng.randint(90, 110))
        brain = harness.brains.get("b1")
        assert brain is not None
        if rng.random() < 0.1:
            brain.show, brain.show_ms = {"step": step}, step
        if step == 150:
            brain.alive = False
        if step == 200:
            brain.symbols = (ETH,)
            harness.brains._brains["b2"] = ModelBrain("b2", (BTC,), 2)
        names = harness.account.keys()
        for key in names:
            made = anew(harness, key)
            assert msgspec.json.decode(shown(harness, key)) == msgspec.json.decode(slices.encode(made)), key
    assert keys.ledger("main", BTC, "b2") in names
    assert LEDGER in names, "what b1 earned there stays to be seen"


def test_a_ledger_without_the_symbol_keeps_its_profit_and_has_no_position() -> None:
    harness = started()
    exchange = harness.exchange
    exchange.fill(exchange.place(BTC, "BUY", d(2), d(100), "bs-1"), d(2))
    harness.all_frames()
    brain = harness.brains.get("b1")
    assert brain is not None
    brain.symbols = (ETH,)
    ledger = slices.decode(LedgerSlice, shown(harness, LEDGER))
    assert (ledger.qty, ledger.fills) == ("0", 1)


def test_state_follows_stream_and_reconciliation() -> None:
    harness = Harness(ModelExchange((BTC, ETH)))
    states = []
    for act in ("", "up", "run", "down", "up"):
        if act == "run":
            harness.run(2_000)
        elif act:
            (harness.up if act == "up" else harness.down)()
        states.append(slices.decode(PositionSlice, shown(harness, POSITION)).state)
    assert states == ["down", "resync", "live", "down", "resync"]
    assert harness.account.render(harness.now(), "bs:main:BTCUSDT:book") is None
    assert {"gateway.ready", "gateway.not_ready"} <= set(harness.subjects())


def test_transfers_move_the_wallet_by_the_balance_change_alone() -> None:
    harness = started()
    before = harness.account.books.wallets["USDT"].wallet
    harness.exchange.transfer(d("12.5"))
    harness.exchange.transfer(d("-2"), "WITHDRAW")
    harness.all_frames()
    assert harness.account.books.wallets["USDT"].wallet == before + d("10.5") == harness.exchange.wallet
    told = [e.data for e in harness.events if e.subject == "balance.changed"]
    assert told == [
        {"asset": "USDT", "wallet": "10012.5", "change": "12.5", "reason": "deposit"},
        {"asset": "USDT", "wallet": "10010.5", "change": "-2", "reason": "withdraw"},
    ]


def test_the_statement_of_a_fill_moves_no_money_by_itself() -> None:
    """The fill does; were its balance change taken too, the money would move twice."""
    harness = started()
    before = harness.account.books.wallets["USDT"].wallet
    row = '{"a":"USDT","wb":"9000","cw":"9000","bc":"-1000"}'
    harness.frame(f'{{"e":"ACCOUNT_UPDATE","T":9,"E":9,"a":{{"m":"ORDER","B":[{row}],"P":[]}}}}'.encode())
    assert harness.account.books.wallets["USDT"].wallet == before
    assert harness.account.status()["statements_held"] == 1


def test_funding_is_booked_to_the_brain_of_its_symbol() -> None:
    harness = started()
    harness.exchange.transfer(d("-0.25"), "FUNDING_FEE", BTC)
    harness.all_frames()
    paid = [(e.symbol, e.brain, e.data) for e in harness.events if e.subject == "funding.paid"]
    assert paid == [(BTC, "b1", {"asset": "USDT", "amount": "-0.25"})]
    assert slices.decode(LedgerSlice, shown(harness, LEDGER)).funding == "-0.25"
    harness.exchange.transfer(d("-0.5"), "FUNDING_FEE")
    harness.all_frames()
    assert [e.symbol for e in harness.events if e.subject == "funding.paid"] == [BTC, None]
    assert slices.decode(LedgerSlice, shown(harness, LEDGER)).funding == "-0.25", "whose it is was not said"


def test_a_transfer_a_reading_already_told_is_not_added_again() -> None:
    """The statement of a deposit comes after the balance was read with the deposit in it."""
    harness = Harness(ModelExchange((BTC, ETH)))
    harness.up()
    harness.exchange.transfer(d(100))
    late = harness.exchange.frames.pop()
    harness.run(2_000)
    assert harness.account.books.wallets["USDT"].wallet == d(10100)
    harness.frame(late)
    assert harness.account.books.wallets["USDT"].wallet == d(10100)
    harness.run(2_000)
    assert harness.differences() == []


def test_a_statement_said_twice_counts_once() -> None:
    """Overlapping connections say everything twice, funding too."""
    harness = started()
    harness.exchange.transfer(d("-0.25"), "FUNDING_FEE", BTC)
    twice = harness.exchange.frames[0]
    harness.all_frames()
    harness.exchange.transfer(d(5))
    harness.all_frames()
    harness.frame(twice)
    assert slices.decode(LedgerSlice, shown(harness, LEDGER)).funding == "-0.25"
    assert harness.account.books.wallets["USDT"].wallet == harness.exchange.wallet
    assert harness.account.status()["statements_repeated"] == 1
    assert harness.account.status()["statements_held"] == 0


def test_margin_calls_and_lost_keys_are_told() -> None:
    harness = started()
    harness.frame(b'{"e":"MARGIN_CALL","E":5,"cw":"3","p":[{"s":"ETHUSDT","ps":"LONG","pa":"1.327","mt":"CROSSED"}]}')
    event = harness.events[-1]
    rows = [{"symbol": "ETHUSDT", "leg": "LONG", "qty": "1.327"}]
    assert (event.subject, event.data, event.event_ms) == ("margin.call", {"positions": rows}, 5)
    harness.frame(b'{"e":"listenKeyExpired","E":1,"listenKey":"k"}')
    assert [type(signal) for signal in harness.signals[-1:]] == [KeyDoubt]


def test_frames_of_no_use_are_counted_by_name_and_names_are_bounded() -> None:
    harness = started()
    for number in range(200):
        harness.frame(f'{{"e":"NEW_EVENT_{number}","E":1}}'.encode())
    harness.frame(b'{"e":"TRADE_LITE","E":1}')
    assert len(harness.account.ignored) == 51
    assert sum(harness.account.ignored.values()) == 201 == harness.account.status()["user_events_ignored"]
    assert harness.account.ignored["other"] == 151


def test_every_event_keeps_to_the_vocabulary() -> None:
    """Subjects and the keys of their data, over a history with everything in it."""
    harness = started()
    exchange = harness.exchange
    order = exchange.place(BTC, "BUY", d(3), d(100), "bs-1")
    exchange.fill(order, d(2))
    exchange.transfer(d(1), "FUNDING_FEE", BTC)
    harness.frame(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"ac":{"s":"BTCUSDT","l":9}}')
    harness.frame(b'{"e":"MARGIN_CALL","E":5,"p":[]}')
    harness.run(500)
    exchange.move_position(ETH, d(4), d(50))
    exchange.fill(order, d(1), told=False)
    harness.run(70_000)
    harness.down()
    seen = set()
    for event in harness.events:
        allowed = VOCABULARY[event.subject].data
        needed = {name for name in allowed if not name.endswith("?")}
        assert needed <= set(event.data) <= {name.rstrip("?") for name in allowed}, event
        seen.add(event.subject)
    assert {
        "gateway.ready",
        "gateway.not_ready",
        "position.changed",
        "balance.changed",
        "funding.paid",
        "margin.call",
        "mode.changed",
        "reconcile.done",
        "reconcile.difference",
    } <= seen
    assert sorted(event.seq for event in harness.events) == list(range(1, len(harness.events) + 1))


def test_hedge_legs_make_one_ledger_position() -> None:
    harness = Harness(ModelExchange((BTC, ETH), hedge=True))
    harness.start()
    exchange = harness.exchange
    exchange.fill(exchange.place(BTC, "BUY", d(3), d(100), "bs-1", leg="LONG"), d(3))
    exchange.fill(exchange.place(BTC, "SELL", d(1), d(130), "bs-2", leg="SHORT"), d(1))
    harness.all_frames()
    harness.market.marks[BTC] = d(120)
    ledger = slices.decode(LedgerSlice, shown(harness, LEDGER))
    assert (ledger.qty, Decimal(ledger.entry), ledger.unrealised) == ("2", d(85), "70")
    legs = slices.decode(PositionSlice, shown(harness, POSITION)).legs
    assert [(leg.leg, leg.qty, leg.unrealised) for leg in legs] == [("LONG", "3", "60"), ("SHORT", "-1", "10")]
    flat = slices.decode(PositionSlice, shown(harness, keys.position("main", ETH))).legs
    assert [(leg.leg, leg.qty) for leg in flat] == [("LONG", "0"), ("SHORT", "0")]


def test_the_operations_say_what_the_slices_say() -> None:
    harness = started()
    exchange = harness.exchange
    exchange.fill(exchange.place(BTC, "BUY", d(2), d(100), "bs-1"), d(2))
    harness.all_frames()
    assert harness.account.position_view(harness.now(), BTC) == [
        {
            "symbol": BTC,
            "state": "live",
            "leg": "BOTH",
            "qty": "2",
            "entry": "100",
            "realised": "0",
            "unrealised": None,
        }
    ]
    assert [row["symbol"] for row in harness.account.position_view(harness.now(), None)] == [BTC, ETH]
    view = harness.account.account_view(harness.now())
    assert (view["state"], view["ready"], view["position_mode"]) == ("live", True, "one_way")
    assert view["balances"][0]["wallet"] == str(exchange.wallet)
