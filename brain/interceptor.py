"""The TP/SL interceptor: looks at every fresh slice before any strategy hook does. Pure.

It judges the price that would really be hit (bid for longs, ask for shorts; the mark price while the book is not live)
against the brain's true average entry. What it starts is carried through by `brain.closing`, and is the quick line
only: what must outlive brain and gateway rests at the exchange.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

TAG = "interceptor"
"""Its closes carry the tag `interceptor.take_profit` or `interceptor.stop_loss`."""


class ExitRules(NamedTuple):
    """`take_profit` and `stop_loss` as fractions of the entry price (0.05 is 5 %), None for none. `slippage_bps`
    bounds the first, limited close."""

    take_profit: Decimal | None
    stop_loss: Decimal | None
    slippage_bps: Decimal = Decimal(20)


class Prices(NamedTuple):
    """Best bid and ask of a live book, else None; the mark price while fresh, else None."""

    best: tuple[Decimal, Decimal] | None
    mark: Decimal | None

    def hit(self, qty: Decimal) -> Decimal | None:
        """The price a close of `qty` (signed) would really get: bid for a long, ask for a short; mark while the book
        is not live; None when nothing is known."""
        if self.best is not None:
            return self.best[0] if qty > 0 else self.best[1]
        return self.mark


def triggered(qty: Decimal, entry: Decimal, price: Decimal, rules: ExitRules) -> str:
    """`take_profit`, `stop_loss` or nothing. Both limits belong to the trigger; the loss is looked at first."""
    if qty == 0 or entry <= 0:
        return ""
    sign = 1 if qty > 0 else -1
    gain = (price - entry) * sign
    if rules.stop_loss is not None and gain <= -entry * rules.stop_loss:
        return "stop_loss"
    if rules.take_profit is not None and gain >= entry * rules.take_profit:
        return "take_profit"
    return ""
