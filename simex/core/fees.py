"""Commission: rates by tier, and the discount for those who pay in BNB.

The rates of tier 0 are those of the instrument (section 13.5); the tiers above scale them as the exchange's public fee
schedule of USDT contracts does. The discount is ten percent of the commission.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

BURN_ASSET = "BNB"
BURN_FACTOR = Decimal("0.9")


@dataclass(frozen=True, slots=True)
class Tier:
    """Rates of one tier for an instrument with the ordinary rates of tier 0."""

    maker: Decimal
    taker: Decimal


TIERS: tuple[Tier, ...] = tuple(
    Tier(Decimal(maker), Decimal(taker))
    for maker, taker in (
        ("0.000200", "0.000500"),
        ("0.000160", "0.000400"),
        ("0.000140", "0.000350"),
        ("0.000120", "0.000320"),
        ("0.000100", "0.000300"),
        ("0.000080", "0.000270"),
        ("0.000060", "0.000250"),
        ("0.000040", "0.000220"),
        ("0.000020", "0.000200"),
        ("0.000000", "0.000170"),
    )
)
_UNIT = Decimal("0.000001")


def tier_rate(tier: int, ordinary: Decimal, *, is_maker: bool) -> Decimal:
    """The rate of a tier (0 to 9) where `ordinary` is the instrument's own; scaled if that is not the usual one."""
    base, own = (TIERS[0].maker, TIERS[tier].maker) if is_maker else (TIERS[0].taker, TIERS[tier].taker)
    return own if ordinary == base else (ordinary * own / base).quantize(_UNIT)
