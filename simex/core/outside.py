"""The outside world trades: prints and levels that cross fill own resting orders."""

from __future__ import annotations

from collections.abc import Iterable

from simex.core.api import Level
from simex.core.book import BookSide, opposite
from simex.core.effects import Effects
from simex.core.market import Market
from simex.core.matching import next_for_print
from simex.core.order import REDUCE_ONLY, Order
from simex.core.settlement import Settlement


class Outside(Settlement):
    """Own resting orders as makers of external takers."""

    def apply_print(self, market: Market, price_ticks: int, lots: int, buyer_is_maker: bool, fx: Effects) -> None:
        """An external trade; own orders in its reach take their share of it first in price, then in time."""
        levels = market.book.side("BUY" if buyer_is_maker else "SELL")
        left, eaten = lots, 0
        while left:
            match = next_for_print(levels, price_ticks, eaten)
            if match is None:
                break
            if match.maker is None:
                queue = min(left, match.lots)
                eaten += queue
                left -= queue
                self._print(market, price_ticks, queue, buyer_is_maker, fx)
                continue
            left -= self._fill_resting(market, match.maker, min(left, match.lots), fx)
        if left:
            self._print(market, price_ticks, left, buyer_is_maker, fx)
        levels.shorten_queue(price_ticks, eaten)
        market.last_price_ticks = price_ticks

    def apply_levels(self, market: Market, bids: Iterable[Level], asks: Iterable[Level], fx: Effects) -> None:
        """External levels changed. New external quantity that crosses own resting orders fills them at their price."""
        fresh: list[tuple[BookSide, int, int]] = []
        for levels, changes in ((market.book.bids, bids), (market.book.asks, asks)):
            for price, lots in changes:
                # With visible own orders a crossing level cannot stand, so all of it is new; a replayed one can.
                before = 0 if self.own_visible else int(levels.external.get(price, 0))
                levels.set_external(price, lots)
                fx.touch(market, levels.side, price)
                if lots > before:
                    fresh.append((levels, price, lots - before))
        if market.book.has_own():
            for levels in (market.book.bids, market.book.asks):
                crossing = sorted(((p, q) for side, p, q in fresh if side is levels), reverse=levels.is_bid)
                for price, lots in crossing:
                    self._cross(market, levels, price, lots, fx)

    def _cross(self, market: Market, levels: BookSide, price: int, lots: int, fx: Effects) -> None:
        resting = market.book.side(opposite(levels.side))
        left = lots
        while left:
            best = resting.best_own()
            if best is None or not resting.within(best, price):
                return
            taken = self._fill_resting(market, resting.own[best][0], left, fx)
            left -= taken
            if taken and self.own_visible:
                levels.eat_external(price, taken)
                fx.consumed(market.instrument.symbol, levels.side, price, taken)

    def _fill_resting(self, market: Market, maker: Order, lots: int, fx: Effects) -> int:
        """Fill an own resting order against the outside world; returns the lots traded (0: it expired instead)."""
        account = self.accounts[maker.account]
        allowed = min(lots, maker.left_lots, self._allowed_lots(account, maker))
        if not allowed:
            self._end(maker, "EXPIRED", "EXPIRED", fx, REDUCE_ONLY)
            return 0
        self._trade(market, maker, None, maker.price_ticks, allowed, fx)
        return allowed
