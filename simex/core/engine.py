"""Acceptance, matching, cancellation and their consequences for accounts and other orders.

One input at a time; all consequences of a fill (money, events, reduce-only orders that lose their position) are
applied before the next match is looked for. Event order: x=NEW of an order before anything else about it; of one fill
ACCOUNT_UPDATE before ORDER_TRADE_UPDATE; the maker's side before the taker's.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from simex.core.account import ZERO, Account, Position
from simex.core.admission import admit, reduce_priority, reducible_lots
from simex.core.api import Level, PublicTrade, Side
from simex.core.book import BookSide, opposite
from simex.core.effects import Effects
from simex.core.instrument import Instrument
from simex.core.market import Market, State
from simex.core.matching import TakerSweep, next_for_print, would_take
from simex.core.order import IOC_REST, MARKET_REST, REDUCE_ONLY, STP, Fill, Order
from simex.core.orders import OrderRequest
from simex.core.timers import Key, Timers
from simex.payloads import events

_EXPIRES_UNFILLED = frozenset({"IOC", "FOK"})
GTD = "gtd"
"""Timers of orders good till a date; key: account, symbol, order id."""


class Engine:
    """The state of the exchange and every change to it, below parameters and replies."""

    def __init__(self, markets: dict[str, Market], accounts: dict[str, Account], own_visible: bool) -> None:
        self.state = State(markets, own_visible)
        self.markets = markets
        self.accounts = accounts
        self.own_visible = own_visible
        self.timers = Timers()
        self.timers.register(GTD, self._expire_dated)

    # -- placing ------------------------------------------------------------------------------------------------

    def place(self, account: Account, request: OrderRequest, fx: Effects) -> Order:
        """Accept and match an order; raises Refusal, with nothing changed, where the exchange would refuse."""
        price_ticks = admit(self.state, account, request)
        market = self.markets[request.instrument.symbol]
        order_id = market.next_order_id()
        order = Order(
            account=account.name,
            instrument=request.instrument,
            order_id=order_id,
            client_id=request.client_id or _fresh_client_id(account, order_id),
            side=request.side,
            type=request.type,
            tif=request.tif,
            position_side=request.position_side,
            price_ticks=price_ticks,
            qty_lots=request.qty_lots,
            reduce_only=request.reduce_only,
            stp=request.stp,
            good_till_ms=request.good_till_ms,
            created_ms=fx.now_ms,
            price_match=request.price_match,
            update_ms=fx.now_ms,
        )
        account.add_order(order)
        if order.reduce_only:
            self._knock_out(account, order.symbol, order.position_side, fx)
        rests = order.type == "LIMIT" and not would_take(market.book, order.side, order.price_ticks)
        if rests and order.tif not in _EXPIRES_UNFILLED:
            self._rest(market, order, fx)
            fx.event(account.name, events.order_update(order, "NEW", fx.now_ms))
        else:
            fx.event(account.name, events.order_update(order, "NEW", fx.now_ms))
            self._take(market, account, order, fx)
        return order

    def cancel(self, order: Order, fx: Effects) -> None:
        self._end(order, "CANCELED", "CANCELED", fx)

    def _expire_dated(self, key: Key, fx: Effects) -> None:
        """A GTD order's time has come."""
        account, symbol, order_id = key
        order = self.accounts[str(account)].open_orders[str(symbol)][int(order_id)]
        self._end(order, "EXPIRED", "EXPIRED", fx)

    # -- matching: an own order takes ---------------------------------------------------------------------------

    def _take(self, market: Market, account: Account, order: Order, fx: Effects) -> None:
        limit = order.price_ticks if order.type == "LIMIT" else self._sweep_limit(market, order.side)
        sweep = TakerSweep(market.book, order.side, limit, consume=self.own_visible)
        while order.is_open and order.left_lots:
            wanted = self._allowed_lots(account, order)
            if not wanted:
                self._end(order, "EXPIRED", "EXPIRED", fx, REDUCE_ONLY)
                return
            match = sweep.next()
            if match is None:
                break
            if match.maker is None:
                lots = min(wanted, match.lots)
                sweep.took_external(match.price_ticks, lots)
                fx.consumed(order.symbol, sweep.levels.side, match.price_ticks, lots)
                fx.touch(market, sweep.levels.side, match.price_ticks)
                self._trade(market, None, order, match.price_ticks, lots, fx)
            elif match.maker.account == order.account and order.stp != "NONE" and order.tif != "FOK":
                self._prevent_self_trade(match.maker, order, fx)
            else:
                self._meet(market, match.maker, order, min(wanted, match.lots), fx)
        if order.is_open:
            self._after_sweep(market, account, order, fx)

    def _meet(self, market: Market, maker: Order, taker: Order, lots: int, fx: Effects) -> None:
        """Two own orders; a reduce-only maker gives at most its position."""
        allowed = min(lots, self._allowed_lots(self.accounts[maker.account], maker))
        if allowed:
            self._trade(market, maker, taker, maker.price_ticks, allowed, fx)
        else:
            self._end(maker, "EXPIRED", "EXPIRED", fx, REDUCE_ONLY)

    def _prevent_self_trade(self, maker: Order, taker: Order, fx: Effects) -> None:
        """The incoming order's mode decides who expires."""
        if taker.stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            self._end(maker, "EXPIRED", "EXPIRED_IN_MATCH", fx, STP)
        if taker.stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
            self._end(taker, "EXPIRED", "EXPIRED_IN_MATCH", fx, STP)

    def _after_sweep(self, market: Market, account: Account, order: Order, fx: Effects) -> None:
        if order.type == "MARKET":
            self._end(order, "EXPIRED", "EXPIRED", fx, MARKET_REST)
        elif order.tif in _EXPIRES_UNFILLED:
            self._end(order, "EXPIRED", "EXPIRED", fx, IOC_REST)
        else:
            self._rest(market, order, fx)
            if order.reduce_only:
                self._knock_out(account, order.symbol, order.position_side, fx)

    def _sweep_limit(self, market: Market, side: Side) -> int | None:
        """How far from mark a MARKET order may sweep (marketTakeBound), in ticks."""
        mark = market.band_mark
        if mark is None:
            return None
        bound = market.instrument.market_take_bound
        limit = mark * (1 + bound if side == "BUY" else 1 - bound)
        return int(limit / market.instrument.tick_size)

    def _rest(self, market: Market, order: Order, fx: Effects) -> None:
        market.book.side(order.side).rest(order)
        fx.touch(market, order.side, order.price_ticks)
        if order.good_till_ms:
            self.timers.set(GTD, (order.account, order.symbol, order.order_id), order.good_till_ms)

    # -- matching: the outside world takes ----------------------------------------------------------------------

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

    # -- money without trades -----------------------------------------------------------------------------------

    def settle_funding(self, market: Market, fx: Effects) -> None:
        """Every open leg of the symbol pays or gets notional at mark * rate; isolated legs from their own wallet."""
        instrument = market.instrument
        for account in self.accounts.values():
            isolated = account.config(instrument).isolated
            for position in account.legs(instrument.symbol):
                if not position.amount:
                    continue
                amount = account.apply_funding(instrument, position, market.mark, market.funding_rate, fx.now_ms)
                rows = [position] if isolated else []
                self.account_event(account, "FUNDING_FEE", instrument, amount, rows, fx, instrument.symbol)

    def transfer(self, account: Account, asset: str, amount: Decimal, reason: str | None, fx: Effects) -> None:
        booked = account.transfer(asset, amount, fx.now_ms)
        wallet = account.wallet(asset, self.state.instruments)
        balance = (asset, wallet, account.cross_wallet[asset], booked)
        reason = reason or ("DEPOSIT" if booked >= 0 else "WITHDRAW")
        fx.event(account.name, events.account_update(reason, fx.now_ms, [balance], []))

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
        )
        fill = Fill(order, trade_id, price_ticks, lots, is_maker, booking.fee, booking.realised, fx.now_ms)
        account.history.fills.append(fill)
        if not order.is_open:
            self._close(account, order)
        self.account_event(account, "ORDER", instrument, ZERO, [booking.position], fx)
        fx.event(account.name, events.order_update(order, "TRADE", fx.now_ms, fill))

    def account_event(
        self,
        account: Account,
        reason: str,
        instrument: Instrument,
        change: Decimal,
        positions: Iterable[Position],
        fx: Effects,
        symbol: str | None = None,
    ) -> None:
        """ACCOUNT_UPDATE about the wallet of the instrument's quote asset and these legs."""
        asset = instrument.quote_asset
        isolated = account.config(instrument).isolated
        rows = [(position, instrument, self.state.mark_of(position.symbol), isolated) for position in positions]
        wallet = account.wallet(asset, self.state.instruments)
        balance = (asset, wallet, account.cross_wallet.get(asset, ZERO), change)
        fx.event(account.name, events.account_update(reason, fx.now_ms, [balance], rows, symbol))

    def _end(self, order: Order, execution: str, status: str, fx: Effects, reason: str = "0") -> None:
        """Close an open order for any reason but its own last fill."""
        market = self.markets[order.symbol]
        if order.resting:
            market.book.side(order.side).remove(order)
            fx.touch(market, order.side, order.price_ticks)
        order.status = status
        order.expiry_reason = reason
        order.update_ms = fx.now_ms
        self._close(self.accounts[order.account], order)
        fx.event(order.account, events.order_update(order, execution, fx.now_ms))

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
                self._end(order, "EXPIRED", "EXPIRED", fx, REDUCE_ONLY)
            else:
                claimed += order.left_lots


def _fresh_client_id(account: Account, order_id: int) -> str:
    """The id the exchange gives where the client sent none; never one that is open already."""
    client_id = f"simex{order_id}"
    while client_id in account.open_client_ids:
        client_id += "x"
    return client_id
