"""Who trades with whom: the next counterparty of an incoming order, a print or a crossing external level.

These classes only look; the engine applies one match, with all its consequences for accounts and other orders, and asks
for the next. So a resting order that a fill knocks out is never matched afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from simex.core.api import Side
from simex.core.book import Book, BookSide, opposite
from simex.core.order import Order


@dataclass(frozen=True, slots=True)
class Match:
    """`lots` at most available from one counterparty: an own resting order, or external quantity (`maker` None)."""

    price_ticks: int
    lots: int
    maker: Order | None


class TakerSweep:
    """Walks the other side of the book, best first, in price-time order.

    With `consume` the engine lowers the external levels it takes; without (a replay) the book stays as recorded and
    the sweep itself remembers what it has taken, so that one order never takes a level twice.
    """

    def __init__(self, book: Book, taker_side: Side, limit_ticks: int | None, *, consume: bool) -> None:
        self.levels: BookSide = book.side(opposite(taker_side))
        self._limit = limit_ticks
        self._consume = consume
        self._taken: dict[int, int] = {}

    def next(self) -> Match | None:
        price = self._best()
        if price is None or not self.levels.within(price, self._limit):
            return None
        external = self._external_at(price)
        queue = self.levels.own.get(price)
        if not queue:
            return Match(price, external, None)
        first: Order = queue[0]
        ahead = min(external, first.ahead_lots - self._taken.get(price, 0))
        if ahead > 0:
            return Match(price, ahead, None)
        return Match(price, first.left_lots, first)

    def took_external(self, price: int, lots: int) -> None:
        """The engine took external quantity: remember it, or lower the book."""
        if self._consume:
            self.levels.eat_external(price, lots)
        else:
            self._taken[price] = self._taken.get(price, 0) + lots

    def _external_at(self, price: int) -> int:
        return int(self.levels.external.get(price, 0)) - self._taken.get(price, 0)

    def _best(self) -> int | None:
        own = self.levels.best_own()
        for price in self.levels.external_prices():
            if self._external_at(price) > 0:
                if own is None:
                    return price
                return max(price, own) if self.levels.is_bid else min(price, own)
        return own


def available_lots(book: Book, taker_side: Side, limit_ticks: int | None, wanted_lots: int) -> int:
    """How much an incoming order could take at once, counted up to `wanted_lots` (for FOK)."""
    levels = book.side(opposite(taker_side))
    found = 0
    for price in sorted({*levels.external, *levels.own}, reverse=levels.is_bid):
        if found >= wanted_lots or not levels.within(price, limit_ticks):
            break
        found += levels.total(price, own_visible=True)
    return min(found, wanted_lots)


def would_take(book: Book, side: Side, limit_ticks: int) -> bool:
    """Would a limit order meet the other side at once? (post-only check)"""
    levels = book.side(opposite(side))
    best = levels.best()
    return best is not None and levels.within(best, limit_ticks)


def next_for_print(levels: BookSide, price_ticks: int, eaten_lots: int) -> Match | None:
    """The next own maker, or queue in front of it, that an external print at `price_ticks` meets.

    Own orders at better prices come first (the print would have reached them first), at their own price; then the
    queue at the print's price. `eaten_lots` is what this print has already eaten of that queue; the caller shortens
    the queue once, at the end. None: no own order is in reach.
    """
    best = levels.best_own()
    if best is None or not levels.within(best, price_ticks):
        return None
    first: Order = levels.own[best][0]
    if best == price_ticks:
        ahead = first.ahead_lots - eaten_lots
        if ahead > 0:
            return Match(best, ahead, None)
    return Match(best, first.left_lots, first)
