"""Position accounting by fills: signed quantity, average entry, realised profit. Pure `Decimal`.

The exchange's average-cost method: adding to a position averages the entry, reducing keeps it and realises
`(price - entry) * closed quantity`, crossing zero closes everything and opens the rest at the fill price.
Quantities are signed (long > 0, short < 0) in every leg, BOTH, LONG and SHORT alike; fees are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Side = Literal["BUY", "SELL"]
LegName = Literal["BOTH", "LONG", "SHORT"]

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg. `entry` is 0 when flat; `realised` is the sum over the leg's life, before fees."""

    qty: Decimal = ZERO
    entry: Decimal = ZERO
    realised: Decimal = ZERO

    @property
    def flat(self) -> bool:
        return self.qty == 0


FLAT = Leg()


def signed(side: Side, qty: Decimal) -> Decimal:
    return qty if side == "BUY" else -qty


def fill(leg: Leg, side: Side, qty: Decimal, price: Decimal) -> Leg:
    """The leg after one trade. `qty` > 0, `price` > 0 (ValueError otherwise: an adapter let rubbish through)."""
    if qty <= 0 or price <= 0:
        raise ValueError(f"a fill needs qty > 0 and price > 0, not {qty} at {price}")
    change = signed(side, qty)
    after = leg.qty + change
    if leg.qty == 0 or (leg.qty > 0) == (change > 0):
        entry = price if leg.qty == 0 else (leg.entry * leg.qty + price * change) / after
        return Leg(after, entry, leg.realised)
    closed = min(abs(leg.qty), qty)
    gain = (price - leg.entry) * (closed if leg.qty > 0 else -closed)
    if after == 0:
        return Leg(ZERO, ZERO, leg.realised + gain)
    crossed = (after > 0) != (leg.qty > 0)
    return Leg(after, price if crossed else leg.entry, leg.realised + gain)


def fill_realised(before: Leg, after: Leg) -> Decimal:
    """What the fill between two states realised, before fees."""
    return after.realised - before.realised


def adopt(leg: Leg, qty: Decimal, entry: Decimal) -> Leg:
    """The exchange's own figures put in the place of ours; what was realised stays ours."""
    return Leg(qty, entry if qty else ZERO, leg.realised)


def unrealised(leg: Leg, price: Decimal) -> Decimal:
    return (price - leg.entry) * leg.qty


def crosses(name: LegName, leg: Leg) -> bool:
    """A hedge leg on the wrong side of zero: never so at the exchange, hence a fill is missing or doubled here."""
    return (name == "LONG" and leg.qty < 0) or (name == "SHORT" and leg.qty > 0)


def net(legs: Iterable[Leg]) -> Leg:
    """Legs of one symbol as one position; the entry is the price at which the net's profit equals the legs' sum."""
    qty, cost, realised = ZERO, ZERO, ZERO
    for leg in legs:
        qty += leg.qty
        cost += leg.qty * leg.entry
        realised += leg.realised
    return Leg(qty, cost / qty if qty else ZERO, realised)
