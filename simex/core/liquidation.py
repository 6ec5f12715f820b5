"""Margin watched: a call when a pool's maintenance margin nears its balance, liquidation when it reaches it.

A pool is what covers a leg: an isolated leg's own wallet, or the cross wallet of a margin asset (of the whole account
in multi-assets mode). It is valued at mark, whenever the mark or the account has changed. The open orders of a pool
expire (`er` 5) before its first position is closed; positions go one by one, the largest maintenance margin first,
until the rest is covered. Of what is left the insurance fund takes its clearance fee, and it pays what is missing, so
that no account ends below zero.
"""

from __future__ import annotations

from decimal import Decimal

from simex.core.account import ZERO, Account, money
from simex.core.effects import Effects
from simex.core.forced import ForcedOrders
from simex.core.instrument import Instrument
from simex.core.margin import LegMargin, bankruptcy_price
from simex.core.order import LIQUIDATED
from simex.core.valuation import Valuation, valuation
from simex.payloads import events

CALL_RATIO = Decimal("0.8")
"""Maintenance margin in parts of the margin balance at which a MARGIN_CALL is sent, once until it has fallen below."""


class Liquidator(ForcedOrders):
    """The engine whole: trading, money, and the end of accounts that cannot pay."""

    def mark_moved(self, symbol: str) -> None:
        """A new mark: whoever holds the symbol is looked at, and whoever may have its asset as collateral."""
        for account in self.accounts.values():
            legs = account.positions.values() if account.multi_assets else account.legs(symbol)
            if any(leg.amount for leg in legs):
                self.moved.add(account.name)

    def watch_margin(self, fx: Effects) -> None:
        """Look at every account that has changed; what a liquidation changes is looked at in turn."""
        while self.moved:
            name = min(self.moved)
            self.moved.remove(name)
            self._watch(self.accounts[name], fx)

    def liquidate(self, account: Account, symbol: str, fx: Effects) -> None:
        """Close the account's legs of a symbol as if its margin were used up."""
        legs = [leg for leg in valuation(account, self.state).legs if leg.position.symbol == symbol]
        held = [leg.position for leg in legs if leg.position.amount]
        for position in held:
            leg = next(leg for leg in valuation(account, self.state).legs if leg.position is position)
            self._end_orders(account, [symbol], fx)
            self._close_leg(account, valuation(account, self.state), leg, fx)

    def _watch(self, account: Account, fx: Effects) -> None:
        if not any(position.amount for position in account.positions.values()):
            account.called.clear()
            return
        value = valuation(account, self.state)
        for leg in [leg for leg in value.legs if leg.isolated and leg.position.amount]:
            self._watch_isolated(account, value, leg, fx)
        for pool in dict.fromkeys(value.pool_of(leg) for leg in value.legs if not leg.isolated):
            self._watch_cross(account, pool, fx)

    def _watch_isolated(self, account: Account, value: Valuation, leg: LegMargin, fx: Effects) -> None:
        pool, balance = value.pool_of(leg), leg.isolated_margin
        self._call(account, pool, balance, leg.maintenance, [leg], fx)
        if balance <= leg.maintenance:
            self._end_orders(account, [leg.position.symbol], fx)
            self._close_leg(account, value, leg, fx)

    def _watch_cross(self, account: Account, pool: str, fx: Effects) -> None:
        value = valuation(account, self.state)
        legs = value.cross_legs(pool)
        balance, needed = value.equity(pool), value.maintenance(pool)
        self._call(account, pool, balance, needed, legs, fx)
        if not legs or balance > needed:
            return
        symbols = [i.symbol for i in self.state.instruments.values()
                   if account.multi_assets or i.quote_asset == pool]  # fmt: skip
        self._end_orders(account, symbols, fx)
        while legs and value.equity(pool) <= value.maintenance(pool):
            self._close_leg(account, value, max(legs, key=lambda leg: leg.maintenance), fx)
            value = valuation(account, self.state)
            legs = value.cross_legs(pool)

    def _call(
        self, account: Account, pool: str, balance: Decimal, needed: Decimal, legs: list[LegMargin], fx: Effects
    ) -> None:
        if not legs or needed < balance * CALL_RATIO:
            account.called.discard(pool)
        elif pool not in account.called:
            account.called.add(pool)
            asset = self.state.instruments[legs[0].position.symbol].quote_asset
            cross = None if legs[0].isolated else account.cross_wallet.get(asset, ZERO)
            fx.event(account.name, events.margin_call(cross, legs, fx.now_ms))

    def _end_orders(self, account: Account, symbols: list[str], fx: Effects) -> None:
        for symbol in symbols:
            for order in account.orders_on(symbol):
                self._end(order, "EXPIRED", "EXPIRED", fx, LIQUIDATED)

    # -- one leg ------------------------------------------------------------------------------------------------

    def _close_leg(self, account: Account, value: Valuation, leg: LegMargin, fx: Effects) -> None:
        instrument = value.instrument(leg)
        before = account.cross_wallet.get(instrument.quote_asset, ZERO)
        price = bankruptcy_price(leg.position, value.cover(leg, keep_maintenance=False))
        order = self.close_out(account, leg.position, price, fx)
        fee = money(order.quote_filled * instrument.liquidation_fee)
        if leg.isolated:
            left = account.cross_wallet[instrument.quote_asset] - before
            self._clear(account, instrument, left, fee, fx)
        else:
            self._clear_cross(account, instrument, value.pool_of(leg), fee, fx)

    def _clear_cross(self, account: Account, instrument: Instrument, pool: str, fee: Decimal, fx: Effects) -> None:
        """A pool with positions left keeps their initial margin; an empty one gives, or is given, the rest."""
        value = valuation(account, self.state)
        left = value.equity(pool)
        if value.cross_legs(pool):
            left = max(ZERO, left - value.initial(pool))
        self._clear(account, instrument, left, fee, fx)

    def _clear(self, account: Account, instrument: Instrument, left: Decimal, fee: Decimal, fx: Effects) -> None:
        amount = -left if left < 0 else -min(fee, left)
        self.clear_with_insurance(account, instrument, money(amount), fx)
