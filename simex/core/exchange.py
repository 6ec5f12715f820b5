"""`Exchange`: the one door into the simulated exchange. See `simex.core.api.ExchangeDoor` for the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from simex.core import algo_trading, amending, batching, countdown, ledger, switches, trading, wallet
from simex.core.account import Account
from simex.core.api import AccountSpec, Json, Level, Out, PublicLevels, Reply, UserEvent
from simex.core.context import Context, Routes
from simex.core.dump import dump, restore
from simex.core.effects import Effects
from simex.core.errors import Refusal, no_path
from simex.core.instrument import Instrument
from simex.core.liquidation import Liquidator
from simex.core.market import Market
from simex.core.order import PositionSide
from simex.core.rules import DEFAULT_RULES, Rules
from simex.core.treasury import transfer_reason
from simex.core.truth import truth

ROUTES: Routes = {
    **trading.ROUTES,
    **amending.ROUTES,
    **batching.ROUTES,
    **countdown.ROUTES,
    **algo_trading.ROUTES,
    **wallet.ROUTES,
    **switches.ROUTES,
    **ledger.ROUTES,
}


class Exchange:
    """Matching and accounting of several accounts over several symbols. Pure: time comes in, effects go out.

    `id_base` shifts all order and trade ids. A server that starts anew passes something that grows (its start time in
    milliseconds), so that a client which outlived the old one never sees an id twice.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        accounts: Sequence[AccountSpec],
        *,
        own_visible: bool = True,
        id_base: int = 0,
        rules: Rules = DEFAULT_RULES,
    ) -> None:
        self.own_visible = own_visible
        self.changes = 0
        """Rises with every input that may have changed an account."""
        self._markets = {instrument.symbol: Market(instrument, id_base) for instrument in instruments}
        self._accounts = {spec.name: Account(spec) for spec in accounts}
        if len(self._accounts) != len(accounts):
            raise ValueError("two accounts have the same name; names must be unique")
        self._engine = Liquidator(self._markets, self._accounts, own_visible, rules)
        self._engine.algos.last_id += id_base

    # -- market inputs ------------------------------------------------------------------------------------------

    def on_levels(self, now_ms: int, symbol: str, bids: list[Level], asks: list[Level]) -> list[Out]:
        market = self._markets[symbol]
        if not market.book.has_own():  # the common case: nothing to fill, nothing of ours to add
            for levels, changes in ((market.book.bids, bids), (market.book.asks, asks)):
                for price, lots in changes:
                    levels.set_external(price, lots)
            return [PublicLevels(symbol, list(bids), list(asks))] if self.own_visible and (bids or asks) else []
        fx = self._effects(now_ms)
        self._engine.apply_levels(market, bids, asks, fx)
        return self._finish(fx)

    def on_print(self, now_ms: int, symbol: str, price_ticks: int, qty_lots: int, buyer_is_maker: bool) -> list[Out]:
        fx = self._effects(now_ms)
        if qty_lots > 0:
            self._engine.apply_print(self._markets[symbol], price_ticks, qty_lots, buyer_is_maker, fx)
        return self._finish(fx)

    def on_mark(
        self, now_ms: int, symbol: str, mark: Decimal, index: Decimal, funding_rate: Decimal, next_funding_ms: int
    ) -> list[Out]:
        market = self._markets[symbol]
        fx = self._effects(now_ms)
        market.announced_mark, market.index = mark, index
        self._engine.announce_funding(market, funding_rate, next_funding_ms, fx)
        self._engine.mark_moved(symbol)
        return self._finish(fx)

    def settle_funding(self, now_ms: int, symbol: str) -> list[Out]:
        fx = self._effects(now_ms)
        self._engine.settle_funding(self._markets[symbol], fx)
        return self._finish(fx)

    # -- clock --------------------------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        """When `on_time` has something to do next; None as long as nothing is waiting for a time."""
        return self._engine.timers.next_due_ms()

    def on_time(self, now_ms: int) -> list[Out]:
        """Everything that is due by the clock. Every other input does the same first, so calling early is harmless."""
        return self._finish(self._effects(now_ms))

    # -- accounts -----------------------------------------------------------------------------------------------

    def call(
        self, now_ms: int, account: str, method: str, path: str, params: Mapping[str, str]
    ) -> tuple[Reply, list[Out]]:
        """See `ExchangeDoor.call`. An unknown account name is the caller's mistake and raises KeyError."""
        fx = self._effects(now_ms)
        context = Context(self._engine, self._accounts[account], params, fx)
        try:
            handler = ROUTES.get((method, path))
            if handler is None:
                raise no_path(method, path)
            _check_rights(context.account, method, path)
            reply = handler(context)
            if method != "GET":
                self.changes += 1
        except Refusal as refusal:
            reply = Reply(refusal.status, refusal.body(), order_count=refusal.order_count)
        return reply, self._finish(fx)

    def transfer(self, now_ms: int, account: str, asset: str, amount: Decimal, reason: str | None = None) -> list[Out]:
        """Deposit (positive) or withdraw; `reason` is the event's `m`, DEPOSIT or WITHDRAW by the sign if None.

        ValueError for a reason that is none of `simex.core.treasury.TRANSFER_KINDS`.
        """
        reason = transfer_reason(amount, reason)
        fx = self._effects(now_ms)
        self._engine.transfer(self._accounts[account], asset, amount, reason, fx)
        return self._finish(fx)

    def liquidate(self, now_ms: int, account: str, symbol: str) -> list[Out]:
        """Close an account's positions in a symbol as if their margin were used up. ValueError if there is none."""
        if not any(leg.amount for leg in self._accounts[account].legs(symbol)):
            raise ValueError(f"account {account} has no position in {symbol}")
        fx = self._effects(now_ms)
        self._engine.liquidate(self._accounts[account], symbol, fx)
        return self._finish(fx)

    def deleverage(
        self, now_ms: int, account: str, symbol: str, side: PositionSide, qty: Decimal | None = None
    ) -> list[Out]:
        """Take a position, or part of it, away at mark by an ADL order. ValueError if it is not there or smaller."""
        position, lots = self._engine.part_of(self._accounts[account], symbol, side, qty)
        fx = self._effects(now_ms)
        self._engine.deleverage_at_mark(self._accounts[account], position, lots, fx)
        return self._finish(fx)

    # -- looking ------------------------------------------------------------------------------------------------

    def truth(self) -> Json:
        return truth(self._engine)

    def dump(self, *, history: int | None = None, levels: bool = True) -> Json:
        """The whole state as plain JSON; see `simex.core.dump`."""
        return dump(self._engine, history=history, levels=levels)

    def restore(self, state: Json) -> None:
        """Take over a dumped state; for a fresh exchange only. BadState if it does not fit."""
        restore(self._engine, state)

    def book_totals(self, symbol: str) -> tuple[list[Level], list[Level]]:
        return self._markets[symbol].totals(self.own_visible)

    @property
    def rules(self) -> Rules:
        """What the protocol's sources leave open, as it is decided here; can be changed at any time."""
        return self._engine.rules

    @rules.setter
    def rules(self, rules: Rules) -> None:
        self._engine.rules = rules

    def insurance_fund(self) -> dict[str, Decimal]:
        """What the insurance fund holds, by margin asset."""
        assets = dict.fromkeys(market.instrument.quote_asset for market in self._markets.values())
        return {asset: self._engine.insurance[asset] for asset in assets}

    def has_route(self, method: str, path: str) -> bool:
        """Does `call` serve this endpoint?"""
        return (method, path) in ROUTES

    def instrument(self, symbol: str) -> Instrument:
        return self._markets[symbol].instrument

    def replace_instrument(self, instrument: Instrument) -> None:
        """New filters or status at run time. Tick and step must stay: open orders and levels are counted in them."""
        market = self._markets[instrument.symbol]
        old = market.instrument
        if (instrument.tick_size, instrument.step_size) != (old.tick_size, old.step_size):
            raise ValueError(f"{instrument.symbol}: tick and step size cannot change while the exchange runs")
        market.instrument = instrument
        self._engine.state.instruments[instrument.symbol] = instrument

    def _finish(self, fx: Effects) -> list[Out]:
        """All effects; first the conditional orders they trigger and the margin of whoever these have touched."""
        self._engine.algos.run(fx)
        while self._engine.moved:
            self._engine.watch_margin(fx)
            self._engine.algos.run(fx)
        outs = fx.finish()
        if any(isinstance(out, UserEvent) for out in outs):
            self.changes += 1
        return outs

    def _effects(self, now_ms: int) -> Effects:
        """Fresh collector; what is due by the clock happens before anything else."""
        fx = Effects(now_ms, self.own_visible)
        self._engine.timers.run(now_ms, fx)
        return fx


def _check_rights(account: Account, method: str, path: str) -> None:
    """A key without the right to trade futures still reads; one without the right to read does nothing."""
    rights = account.rights
    if path.startswith("/fapi/") and not (rights.reading and (method == "GET" or rights.futures)):
        raise Refusal(-2015)
