"""Orders that no intent of ours made: liquidation, deleveraging, a person or another program at the exchange."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from gateway.core.signals import Filled
from gateway.core.venue_orders import VenueFill, VenueOrder
from tests.gateway.orders_rig import SYMBOL, Rig

D = Decimal


def word(
    rig: Rig, number: int, side: str, qty: str, *, trade: int | None, status: str, leg: str = "BOTH"
) -> VenueOrder:
    """What the private stream says of the order `adl_autoclose`: the exchange gives all of its own that one id."""
    fill = VenueFill(trade, D(qty), D(60000), D(0), "USDT", D(0), False, rig.ms) if trade is not None else None
    return VenueOrder(
        "stream", SYMBOL, "adl_autoclose", number, status, side, "LIMIT", "IOC", D(qty),  # type: ignore[arg-type]
        D(qty) if trade is not None else D(0), D(60000), None, leg, False, rig.ms, fill=fill,  # type: ignore[arg-type]
    )  # fmt: skip


def booked(rig: Rig) -> list[tuple[str, str, Decimal, int | None]]:
    return [(s.order.side, s.order.leg, s.fill.qty, s.order.order_id) for s in rig.signals if isinstance(s, Filled)]


def test_an_id_others_use_again_is_another_order_with_its_own_side_and_leg() -> None:
    rig = Rig(hedge=True)
    for number, side, leg in ((7, "SELL", "LONG"), (9, "BUY", "SHORT")):
        rig.do(rig.core.on_venue_order(rig.now, word(rig, number, side, "0.004", trade=None, status="NEW", leg=leg)))
        last = word(rig, number, side, "0.004", trade=number * 10, status="FILLED", leg=leg)
        rig.do(rig.core.on_venue_order(rig.now, last))
        rig.do(rig.core.on_venue_order(rig.now, last))
    assert booked(rig) == [("SELL", "LONG", D("0.004"), 7), ("BUY", "SHORT", D("0.004"), 9)]
    assert rig.account.qty == {(SYMBOL, "LONG"): D("-0.004"), (SYMBOL, "SHORT"): D("0.004")}
    assert [report.event for report in rig.reports] == []
    assert rig.core.open_orders() == ()


def test_late_words_of_the_first_order_of_an_id_neither_open_it_again_nor_count_twice() -> None:
    rig = Rig()
    first = word(rig, 7, "SELL", "0.004", trade=70, status="FILLED")
    rig.do(rig.core.on_venue_order(rig.now, first))
    rig.do(rig.core.on_venue_order(rig.now, word(rig, 9, "BUY", "0.004", trade=90, status="FILLED")))
    for late in (first, word(rig, 7, "SELL", "0.004", trade=None, status="NEW")):
        rig.do(rig.core.on_venue_order(rig.now, late))
    assert [number for *_, number in booked(rig)] == [7, 9]
    assert rig.core.open_orders() == ()


def test_a_fill_of_the_first_order_of_an_id_that_comes_after_the_second_is_counted() -> None:
    rig = Rig()
    rig.do(rig.core.on_venue_order(rig.now, word(rig, 7, "SELL", "0.004", trade=None, status="NEW")))
    rig.do(rig.core.on_venue_order(rig.now, word(rig, 9, "BUY", "0.001", trade=90, status="FILLED")))
    rig.do(rig.core.on_venue_order(rig.now, word(rig, 7, "SELL", "0.004", trade=70, status="FILLED")))
    assert sorted(booked(rig)) == [("BUY", "BOTH", D("0.001"), 9), ("SELL", "BOTH", D("0.004"), 7)]
    assert rig.core.open_orders() == ()


def test_an_id_of_ours_under_another_number_is_not_our_order() -> None:
    rig = Rig()
    rig.place(1)
    rig.perform()
    rig.stream()
    (mine,) = rig.core.open_orders()
    assert mine.order_id == 1001
    other = word(rig, 2000, "SELL", "0.004", trade=70, status="FILLED")
    rig.do(rig.core.on_venue_order(rig.now, replace(other, client_order_id=mine.client_order_id)))
    assert rig.core.open_orders() == (mine,), "ours is as it was"
    assert booked(rig) == [("SELL", "BOTH", D("0.004"), 2000)]


def test_an_exchange_that_numbers_its_trades_anew_is_still_counted() -> None:
    """A test exchange that was wiped: the number is one we have seen, the trade is not."""
    rig = Rig()
    rig.do(rig.core.on_venue_order(rig.now, word(rig, 7, "SELL", "0.004", trade=1, status="FILLED")))
    rig.advance(1_000)
    rig.exchange.position[SYMBOL, "BOTH"] = D("-0.004")
    rig.journal.fills.clear()  # the real one lets the newer trade take the number
    rig.place(1, side="BUY", type="MARKET", qty="0.004")
    rig.perform()
    rig.stream()
    assert [fill.trade_id for fill in (s.fill for s in rig.signals if isinstance(s, Filled))] == [1, 1]
    assert rig.account.qty == {(SYMBOL, "BOTH"): D(0)} and rig.core.open_orders() == ()
