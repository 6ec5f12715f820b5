"""Collects what one input caused, in order: user events, trades, consumed liquidity, and last the changed levels."""

from __future__ import annotations

from simex.core.api import Consumed, ForcedOrder, FundingSettled, Json, Out, PublicLevels, PublicTrade, Side, UserEvent
from simex.core.market import Market


class Effects:
    """Effects of one input. Public ones are dropped where own orders are not visible (replay)."""

    def __init__(self, now_ms: int, own_visible: bool) -> None:
        self.now_ms = now_ms
        self._own_visible = own_visible
        self._outs: list[Out] = []
        self._front: tuple[object, int] = (None, 0)
        self._touched: dict[str, tuple[Market, set[int], set[int]]] = {}

    def event(self, account: str, payload: Json, at: int | None = None) -> None:
        """A user event: last, or before everything that came since `here` said `at`."""
        if at is None:
            self._outs.append(UserEvent(account, payload))
            return
        self._outs.insert(at, UserEvent(account, payload))
        keeper, place = self._front
        if place >= at:
            self._front = (keeper, place + 1)

    def here(self) -> int:
        """The place of the next effect."""
        return len(self._outs)

    def keep_front(self, owner: object) -> None:
        """From now on `front` puts the owner's events here, before all that follows."""
        self._front = (owner, len(self._outs))

    def front(self, owner: object, account: str, payload: Json) -> None:
        """An event at the place its owner kept, after those already there; last, if it kept none."""
        keeper, place = self._front
        if keeper is not owner:
            self.event(account, payload)
            return
        self._outs.insert(place, UserEvent(account, payload))
        self._front = (owner, place + 1)

    def trade(self, trade: PublicTrade) -> None:
        if self._own_visible:
            self._outs.append(trade)

    def consumed(self, symbol: str, side: Side, price_ticks: int, lots: int) -> None:
        if self._own_visible:
            self._outs.append(Consumed(symbol, side, price_ticks, lots))

    def settled(self, settlement: FundingSettled) -> None:
        self._outs.append(settlement)

    def forced(self, order: ForcedOrder) -> None:
        self._outs.append(order)

    def touch(self, market: Market, side: Side, price_ticks: int) -> None:
        """The visible total at this price may have changed."""
        if not self._own_visible:
            return
        entry = self._touched.get(market.instrument.symbol)
        if entry is None:
            entry = self._touched[market.instrument.symbol] = (market, set(), set())
        _, bids, asks = entry
        (bids if side == "BUY" else asks).add(price_ticks)

    def finish(self) -> list[Out]:
        """All effects; the levels are read now, so one level appears once with its final total."""
        for symbol, (market, bids, asks) in self._touched.items():
            book = market.book
            self._outs.append(
                PublicLevels(
                    symbol,
                    [(price, book.bids.total(price, True)) for price in sorted(bids, reverse=True)],
                    [(price, book.asks.total(price, True)) for price in sorted(asks)],
                )
            )
        return self._outs
