"""Price-time book of one symbol: external liquidity by level, own orders one by one.

External quantity has no identity. An own order remembers how much of it stood before it at its price (`ahead_lots`);
prints eat that from the front, cancellations are taken from behind it (the pessimistic reading).
"""

from __future__ import annotations

from collections.abc import Iterator

from sortedcontainers import SortedDict

from simex.core.api import Level, Side
from simex.core.order import Order


def opposite(side: Side) -> Side:
    return "SELL" if side == "BUY" else "BUY"


class BookSide:
    """One side: external levels and own resting orders, both by price."""

    __slots__ = ("external", "is_bid", "own", "side")

    def __init__(self, side: Side) -> None:
        self.side: Side = side
        self.is_bid = side == "BUY"
        self.external: SortedDict[int, int] = SortedDict()
        self.own: SortedDict[int, list[Order]] = SortedDict()

    def set_external(self, price: int, lots: int) -> None:
        """Absolute external quantity at a price; own orders there never wait behind more than is left."""
        if lots > 0:
            self.external[price] = lots
        else:
            self.external.pop(price, None)
        for order in self.own.get(price, ()):
            if order.ahead_lots > lots:
                order.ahead_lots = max(0, lots)

    def eat_external(self, price: int, lots: int) -> None:
        """External quantity taken from the front of the queue: it shortens every own order's wait."""
        left = self.external.get(price, 0) - lots
        if left > 0:
            self.external[price] = left
        else:
            self.external.pop(price, None)
        self.shorten_queue(price, lots)

    def shorten_queue(self, price: int, lots: int) -> None:
        for order in self.own.get(price, ()):
            order.ahead_lots = max(0, order.ahead_lots - lots)

    def rest(self, order: Order) -> None:
        """Join the end of the queue at the order's price."""
        order.ahead_lots = self.external.get(order.price_ticks, 0)
        order.resting = True
        self.own.setdefault(order.price_ticks, []).append(order)

    def remove(self, order: Order) -> None:
        queue = self.own[order.price_ticks]
        queue.remove(order)
        order.resting = False
        if not queue:
            del self.own[order.price_ticks]

    def best_external(self) -> int | None:
        if not self.external:
            return None
        return int(self.external.peekitem(-1 if self.is_bid else 0)[0])

    def best_own(self) -> int | None:
        if not self.own:
            return None
        return int(self.own.peekitem(-1 if self.is_bid else 0)[0])

    def best(self) -> int | None:
        """Best price of either kind."""
        external, own = self.best_external(), self.best_own()
        if external is None or own is None:
            return own if external is None else external
        return max(external, own) if self.is_bid else min(external, own)

    def external_prices(self) -> Iterator[int]:
        """External prices, best first."""
        return reversed(self.external) if self.is_bid else iter(self.external)

    def total(self, price: int, own_visible: bool) -> int:
        lots = int(self.external.get(price, 0))
        if own_visible:
            lots += sum(order.left_lots for order in self.own.get(price, ()))
        return lots

    def totals(self, own_visible: bool) -> list[Level]:
        """All levels, best first."""
        prices = set(self.external)
        if own_visible:
            prices.update(self.own)
        return [(price, self.total(price, own_visible)) for price in sorted(prices, reverse=self.is_bid)]

    def within(self, price: int, limit: int | None) -> bool:
        """Would a taker with this limit reach a price of this side? None = no limit."""
        if limit is None:
            return True
        return price >= limit if self.is_bid else price <= limit


class Book:
    """Both sides of one symbol."""

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide("BUY")
        self.asks = BookSide("SELL")

    def side(self, side: Side) -> BookSide:
        return self.bids if side == "BUY" else self.asks

    def has_own(self) -> bool:
        return bool(self.bids.own) or bool(self.asks.own)

    def mid2(self) -> int | None:
        """Twice the mid price in ticks (an integer), None while a side is empty."""
        bid, ask = self.bids.best(), self.asks.best()
        return None if bid is None or ask is None else bid + ask
