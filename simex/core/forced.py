"""The exchange's own orders on an account: liquidation at the market, take-over by the insurance fund, deleveraging.

A liquidation is a LIMIT IOC order at the bankruptcy price. What the market does not take at that price or better is
taken over at it: by the insurance fund, which passes it on to the outside world at mark, or by the accounts at the
head of the deleveraging queue. Take-overs are no public trades. Sources: sections 2.5, 6.3, 13.4 and 13.6; that a
deleveraged account pays no commission, and that the order on it is a MARKET order, is this simulator's choice.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from simex.core.account import Account, Position
from simex.core.adl import queue
from simex.core.api import ForcedOrder, Side
from simex.core.effects import Effects
from simex.core.engine import Engine
from simex.core.instrument import Instrument
from simex.core.market import Market
from simex.core.order import Order, OrderType, PositionSide
from simex.payloads import events

LIQUIDATION, ADL = "LIQUIDATION", "ADL"
ADL_CLIENT_ID = "adl_autoclose"
_NO_STP = "NONE"


class ForcedOrders(Engine):
    """Closes positions without being asked."""

    forced_count = 0
    """Liquidation orders so far: the tail of their client ids."""

    def close_out(self, account: Account, position: Position, bankruptcy: Decimal, fx: Effects) -> Order:
        """Sell or buy back a whole leg at `bankruptcy` or better; whatever the market leaves is taken over there."""
        market = self.markets[position.symbol]
        side: Side = "SELL" if position.amount > 0 else "BUY"
        ticks = _limit_ticks(market.instrument, side, bankruptcy)
        self.forced_count += 1
        client_id = f"autoclose-{fx.now_ms}{self.forced_count % 1_000_000:06d}"
        order = self._forced_order(account, market, position, "LIMIT", ticks, client_id, fx)
        self._take(market, account, order, fx)
        if order.is_open:
            self._take_over(market, order, fx)
        fx.forced(ForcedOrder(order.symbol, order.filled_lots, events.force_order(order)))
        return order

    def deleverage(self, account: Account, position: Position, lots: int, price_ticks: int, fx: Effects) -> Order:
        """Take `lots` off a leg at a price, without commission; the other side is the caller's business."""
        market = self.markets[position.symbol]
        order = self._forced_order(account, market, position, "MARKET", 0, ADL_CLIENT_ID, fx, lots)
        self._book_fill(market, order, market.next_trade_id(), price_ticks, lots, False, fx)
        self._knock_out(account, order.symbol, order.position_side, fx)
        return order

    def part_of(self, account: Account, symbol: str, side: PositionSide, qty: Decimal | None) -> tuple[Position, int]:
        """A leg and how many lots `qty` of it are (None: all). ValueError if it is not there or smaller."""
        instrument = self.markets[symbol].instrument
        position = next((leg for leg in account.legs(symbol) if leg.side == side and leg.amount), None)
        if position is None:
            raise ValueError(f"account {account.name} has no {side} position in {symbol}")
        held = instrument.lots(abs(position.amount))
        lots = held if qty is None else instrument.lots(qty)
        if not 0 < lots <= held:
            raise ValueError(f"account {account.name} holds {abs(position.amount)} {symbol}, not {qty}")
        return position, lots

    def deleverage_at_mark(self, account: Account, position: Position, lots: int, fx: Effects) -> None:
        """By hand: the other side is the outside world, at the mark price on the tick."""
        market = self.markets[position.symbol]
        self.deleverage(account, position, lots, max(1, int(market.mark / market.instrument.tick_size)), fx)

    # -- take-over ----------------------------------------------------------------------------------------------

    def _take_over(self, market: Market, order: Order, fx: Effects) -> None:
        """The rest of a liquidation, at its price: the queue first if the fund shall not or cannot, then the fund."""
        loss = self._fund_loss(market, order, order.left_lots)
        purse = self.insurance[market.instrument.quote_asset]
        if self.rules.adl == "always" or (self.rules.adl == "auto" and loss > purse):
            self._deleverage_queue(market, order, fx)
        if order.left_lots:
            lots = order.left_lots
            self.insurance[market.instrument.quote_asset] -= self._fund_loss(market, order, lots)
            self._take_over_fill(market, order, lots, fx)

    def _deleverage_queue(self, market: Market, order: Order, fx: Effects) -> None:
        for account, position in queue(self, order.symbol, longs=order.side == "BUY"):
            if account.name == order.account:
                continue
            lots = min(order.left_lots, market.instrument.lots(abs(position.amount)))
            self._take_over_fill(market, order, lots, fx)
            self.deleverage(account, position, lots, order.price_ticks, fx)
            if not order.left_lots:
                return

    def _take_over_fill(self, market: Market, order: Order, lots: int, fx: Effects) -> None:
        self._book_fill(market, order, market.next_trade_id(), order.price_ticks, lots, False, fx)
        self._knock_out(self.accounts[order.account], order.symbol, order.position_side, fx)

    def _fund_loss(self, market: Market, order: Order, lots: int) -> Decimal:
        """What the fund loses (negative: wins) by taking over at the order's price what is worth the mark."""
        gap = order.price - market.mark if order.side == "SELL" else market.mark - order.price
        return gap * market.instrument.qty(lots)

    # -- the order ----------------------------------------------------------------------------------------------

    def _forced_order(
        self,
        account: Account,
        market: Market,
        position: Position,
        order_type: OrderType,
        price_ticks: int,
        client_id: str,
        fx: Effects,
        lots: int | None = None,
    ) -> Order:
        side: PositionSide = position.side
        order = Order(
            account=account.name,
            instrument=market.instrument,
            order_id=market.next_order_id(),
            client_id=client_id,
            side="SELL" if position.amount > 0 else "BUY",
            type=order_type,
            tif="IOC" if order_type == "LIMIT" else "GTC",
            position_side=side,
            price_ticks=price_ticks,
            qty_lots=market.instrument.lots(abs(position.amount)) if lots is None else lots,
            reduce_only=False,
            stp=_NO_STP,
            good_till_ms=0,
            created_ms=fx.now_ms,
            update_ms=fx.now_ms,
            auto_close=LIQUIDATION if order_type == "LIMIT" else ADL,
            shown_as=self.rules.liquidation_type if order_type == "LIMIT" else "",
        )
        account.add_order(order)
        fx.event(account.name, events.order_update(order, "NEW", fx.now_ms))
        return order


def _limit_ticks(instrument: Instrument, side: Side, price: Decimal) -> int:
    """On the tick, never beyond the bankruptcy price, and never below the first tick."""
    exact = price / instrument.tick_size
    return max(1, int(exact.to_integral_value(ROUND_CEILING if side == "SELL" else ROUND_FLOOR)))
