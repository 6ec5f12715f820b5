"""Which trades have been counted: marks, what lies above them, restarts, and an exchange that numbers anew."""

from __future__ import annotations

from decimal import Decimal

import pytest

from gateway.core import trade_marks
from gateway.core.account_venue import OwnTrade
from gateway.core.rows import FillRow
from gateway.core.trade_marks import KEY, TradeMarks
from gateway.core.venue_orders import VenueFill

BTC = "BTCUSDT"


def fill(trade_id: int, at_ms: int = 100) -> VenueFill:
    return VenueFill(trade_id, Decimal(1), Decimal(1), None, None, None, False, at_ms)


def trade(trade_id: int, at_ms: int = 100) -> OwnTrade:
    return OwnTrade(BTC, 1, "BUY", "BOTH", fill(trade_id, at_ms))


def test_a_trade_lost_below_newer_ones_stays_unseen() -> None:
    marks = TradeMarks()
    marks.advance(BTC, fill(10))
    marks.see(BTC, fill(12, 200))
    marks.see(BTC, fill(13, 210))
    assert [number for number in (9, 10, 11, 12, 13, 14) if marks.seen(trade(number))] == [9, 10, 12, 13]
    assert marks.mark(BTC) == 10, "only a reading without anything unseen moves it"


def test_marks_and_fills_survive_a_restart() -> None:
    marks = TradeMarks()
    marks.since_ms = 50
    marks.advance(BTC, fill(10))
    marks.see(BTC, fill(12, 200))
    row = marks.row()
    again = TradeMarks()
    again.restore({row.key: row.value}, [FillRow(BTC, 12, "c", 200, b"{}"), FillRow(BTC, 3, "c", 20, b"{}")])
    assert (again.since_ms, again.mark(BTC)) == (50, 10)
    assert again.seen(trade(12, 200))
    assert not again.seen(trade(11, 150))
    assert again.seen(trade(99, 49)), "from before the first start"
    with pytest.raises(ValueError, match=KEY):
        TradeMarks().restore({KEY: b"{}"}, [])


def test_an_exchange_that_numbers_anew_gets_a_new_mark() -> None:
    marks = TradeMarks()
    marks.advance(BTC, fill(5_000_000, 100))
    marks.see(BTC, fill(11, 900))
    assert marks.mark(BTC) == 10
    assert marks.seen(trade(11, 900))
    assert not marks.seen(trade(12, 950))


def test_what_is_held_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trade_marks, "SEEN_CAP", 10)
    marks = TradeMarks()
    for number in range(1, 12):
        marks.see(BTC, fill(number))
    assert [number for number in range(1, 12) if marks.seen(trade(number))] == [6, 7, 8, 9, 10, 11]
