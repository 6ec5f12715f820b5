"""The service that keeps conditional orders: accepts them, watches the prices, sends what they trigger to the engine.

It acts at the end of every input, when the engine's own consequences are done: first what lost its position, then what
the price reached, oldest first, until nothing more follows. A trigger is checked against the last trade or the mark
price, the latter cut to the symbol's digits, as the exchange does.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from simex.core.account import Account
from simex.core.admission import reducible_lots
from simex.core.algo import GTE, LIMIT_TYPES, TRAILING, AlgoOrder, AlgoSpec
from simex.core.effects import Effects
from simex.core.errors import Refusal
from simex.core.market import Market
from simex.core.orders import OrderRequest
from simex.core.timers import Key
from simex.payloads import algo as payloads

if TYPE_CHECKING:
    from simex.core.engine import Engine

FIRST_ALGO_ID = 4_000_001_910_701_523
MAX_ALGOS = 200
"""Conditional orders of an account over all symbols."""
EXPIRY, SUBMIT = "algo_expiry", "algo_submit"
"""Timers of good-till dates and of delayed triggers; key: account, algo id."""
_Prices = tuple[int | None, Decimal]
"""(last trade in ticks, mark)"""


class AlgoDesk:
    """All conditional orders of the exchange."""

    def __init__(self, engine: Engine, id_base: int = 0) -> None:
        self._engine = engine
        self.last_id = FIRST_ALGO_ID + id_base
        self._placed: dict[tuple[str, str, int], AlgoOrder] = {}
        """Algo orders whose order is still open; key: account, symbol, order id."""
        self._checked: dict[str, _Prices] = {}
        """Prices at which nothing that waits was due, by symbol."""
        engine.timers.register(EXPIRY, self._expire_due)
        engine.timers.register(SUBMIT, self._submit_due)

    def restored(self) -> None:
        """The accounts' books were filled from a stored state: find the orders that are still open again."""
        for account in self._engine.accounts.values():
            for algo in account.algos.decided.values():
                if algo.status == "TRIGGERED" and algo.order is not None:
                    self._placed[account.name, algo.symbol, algo.order.order_id] = algo

    # -- accepting ----------------------------------------------------------------------------------------------

    def place(self, account: Account, spec: AlgoSpec, fx: Effects) -> AlgoOrder:
        """Raises Refusal, with nothing changed, where the exchange would refuse."""
        market = self._engine.markets[spec.instrument.symbol]
        self._admit(account, spec, market)
        if spec.type == TRAILING and spec.activation is None:
            spec = replace(spec, activation=self._price(market, spec))
        self.last_id += 1
        client_id = spec.client_id or f"simex{self.last_id}"
        algo = AlgoOrder(account.name, self.last_id, client_id, spec, fx.now_ms, fx.now_ms)
        account.algos.add(algo)
        if spec.good_till_ms:
            self._engine.timers.set(EXPIRY, (account.name, algo.algo_id), spec.good_till_ms)
        self._checked.pop(algo.symbol, None)
        self._tell(algo, fx)
        return algo

    def cancel(self, account: Account, algo: AlgoOrder, fx: Effects) -> None:
        """-4117 while it is on its way to the engine."""
        if algo.status == "TRIGGERING":
            raise Refusal(-4117)
        self._decide(account, algo, "CANCELED", fx)

    def cancel_all(self, account: Account, symbol: str, fx: Effects) -> None:
        """All that wait; what is on its way to the engine goes on."""
        for algo in account.algos.on(symbol):
            if algo.status == "NEW":
                self._decide(account, algo, "CANCELED", fx)

    def _admit(self, account: Account, spec: AlgoSpec, market: Market) -> None:
        book, instrument = account.algos, spec.instrument
        if spec.client_id is not None and book.is_waiting(spec.client_id):
            raise Refusal(-4116)
        if instrument.status != "TRADING":
            raise Refusal(-4141 if spec.reduce_only else -4140)
        if len(book.waiting) >= MAX_ALGOS:
            raise Refusal(-4045)
        on_symbol = book.on(instrument.symbol)
        if len(on_symbol) + len(account.open_orders.get(instrument.symbol, ())) >= instrument.max_orders:
            raise Refusal(-2025)
        if spec.tif == GTE and not self._reducible(account, spec):
            raise Refusal(-4509)
        if spec.close_position and any(_closes_alike(algo.spec, spec) for algo in on_symbol):
            raise Refusal(-4130)
        probe = AlgoOrder(account.name, 0, "", spec, 0, 0)
        price = self._price(market, spec)
        if spec.type == TRAILING:
            if spec.activation is not None and not _is_ahead(probe, spec.activation, price):
                raise Refusal(-2021)
        elif probe.is_reached(price):
            raise Refusal(-2021)

    # -- watching -----------------------------------------------------------------------------------------------

    def run(self, fx: Effects) -> None:
        """What follows from the input that was just applied. A trigger can move prices and positions again."""
        self._finish_ended(fx)
        while self._expire_unbound(fx) or self._trigger_one(fx):
            self._finish_ended(fx)

    def _trigger_one(self, fx: Effects) -> bool:
        """The oldest that is due; only symbols whose prices have moved since nothing was due are looked at."""
        prices: dict[str, _Prices] = {}
        for account in self._engine.accounts.values():
            for algo in account.algos.waiting.values():
                if algo.symbol not in prices:
                    prices[algo.symbol] = self._prices(algo.symbol)
                if algo.status != "NEW" or prices[algo.symbol] == self._checked.get(algo.symbol):
                    continue
                if self._is_due(algo, fx):
                    self._trigger(account, algo, fx)
                    return True
        self._checked.update(prices)
        return False

    def _prices(self, symbol: str) -> _Prices:
        market = self._engine.markets[symbol]
        return market.last_price_ticks, market.mark

    def _is_due(self, algo: AlgoOrder, fx: Effects) -> bool:
        spec = algo.spec
        market = self._engine.markets[algo.symbol]
        price = self._price(market, spec)
        if spec.type == TRAILING and algo.follow(price):
            algo.update_ms = fx.now_ms
            self._tell(algo, fx)
        return algo.is_reached(price) and not (spec.price_protect and self._diverges(market))

    def _price(self, market: Market, spec: AlgoSpec) -> Decimal:
        """The working price. Before the first trade the mark price serves."""
        if spec.working_type == "CONTRACT_PRICE" and market.last_price_ticks is not None:
            return market.instrument.price(market.last_price_ticks)
        cent = Decimal(1).scaleb(-market.instrument.price_precision)
        return market.mark.quantize(cent, rounding=ROUND_FLOOR)

    def _diverges(self, market: Market) -> bool:
        """Price protection: last and mark price are farther apart than the symbol allows, so nothing triggers."""
        if market.last_price_ticks is None:
            return False
        last, mark = market.instrument.price(market.last_price_ticks), market.mark
        return abs(last - mark) > mark * market.instrument.trigger_protect

    def _expire_unbound(self, fx: Effects) -> bool:
        """One that lives with its position and has lost it."""
        for account in self._engine.accounts.values():
            for algo in account.algos.waiting.values():
                if algo.is_bound and not self._reducible(account, algo.spec):
                    self._decide(account, algo, "EXPIRED", fx)
                    return True
        return False

    def _expire_due(self, key: Key, fx: Effects) -> None:
        """A good-till date has come."""
        account, algo = self._timed(key)
        if algo is not None:
            self._decide(account, algo, "EXPIRED", fx)

    # -- triggering ---------------------------------------------------------------------------------------------

    def _trigger(self, account: Account, algo: AlgoOrder, fx: Effects) -> None:
        algo.status = "TRIGGERING"
        algo.trigger_ms = algo.update_ms = fx.now_ms
        self._tell(algo, fx)
        delay_ms = self._engine.rules.trigger_delay_ms
        if delay_ms:
            self._engine.timers.set(SUBMIT, (account.name, algo.algo_id), fx.now_ms + delay_ms)
        else:
            self._submit(account, algo, fx)

    def _submit_due(self, key: Key, fx: Effects) -> None:
        account, algo = self._timed(key)
        if algo is not None:
            self._submit(account, algo, fx)

    def _submit(self, account: Account, algo: AlgoOrder, fx: Effects) -> None:
        """Place what was triggered; what the engine refuses is REJECTED, with its reason."""
        spec = algo.spec
        lots = self._reducible(account, spec) if spec.close_position else spec.qty_lots
        if not lots:
            self._decide(account, algo, "EXPIRED", fx)
            return
        here = fx.here()
        try:
            order = self._engine.place(account, self._request(account, algo, lots), fx)
        except Refusal as refusal:
            algo.reject_reason = "Reduce Only reject" if refusal.code in (-2022, -4118) else refusal.msg
            self._decide(account, algo, "REJECTED", fx)
            if self._engine.rules.trigger_reject_event:
                fx.event(account.name, payloads.trigger_reject(algo, fx.now_ms))
            return
        account.algos.decide(algo)
        self._clear_timers(algo)
        algo.order, algo.status, algo.update_ms = order, "TRIGGERED", fx.now_ms
        event = payloads.update(algo, fx.now_ms)
        fx.event(account.name, event, None if self._engine.rules.triggered_order_first else here)
        self._placed[account.name, order.symbol, order.order_id] = algo

    def _request(self, account: Account, algo: AlgoOrder, lots: int) -> OrderRequest:
        spec = algo.spec
        keeps = self._engine.rules.algo_keeps_client_id and algo.client_id not in account.open_client_ids
        return OrderRequest(
            instrument=self._engine.markets[algo.symbol].instrument,
            side=spec.side,
            type="LIMIT" if spec.type in LIMIT_TYPES else "MARKET",
            tif=spec.tif,
            position_side=spec.position_side,
            price_ticks=spec.price_ticks,
            qty_lots=lots,
            reduce_only=spec.reduce_only,
            client_id=algo.client_id if keeps else None,
            stp=spec.stp,
            good_till_ms=spec.good_till_ms,
            price_match=spec.price_match,
            result=False,
            origin=algo.origin(),
        )

    def _finish_ended(self, fx: Effects) -> None:
        """Those whose order has ended in the engine."""
        for key, algo in list(self._placed.items()):
            if algo.order is not None and not algo.order.is_open:
                del self._placed[key]
                algo.status, algo.update_ms = "FINISHED", fx.now_ms
                self._tell(algo, fx)

    # -- shared -------------------------------------------------------------------------------------------------

    def _decide(self, account: Account, algo: AlgoOrder, status: str, fx: Effects) -> None:
        """It ends without an order."""
        account.algos.decide(algo)
        self._clear_timers(algo)
        algo.status, algo.update_ms = status, fx.now_ms
        self._tell(algo, fx)

    def _timed(self, key: Key) -> tuple[Account, AlgoOrder | None]:
        """What a timer is about; None where its symbol was not taken over from a stored state."""
        account = self._engine.accounts[str(key[0])]
        return account, account.algos.waiting.get(int(key[1]))

    def _clear_timers(self, algo: AlgoOrder) -> None:
        for kind in (EXPIRY, SUBMIT):
            self._engine.timers.clear(kind, (algo.account, algo.algo_id))

    def _reducible(self, account: Account, spec: AlgoSpec) -> int:
        position = account.position(spec.instrument.symbol, spec.position_side)
        return reducible_lots(position, spec.side, spec.instrument)

    def _tell(self, algo: AlgoOrder, fx: Effects) -> None:
        fx.event(algo.account, payloads.update(algo, fx.now_ms))


def _closes_alike(one: AlgoSpec, other: AlgoSpec) -> bool:
    """Two that close the same leg on the same side of the price: a stop and a take-profit may stand together."""
    return (
        one.close_position
        and (one.side, one.position_side) == (other.side, other.position_side)
        and one.type == other.type
    )


def _is_ahead(algo: AlgoOrder, activation: Decimal, price: Decimal) -> bool:
    """A trailing stop activates at a price still to come: below for a buy, above for a sale."""
    return activation < price if algo.rises else activation > price
