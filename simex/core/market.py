"""State of one symbol: book, mark price and counters. Ids are deterministic and rise per symbol."""

from __future__ import annotations

from decimal import Decimal

from simex.core.api import Level
from simex.core.book import Book
from simex.core.instrument import Instrument

FIRST_ORDER_ID = 8_886_774_000
FIRST_TRADE_ID = 6_512_034_000


class Market:
    """One symbol. `mark` falls back to mid, last trade and reference price until a mark price is known."""

    def __init__(self, instrument: Instrument, id_base: int = 0) -> None:
        self.instrument = instrument
        self.book = Book()
        self.announced_mark: Decimal | None = None
        self.index: Decimal | None = None
        self.funding_rate = Decimal(0)
        self.next_funding_ms = 0
        """As announced with the mark price; 0 while nobody has said."""
        self.funded_ms = 0
        """The announced time last settled."""
        self.last_price_ticks: int | None = None
        self.order_ids = FIRST_ORDER_ID + id_base
        self.trade_ids = FIRST_TRADE_ID + id_base

    def next_order_id(self) -> int:
        self.order_ids += 1
        return self.order_ids

    def next_trade_id(self) -> int:
        self.trade_ids += 1
        return self.trade_ids

    @property
    def mark(self) -> Decimal:
        if self.announced_mark is not None:
            return self.announced_mark
        mid2 = self.book.mid2()
        if mid2 is not None:
            return self.instrument.tick_size * mid2 / 2
        if self.last_price_ticks is not None:
            return self.instrument.price(self.last_price_ticks)
        return self.instrument.reference_price

    @property
    def band_mark(self) -> Decimal | None:
        """The mark for price bands; None as long as nothing but the reference price is known."""
        if self.announced_mark is None and self.book.mid2() is None and self.last_price_ticks is None:
            return None
        return self.mark

    def totals(self, own_visible: bool) -> tuple[list[Level], list[Level]]:
        return self.book.bids.totals(own_visible), self.book.asks.totals(own_visible)


class State:
    """What valuation needs of all markets: instruments and marks by symbol, and whether own orders are visible."""

    def __init__(self, markets: dict[str, Market], own_visible: bool) -> None:
        self.markets = markets
        self.own_visible = own_visible
        self.instruments: dict[str, Instrument] = {s: market.instrument for s, market in markets.items()}

    def mark_of(self, symbol: str) -> Decimal:
        return self.markets[symbol].mark
