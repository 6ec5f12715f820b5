"""The state of the exchange, and what a fill or an end of an order does to accounts and to other orders.

All consequences of a fill (money, events, reduce-only orders that lose their position) are applied before the next
match is looked for. Event order of one fill: ACCOUNT_UPDATE before ORDER_TRADE_UPDATE; the maker's before the taker's.
"""

from __future__ import annotations

from simex.core.account import ZERO, Account, Position
from simex.core.admission import reduce_priority, reducible_lots
from simex.core.algo import GTE
from simex.core.api import PublicTrade
from simex.core.effects import Effects
from simex.core.market import Market
from simex.core.order import GTE_END, REDUCE_ONLY, Fill, Order
from simex.core.rules import DEFAULT_RULES, Rules
from simex.core.timers import Key
from simex.core.treasury import Treasury
from simex.payloads import events

GTD = "gtd"
"""Timers of orders good till a date; key: account, symbol, order id."""
LIFE = "life"
"""One timer, without a key: the oldest order without a date has lived as long as any may."""
MAX_LIFE_MS = 365 * 86_400_000
COUNTDOWN = "countdown"
"""Dead man's switches; key: account, symbol."""


class Settlement(Treasury):
    """The way from one trade to everything that follows from it."""

    def __init__(
        self, markets: dict[str, Market], accounts: dict[str, Account], own_visible: bool, rules: Rules = DEFAULT_RULES
    ) -> None:
        super().__init__(markets, accounts, own_visible)
        self.rules = rules
        self.timers.register(GTD, self._expire_dated)

    # -- consequences -------------------------------------------------------------------------------------------

    def _trade(
        self, market: Market, maker: Order | None, taker: Order | None, price_ticks: int, lots: int, fx: Effects
    ) -> None:
        """One trade; either side may be the outside world."""
        trade_id = market.next_trade_id()
        buyer_is_maker = maker.side == "BUY" if maker else taker is not None and taker.side == "SELL"
        market.last_price_ticks = price_ticks
        fx.trade(
            PublicTrade(
                market.instrument.symbol,
                trade_id,
                price_ticks,
                lots,
                buyer_is_maker,
                fx.now_ms,
                maker_is_own=maker is not None,
                taker_is_own=taker is not None,
            )
        )
        for order in (maker, taker):
            if order is not None:
                self._book_fill(market, order, trade_id, price_ticks, lots, order is maker, fx)
        for order in (maker, taker):
            if order is not None:
                self._knock_out(self.accounts[order.account], order.symbol, order.position_side, fx)

    def _print(self, market: Market, price_ticks: int, lots: int, buyer_is_maker: bool, fx: Effects) -> None:
        """The part of an external trade that met external makers."""
        if self.own_visible:
            trade_id = market.next_trade_id()
            symbol = market.instrument.symbol
            fx.trade(PublicTrade(symbol, trade_id, price_ticks, lots, buyer_is_maker, fx.now_ms))

    def _book_fill(
        self, market: Market, order: Order, trade_id: int, price_ticks: int, lots: int, is_maker: bool, fx: Effects
    ) -> None:
        account, instrument = self.accounts[order.account], order.instrument
        order.add_fill(price_ticks, lots, fx.now_ms)
        if order.resting:
            fx.touch(market, order.side, order.price_ticks)
            if not order.left_lots:
                market.book.side(order.side).remove(order)
        booking = account.apply_fill(
            instrument,
            order.position_side,
            order.side,
            instrument.qty(lots),
            instrument.price(price_ticks),
            is_maker=is_maker,
            now_ms=fx.now_ms,
            trade_id=trade_id,
            free=order.auto_close == "ADL",
            burn_price=self.burn_price(instrument.quote_asset) if account.fee_burn else None,
        )
        self.fees[booking.fee_asset] += booking.fee
        fill = Fill(
            order, trade_id, price_ticks, lots, is_maker, booking.fee, booking.fee_asset, booking.realised, fx.now_ms
        )
        account.history.fills.append(fill)
        if not order.is_open:
            self._close(account, order)
        if self.rules.trade_lite:
            fx.front(order, account.name, events.trade_lite(order, fill))
        also = None if booking.fee_asset == instrument.quote_asset else booking.fee_asset
        rows = _told_rows(account, booking.position, account.config(instrument).isolated)
        self.account_event(account, "ORDER", instrument, ZERO, rows, fx, also=also)
        execution = "CALCULATED" if order.auto_close else "TRADE"
        fx.event(account.name, events.order_update(order, execution, fx.now_ms, fill))

    def _end(self, order: Order, execution: str, status: str, fx: Effects, reason: str = "0") -> None:
        """Close an open order for any reason but its own last fill."""
        market = self.markets[order.symbol]
        self._unrest(market, order, fx)
        order.status = status
        order.expiry_reason = reason
        order.update_ms = fx.now_ms
        self._close(self.accounts[order.account], order)
        fx.event(order.account, events.order_update(order, execution, fx.now_ms))

    def _unrest(self, market: Market, order: Order, fx: Effects) -> None:
        """Take an order off the book, if it stands there."""
        if order.resting:
            market.book.side(order.side).remove(order)
            fx.touch(market, order.side, order.price_ticks)

    def _close(self, account: Account, order: Order) -> None:
        if order.good_till_ms:
            self.timers.clear(GTD, (order.account, order.symbol, order.order_id))
        account.close_order(order)

    def _allowed_lots(self, account: Account, order: Order) -> int:
        """What the order may still trade: a reduce-only one never more than its position."""
        if not order.reduce_only:
            return order.left_lots
        position = account.position(order.symbol, order.position_side)
        return min(order.left_lots, reducible_lots(position, order.side, order.instrument))

    def _knock_out(self, account: Account, symbol: str, leg: str, fx: Effects) -> None:
        """Expire resting reduce-only orders that lie wholly beyond the position, worst priority first to go.

        An incoming reduce-only order that is not resting yet claims its part like the others, MARKET before all.
        """
        claims = [o for o in account.orders_on(symbol) if o.reduce_only and o.position_side == leg]
        if not claims:
            return
        position = account.position(symbol, claims[0].position_side)
        claims.sort(key=lambda o: (reduce_priority(o.side, o.type == "MARKET", o.price_ticks), o.order_id))
        claimed = 0
        for order in claims:
            held = reducible_lots(position, order.side, order.instrument)
            if claimed >= held and order.resting:
                reason = GTE_END if order.tif == GTE else REDUCE_ONLY
                self._end(order, "EXPIRED", "EXPIRED", fx, reason)
            else:
                claimed += order.left_lots

    def _expire_dated(self, key: Key, fx: Effects) -> None:
        """A GTD order's time has come."""
        account, symbol, order_id = key
        order = self.accounts[str(account)].open_orders[str(symbol)][int(order_id)]
        self._end(order, self.rules.gtd_end, self.rules.gtd_end, fx)


def _told_rows(account: Account, changed: Position, isolated: bool) -> list[Position]:
    """The leg that changed; in hedge mode with isolated margin the symbol's other leg too, if it is open."""
    if not (account.hedge and isolated):
        return [changed]
    return [leg for leg in account.legs(changed.symbol) if leg is changed or (leg.side != "BOTH" and leg.amount)]
