"""A brain's own books. While one brain trades a symbol, its position is the account's there (`rules.position`).

The ledger itself keeps what the position does not know: profit since the ledger began, fees by asset, funding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Ledger:
    """`realised` is before fees; `fees` by asset, sorted (a rebate is negative); `funding` received is positive."""

    realised: Decimal = ZERO
    fees: tuple[tuple[str, Decimal], ...] = ()
    funding: Decimal = ZERO
    fills: int = 0

    def fee(self, asset: str) -> Decimal:
        return dict(self.fees).get(asset, ZERO)


EMPTY = Ledger()


def book_fill(ledger: Ledger, realised: Decimal, fee: Decimal | None, fee_asset: str | None) -> Ledger:
    """One trade. A fee the exchange did not state counts as none."""
    fees = dict(ledger.fees)
    if fee is not None and fee_asset is not None and fee != 0:
        fees[fee_asset] = fees.get(fee_asset, ZERO) + fee
    return replace(
        ledger, realised=ledger.realised + realised, fees=tuple(sorted(fees.items())), fills=ledger.fills + 1
    )


def book_funding(ledger: Ledger, amount: Decimal) -> Ledger:
    return replace(ledger, funding=ledger.funding + amount)
