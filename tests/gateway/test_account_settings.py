"""Leverage, margin type, position mode: set at start while flat, judged ever after; closes go on."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.core.account_settings import AccountWish, SymbolWish
from gateway.core.settings_restore import HOUR_NS, RESTORE_EVERY_NS, RESTORES_MAX, Restores
from gateway.core.signals import ReadyChanged
from tests.gateway.account_model import Harness, ModelExchange, d

BTC, ETH = "BTCUSDT", "ETHUSDT"
WISH = AccountWish(position_mode="one_way", default=SymbolWish(leverage=5, margin_type="crossed"))


def posts(exchange: ModelExchange) -> list[tuple[str, str | None]]:
    return [
        (path.rpartition("/")[2], params.get("symbol")) for method, path, params in exchange.calls if method == "POST"
    ]


def started(exchange: ModelExchange, wish: AccountWish = WISH) -> Harness:
    harness = Harness(exchange, wish=wish)
    harness.start()
    return harness


def test_where_all_agrees_nothing_is_sent() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = started(exchange)
    assert posts(exchange) == []
    view = harness.account.settings(BTC)
    assert (view.leverage, view.margin_type, view.position_mode) == (5, "crossed", "one_way")
    assert (view.maker_fee, view.taker_fee, view.entries_refused) == (Decimal("0.0002"), Decimal("0.0005"), None)


def test_what_differs_is_set_while_flat_and_read_back_before_ready() -> None:
    exchange = ModelExchange((BTC, ETH), hedge=True, leverage={BTC: 20}, margin={ETH: "ISOLATED"})
    harness = started(exchange)
    assert sorted(posts(exchange), key=str) == [("dual", None), ("leverage", BTC), ("marginType", ETH)]
    assert (exchange.hedge, exchange.leverage[BTC], exchange.margin[ETH]) == (False, 5, "CROSSED")
    for symbol in (BTC, ETH):
        assert harness.account.settings(symbol).entries_refused is None
    assert not harness.account.hedge()
    changed = [(e.symbol, e.data["what"], e.data["value"]) for e in harness.events if e.subject == "mode.changed"]
    assert sorted(changed, key=str) == sorted(
        [(BTC, "leverage", 5), (ETH, "margin_type", "crossed"), (None, "position_mode", "one_way")], key=str
    )
    assert {e.data["by"] for e in harness.events if e.subject == "mode.changed"} == {"gateway"}


def test_with_a_position_nothing_is_written_and_entries_there_are_refused_with_the_reason() -> None:
    exchange = ModelExchange((BTC, ETH), leverage={BTC: 8, ETH: 8})
    order = exchange.place(BTC, "BUY", d(1), d(100), "web_1")
    exchange.fill(order, d(1))
    exchange.frames.clear()
    exchange.now_ms += 10_000
    harness = started(exchange)
    assert posts(exchange) == [("leverage", ETH)]
    refused = harness.account.settings(BTC).entries_refused
    assert refused is not None
    assert "leverage is 8, configured 5" in refused
    assert harness.account.settings(ETH).entries_refused is None
    assert harness.account.ready(), "closes go on"


def test_a_resting_order_counts_as_not_flat_and_blocks_the_mode_for_all() -> None:
    exchange = ModelExchange((BTC, ETH), hedge=True)
    exchange.place(BTC, "BUY", d(1), d(100), "web_1", told=False, leg="LONG")
    exchange.now_ms += 10_000
    harness = started(exchange)
    assert posts(exchange) == []
    for symbol in (BTC, ETH):
        assert "position mode is hedge" in str(harness.account.settings(symbol).entries_refused)
    assert harness.account.hedge(), "closes go on in the mode the exchange has"


def test_a_position_on_a_symbol_we_do_not_serve_blocks_the_mode_too() -> None:
    exchange = ModelExchange((BTC, "XRPUSDT"), hedge=True)
    order = exchange.place("XRPUSDT", "BUY", d(1), d(100), "web_1", leg="LONG")
    exchange.fill(order, d(1))
    exchange.frames.clear()
    exchange.now_ms += 10_000
    both = exchange.symbols
    exchange.symbols = (BTC,)
    harness = Harness(exchange, wish=WISH)
    exchange.symbols = both
    harness.start()
    assert posts(exchange) == []


def test_leverage_above_the_limit_is_refused_both_as_wish_and_as_fact() -> None:
    exchange = ModelExchange((BTC, ETH), leverage={BTC: 10, ETH: 11})
    harness = started(exchange, AccountWish(max_leverage=10))
    assert posts(exchange) == []
    assert harness.account.settings(BTC).entries_refused is None
    assert "above the limit of 10" in str(harness.account.settings(ETH).entries_refused)
    other = ModelExchange((BTC,), leverage={BTC: 5})
    harness = started(other, AccountWish(symbols={BTC: SymbolWish(leverage=25)}))
    assert posts(other) == []
    assert "configured 25" in str(harness.account.settings(BTC).entries_refused)


def test_already_so_is_success() -> None:
    """Somebody else set it between our reading and our writing: -4046, and it is as we want it."""
    exchange = ModelExchange((BTC,), margin={BTC: "ISOLATED"})
    harness = Harness(exchange, wish=WISH)
    harness.up()
    harness.answer_all()
    harness.tick()
    exchange.margin[BTC] = "CROSSED"
    harness.run(1_000)
    assert posts(exchange) == [("marginType", BTC)]
    assert harness.account.settings(BTC).entries_refused is None


def test_a_refused_write_says_why_and_the_start_goes_on() -> None:
    exchange = ModelExchange((BTC, ETH), leverage={BTC: 3})
    exchange.broken = lambda send: (
        (400, {"code": -4028, "msg": "Leverage 5 is not valid"}) if send.method == "POST" else None
    )
    harness = started(exchange)
    assert "-4028" in str(harness.account.settings(BTC).entries_refused)
    assert harness.account.settings(ETH).entries_refused is None


def test_a_write_nobody_answered_is_believed_when_it_is_read() -> None:
    exchange = ModelExchange((BTC,), leverage={BTC: 3})
    harness = Harness(exchange, wish=WISH)
    harness.up()
    for _ in range(50):
        for send in [item for item in harness.sends if item.method == "POST"]:
            harness.sends.remove(send)
            exchange.answer(send)  # it arrives there; the answer is lost
            harness.fail(send)
        harness.answer_all() if not any(item.method == "POST" for item in harness.sends) else None
        harness.tick()
        harness.advance(50)
    assert harness.account.ready()
    assert posts(exchange) == [("leverage", BTC)]
    assert harness.account.settings(BTC).entries_refused is None


def test_settings_that_cannot_be_read_refuse_entries_but_do_not_hang_the_start() -> None:
    exchange = ModelExchange((BTC,))
    exchange.broken = lambda send: (500, b"oops") if "Config" in send.path else None
    harness = Harness(exchange, wish=WISH)
    harness.up()
    harness.run(40_000)
    assert harness.account.ready()
    assert "not been read" in str(harness.account.settings(BTC).entries_refused)
    exchange.broken = lambda send: None
    harness.run(310_000, step_ms=500)
    assert harness.account.settings(BTC).entries_refused is None


def test_leverage_changed_elsewhere_is_seen_at_once_and_judged() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = started(exchange)
    harness.dirty.clear()
    harness.frame(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"BTCUSDT","l":50}}')
    assert "leverage is 50" in str(harness.account.settings(BTC).entries_refused)
    assert harness.events[-1].subject == "mode.changed"
    assert harness.events[-1].data == {"what": "leverage", "value": 50, "by": "venue"}
    assert harness.dirty == ["bs:main:BTCUSDT:instrument"]
    assert posts(exchange) == [], "first the news, then what is done about it"


def changed_elsewhere(harness: Harness, symbol: str, leverage: int) -> None:
    """Somebody else sets the leverage, and the stream says so."""
    harness.exchange.leverage[symbol] = leverage
    text = f'{{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{{"s":"{symbol}","l":{leverage}}}}}'
    harness.frame(text.encode())


def test_what_somebody_else_changes_is_set_back_while_flat() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = started(exchange)
    changed_elsewhere(harness, BTC, 3)
    exchange.margin[ETH] = "ISOLATED"
    exchange.hedge = True
    harness.want(None)
    harness.run(70_000)  # margin type and mode are noticed with a full reading
    harness.run(300_000, step_ms=1_000)
    assert (exchange.leverage[BTC], exchange.margin[ETH], exchange.hedge) == (5, "CROSSED", False)
    assert [harness.account.settings(symbol).entries_refused for symbol in (BTC, ETH)] == [None, None]
    told = [(e.data["what"], e.data["value"], e.data["by"]) for e in harness.events if e.subject == "mode.changed"]
    assert ("leverage", 3, "venue") in told
    assert ("leverage", 5, "gateway") in told


def test_with_a_position_it_waits_until_that_is_closed() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = started(exchange)
    exchange.fill(exchange.place(BTC, "BUY", d(1), d(100), "web_1"), d(1))
    harness.run(5_000)
    changed_elsewhere(harness, BTC, 3)
    harness.run(30_000, step_ms=500)
    assert exchange.leverage[BTC] == 3
    refused = harness.account.settings(BTC).entries_refused
    assert refused == "leverage is 3, configured 5: it is set while flat and without orders"
    exchange.fill(exchange.place(BTC, "SELL", d(1), d(100), "web_2"), d(1))
    harness.run(30_000, step_ms=500)
    assert exchange.leverage[BTC] == 5
    assert harness.account.settings(BTC).entries_refused is None


def test_two_programs_do_not_fight_for_ever() -> None:
    exchange = ModelExchange((BTC,))
    harness = started(exchange)
    for _ in range(RESTORES_MAX):
        changed_elsewhere(harness, BTC, 3)
        harness.run(RESTORE_EVERY_NS // 1_000_000 + 2_000, step_ms=500)
        assert exchange.leverage[BTC] == 5
    changed_elsewhere(harness, BTC, 3)
    harness.run(60_000, step_ms=500)
    assert exchange.leverage[BTC] == 3, "now a person decides"
    assert posts(exchange) == [("leverage", BTC)] * RESTORES_MAX
    refused = str(harness.account.settings(BTC).entries_refused)
    assert f"set back {RESTORES_MAX} times within an hour" in refused
    harness.run(3_600_000, step_ms=10_000)
    assert exchange.leverage[BTC] == 5, "an hour later it is tried again"


@pytest.mark.parametrize("past", [-1, 0])
def test_both_sides_of_the_limits_of_setting_back(past: int) -> None:
    restores = Restores()
    for number in range(RESTORES_MAX):
        restores.note(BTC, number * RESTORE_EVERY_NS)
    last_ns = (RESTORES_MAX - 1) * RESTORE_EVERY_NS
    assert restores.spent(BTC, HOUR_NS + past) is (past < 0)
    assert restores.may(BTC, HOUR_NS + past) is (past == 0)
    once = Restores()
    once.note(BTC, last_ns)
    assert once.may(BTC, last_ns + RESTORE_EVERY_NS + past) is (past == 0)
    assert once.may(ETH, last_ns)


def test_a_change_after_ours_is_the_venues() -> None:
    exchange = ModelExchange((BTC,), leverage={BTC: 9})
    harness = started(exchange)
    harness.frame(b'{"e":"ACCOUNT_CONFIG_UPDATE","E":1,"T":1,"ac":{"s":"BTCUSDT","l":7}}')
    told = [(e.data["value"], e.data["by"]) for e in harness.events if e.subject == "mode.changed"]
    assert told == [(5, "gateway"), (7, "venue")]


def test_a_symbol_that_comes_later_is_refused_until_read_and_then_serves() -> None:
    exchange = ModelExchange((BTC, ETH), leverage={ETH: 20})
    exchange.symbols = (BTC,)
    harness = Harness(exchange, wish=WISH)
    exchange.symbols = (BTC, ETH)
    harness.start()
    harness._take(harness.account.add_symbols(harness.now(), [ETH, BTC]))
    assert harness.account.settings(ETH).entries_refused
    assert harness.account.state(ETH) == "resync"
    harness.run(2_000)
    assert harness.account.settings(ETH).entries_refused is None
    assert posts(exchange) == [("leverage", ETH)], "set when it comes, while flat"
    assert harness.events[-1].data == {"what": "leverage", "value": 5, "by": "gateway"}
    assert harness.account.state(ETH) == "live"
    assert [s.ready for s in harness.signals if isinstance(s, ReadyChanged)] == [True]


def test_a_fee_that_cannot_be_read_delays_nothing() -> None:
    exchange = ModelExchange((BTC, ETH))
    exchange.broken = lambda send: (500, b"") if "commission" in send.path else None
    harness = started(exchange)
    harness.run(60_000, step_ms=200)
    assert harness.account.settings(BTC).taker_fee is None
    asked = [params["symbol"] for _, path, params in exchange.calls if "commission" in path]
    assert asked == [BTC] * 5 + [ETH] * 5


def test_the_fee_of_a_symbol_the_exchange_lacks_is_asked_for_only_when_it_has_it() -> None:
    exchange = ModelExchange((BTC, ETH))
    harness = Harness(exchange, wish=WISH)
    exchange.symbols = (BTC,)
    harness.start()
    harness.run(2_000)

    def asked() -> list[str]:
        return [params["symbol"] for _, path, params in exchange.calls if "commission" in path]

    assert asked() == [BTC]
    exchange.symbols = (BTC, ETH)
    harness._take(harness.account.add_symbols(harness.now(), ["NEWUSDT"]))  # the settings are read again
    harness.run(2_000)
    assert asked() == [BTC, ETH]
    assert harness.account.settings(ETH).taker_fee == Decimal("0.0005")


def test_the_instrument_slice_is_rewritten_whenever_what_it_shows_of_the_account_changes() -> None:
    """It is written only on change: a reason to refuse entries must not stay there after it is gone."""
    exchange = ModelExchange((BTC, ETH), leverage={ETH: 9})
    harness = Harness(exchange, wish=WISH)
    shown = {symbol: harness.account.settings(symbol) for symbol in (BTC, ETH)}
    harness.up()
    for _ in range(40):
        harness.tick()
        harness.answer_all()
        harness.tick()
        for symbol in (BTC, ETH):
            if f"bs:main:{symbol}:instrument" in harness.dirty:
                shown[symbol] = harness.account.settings(symbol)
        harness.dirty.clear()
        assert shown == {symbol: harness.account.settings(symbol) for symbol in (BTC, ETH)}
        harness.advance(50)
    assert shown[BTC].entries_refused is None
    assert shown[ETH].leverage == 5
