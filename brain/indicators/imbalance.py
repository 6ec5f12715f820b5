"""Order-book imbalance: how much more rests on the bid side of the top levels than on the ask side."""

from __future__ import annotations

from collections.abc import Sequence


def imbalance(bids: Sequence[Sequence[object]], asks: Sequence[Sequence[object]], levels: int) -> float | None:
    """`(bids - asks) / (bids + asks)` of the quantities of the best `levels` a side: -1 (only asks) to 1 (only bids);
    None where both are empty. Rows are `(price, qty)`, best first, numbers or decimal strings."""
    bid = sum(float(str(row[1])) for row in bids[:levels])
    ask = sum(float(str(row[1])) for row in asks[:levels])
    return (bid - ask) / (bid + ask) if bid + ask > 0 else None
