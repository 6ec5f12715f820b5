"""What an asset is worth in dollars: as margin in multi-assets mode, and BNB as a means of paying commission.

The price is the mark of the asset's USDT contract, where this exchange has one, else the reference price of its
preset. As margin an asset counts with the discount of its index; a debt counts in full.
"""

from __future__ import annotations

from decimal import Decimal

from simex.core.instrument import default_instrument
from simex.core.market import State

ZERO = Decimal(0)
ONE = Decimal(1)
_DOLLARS = frozenset({"USDT", "USDC", "FDUSD", "BUSD"})
MARGIN_RATES: dict[str, Decimal] = {
    **dict.fromkeys(sorted(_DOLLARS), ONE),
    "BNB": Decimal("0.95"),
    "BTC": Decimal("0.95"),
    "ETH": Decimal("0.95"),
}
"""Assets that count as margin in multi-assets mode, and how much of their price does."""


def dollar_price(state: State, asset: str) -> Decimal | None:
    """Of one unit; None for an asset nobody here prices."""
    if asset in _DOLLARS:
        return ONE
    market = state.markets.get(f"{asset}USDT")
    if market is not None:
        return market.mark
    return default_instrument(f"{asset}USDT").reference_price if asset in MARGIN_RATES else None


def as_margin(state: State, asset: str, amount: Decimal) -> Decimal:
    """Dollars that an amount of an asset covers; nothing for an asset that is no margin."""
    price = dollar_price(state, asset)
    if price is None:
        return ZERO
    return amount * price * (MARGIN_RATES.get(asset, ZERO) if amount > 0 else ONE)
