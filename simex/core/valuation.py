"""An account valued at mark: every leg, every margin asset, and what of it is still available.

Single-asset mode: each margin asset is a pot of its own. Multi-assets mode: all of them are one pot in dollars, each
counted as `simex.core.collateral` says, and what is available of an asset is the pot's rest in units of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from simex.core.account import ZERO, Account
from simex.core.collateral import as_margin, dollar_price
from simex.core.instrument import Instrument
from simex.core.margin import AssetMargin, LegMargin, all_legs, asset_margin, liquidation_price
from simex.core.market import State

DOLLARS = "USD"


@dataclass(frozen=True, slots=True)
class Valuation:
    """`assets` has every margin asset, empty ones too; `dollars` the whole account, in multi-assets mode only."""

    state: State
    legs: list[LegMargin]
    assets: dict[str, AssetMargin]
    dollars: AssetMargin | None

    @property
    def totals(self) -> AssetMargin:
        """What the account endpoints call the totals: USDT, or dollars."""
        return self.dollars or self.assets["USDT"]

    def available(self, asset: str) -> Decimal:
        """What new orders margined in an asset may bind."""
        return self.assets[asset].available

    def instrument(self, leg: LegMargin) -> Instrument:
        return self.state.instruments[leg.position.symbol]

    def pool_of(self, leg: LegMargin) -> str:
        """The name of the pot that covers a leg: its own, its asset, or dollars."""
        if leg.isolated:
            return f"{leg.position.symbol} {leg.position.side}"
        return DOLLARS if self.dollars is not None else self.instrument(leg).quote_asset

    def cross_legs(self, pool: str) -> list[LegMargin]:
        """The legs that share a pot, open ones only."""
        return [leg for leg in self.legs if not leg.isolated and leg.position.amount and self.pool_of(leg) == pool]

    def equity(self, pool: str) -> Decimal:
        """Margin balance of a shared pot, in its own unit: wallet and profit of its legs."""
        pot = self.dollars if pool == DOLLARS and self.dollars is not None else self.assets[pool]
        return pot.cross_wallet + pot.cross_unrealised

    def maintenance(self, pool: str) -> Decimal:
        """Maintenance margin of all legs that share a pot, in its own unit."""
        return sum((leg.maintenance * self._unit(leg, pool) for leg in self.cross_legs(pool)), ZERO)

    def initial(self, pool: str) -> Decimal:
        """Initial margin of the positions that share a pot, in its own unit."""
        return sum((leg.position_initial * self._unit(leg, pool) for leg in self.cross_legs(pool)), ZERO)

    def cover(self, leg: LegMargin, *, keep_maintenance: bool) -> Decimal:
        """What stands behind a leg but its own profit, in its margin asset.

        An isolated leg has its wallet. A cross leg has what its pot holds without it, less the maintenance margin of
        the others if that is to be kept.
        """
        if leg.isolated:
            return leg.position.isolated_wallet
        pool = self.pool_of(leg)
        unit = self._unit(leg, pool)
        rest = self.equity(pool) - leg.unrealised * unit
        if keep_maintenance:
            rest -= self.maintenance(pool) - leg.maintenance * unit
        return rest / unit

    def liquidation_price(self, leg: LegMargin) -> Decimal:
        """Mark price at which the leg is liquidated if nothing else moves; 0 if there is none."""
        return liquidation_price(leg, self.instrument(leg), self.cover(leg, keep_maintenance=True))

    def _unit(self, leg: LegMargin, pool: str) -> Decimal:
        """The pot's units in one unit of the leg's margin asset."""
        if pool != DOLLARS:
            return Decimal(1)
        return dollar_price(self.state, self.instrument(leg).quote_asset) or Decimal(1)


def valuation(account: Account, state: State) -> Valuation:
    """Value an account at the marks of now."""
    legs = all_legs(account, state.instruments, state.mark_of)
    names = dict.fromkeys(["USDT", *account.cross_wallet, *(i.quote_asset for i in state.instruments.values())])
    assets = {name: asset_margin(account, name, state.instruments, legs) for name in names}
    if not account.multi_assets:
        return Valuation(state, legs, assets, None)
    dollars = _in_dollars(state, list(assets.values()))
    shared = {name: _share(state, asset, dollars.free) for name, asset in assets.items()}
    return Valuation(state, legs, shared, dollars)


def _in_dollars(state: State, assets: list[AssetMargin]) -> AssetMargin:
    """One pot of all assets: credits count with their discount, debts and what is bound in full."""

    def total(field: str) -> Decimal:
        return sum((as_margin(state, asset.asset, getattr(asset, field)) for asset in assets), ZERO)

    def bound(field: str) -> Decimal:
        prices = ((asset, dollar_price(state, asset.asset)) for asset in assets)
        return sum((getattr(asset, field) * price for asset, price in prices if price is not None), ZERO)

    wallet, unrealised = total("cross_wallet"), total("cross_unrealised")
    initial, orders = bound("position_initial"), bound("order_initial")
    return AssetMargin(
        asset=DOLLARS,
        cross_wallet=wallet,
        wallet=total("wallet"),
        unrealised=total("unrealised"),
        cross_unrealised=unrealised,
        position_initial=initial,
        order_initial=orders,
        maintenance=bound("maintenance"),
        free=wallet + unrealised - initial - orders,
        update_ms=max((asset.update_ms for asset in assets), default=0),
    )


def _share(state: State, asset: AssetMargin, free_dollars: Decimal) -> AssetMargin:
    price = dollar_price(state, asset.asset)
    return replace(asset, free=free_dollars / price if price else ZERO)
