"""Acceptance, matching and cancellation of own orders.

Event order: x=NEW of an order before anything else about it but the TRADE_LITE of a MARKET order, which the exchange
sends even before; the rest is the business of `simex.core.settlement`.
"""

from __future__ import annotations

from simex.core.account import Account
from simex.core.admission import admit
from simex.core.algo_desk import AlgoDesk
from simex.core.amendment import AmendRequest, admit_amendment
from simex.core.api import Side
from simex.core.effects import Effects
from simex.core.market import Market
from simex.core.matching import TakerSweep, would_take
from simex.core.order import IOC_REST, IOC_STP, MARKET_REST, REDUCE_ONLY, STP, Order
from simex.core.orders import OrderRequest
from simex.core.outside import Outside
from simex.core.rules import DEFAULT_RULES, Rules
from simex.core.settlement import COUNTDOWN, GTD, LIFE, MAX_LIFE_MS
from simex.core.timers import Key
from simex.payloads import events

_EXPIRES_UNFILLED = frozenset({"IOC", "FOK"})


class Engine(Outside):
    """Every change to the exchange, below parameters and replies."""

    def __init__(
        self, markets: dict[str, Market], accounts: dict[str, Account], own_visible: bool, rules: Rules = DEFAULT_RULES
    ) -> None:
        super().__init__(markets, accounts, own_visible, rules)
        self.algos = AlgoDesk(self)
        self.timers.register(COUNTDOWN, self._count_down)
        self.timers.register(LIFE, self._expire_old)

    # -- placing ------------------------------------------------------------------------------------------------

    def place(self, account: Account, request: OrderRequest, fx: Effects) -> Order:
        """Accept and match an order; raises Refusal, with nothing changed, where the exchange would refuse."""
        price_ticks = admit(self.state, account, request, self.rules)
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
            origin=request.origin,
        )
        account.add_order(order)
        if order.reduce_only:
            self._knock_out(account, order.symbol, order.position_side, fx)
        rests = order.type == "LIMIT" and not would_take(market.book, order.side, order.price_ticks)
        if rests and order.tif not in _EXPIRES_UNFILLED:
            self._rest(market, order, fx)
            fx.event(account.name, events.order_update(order, "NEW", fx.now_ms))
        else:
            if order.type == "MARKET":
                fx.keep_front(order)
            fx.event(account.name, events.order_update(order, "NEW", fx.now_ms))
            self._take(market, account, order, fx)
        return order

    def amend(self, account: Account, request: AmendRequest, fx: Effects) -> Order:
        """New price and total of a resting order; raises Refusal, with nothing changed, where the exchange would.

        A total at or below what is filled cancels the order, and so does a post-only one's price that would take.
        """
        order = request.order
        price_ticks = admit_amendment(self.state, account, request)
        market = self.markets[order.symbol]
        takes = would_take(market.book, order.side, price_ticks)
        if request.qty_lots <= order.filled_lots or (order.tif == "GTX" and takes):
            self.cancel(order, fx)
            return order
        self._unrest(market, order, fx)
        order.amend(price_ticks, request.qty_lots, fx.now_ms, request.modify_id)
        order.price_match = request.price_match
        if not takes:
            self._rest(market, order, fx)
        fx.event(account.name, events.order_update(order, "AMENDMENT", fx.now_ms, modify_id=request.modify_id))
        if takes:
            self._take(market, account, order, fx)
        elif order.reduce_only:
            self._knock_out(account, order.symbol, order.position_side, fx)
        return order

    def cancel_all(self, account: Account, symbol: str, fx: Effects) -> None:
        for order in account.orders_on(symbol):
            self.cancel(order, fx)

    def _count_down(self, key: Key, fx: Effects) -> None:
        """A dead man's switch was not restarted in time."""
        account, symbol = key
        self.cancel_all(self.accounts[str(account)], str(symbol), fx)
        if self.rules.countdown_cancels_algos:
            self.algos.cancel_all(self.accounts[str(account)], str(symbol), fx)

    def _expire_old(self, _key: Key, fx: Effects) -> None:
        """No order lives longer than a year; the next oldest is looked at when its year is over."""
        undated = [order for a in self.accounts.values() for order in a.all_open() if not order.good_till_ms]
        for order in undated:
            if order.created_ms + MAX_LIFE_MS <= fx.now_ms:
                self._end(order, "EXPIRED", "EXPIRED", fx)
        oldest_ms = min((order.created_ms for order in undated if order.is_open), default=None)
        if oldest_ms is not None:
            self.timers.set(LIFE, (), oldest_ms + MAX_LIFE_MS)

    def cancel(self, order: Order, fx: Effects) -> None:
        self._end(order, "CANCELED", "CANCELED", fx)

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
            self._end(taker, "EXPIRED", "EXPIRED_IN_MATCH", fx, IOC_STP if taker.tif == "IOC" else STP)

    def _after_sweep(self, market: Market, account: Account, order: Order, fx: Effects) -> None:
        if order.auto_close:
            return  # the rest is taken over, not cancelled
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
        elif self.timers.due_ms(LIFE, ()) is None:
            self.timers.set(LIFE, (), order.created_ms + MAX_LIFE_MS)


def _fresh_client_id(account: Account, order_id: int) -> str:
    """The id the exchange gives where the client sent none; never one that is open already."""
    client_id = f"simex{order_id}"
    while client_id in account.open_client_ids:
        client_id += "x"
    return client_id
