"""A small book client of its own: the documented rules for USDⓈ-M, decimals, plain dicts. Shares nothing with simex."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


class BookClient:
    """Feed it a snapshot body and depth events; it fails loudly where the chain breaks."""

    def __init__(self) -> None:
        self.waiting: list[dict[str, Any]] = []
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.snapshot_id: int | None = None
        self.u: int | None = None
        self.applied = 0

    def snapshot(self, body: dict[str, Any]) -> None:
        """The REST snapshot: then the waiting events that are not older."""
        self.bids = {Decimal(price): Decimal(qty) for price, qty in body["bids"]}
        self.asks = {Decimal(price): Decimal(qty) for price, qty in body["asks"]}
        self.snapshot_id, self.u = body["lastUpdateId"], None
        waiting, self.waiting = self.waiting, []
        for event in waiting:
            self.event(event)

    def event(self, event: dict[str, Any]) -> None:
        """One depth event, in order of arrival."""
        if self.snapshot_id is None:
            self.waiting.append(event)
            return
        if self.u is None:
            if event["u"] < self.snapshot_id:
                return
            assert event["U"] <= self.snapshot_id <= event["u"], f"no bridge to {self.snapshot_id}: {event['U']}"
        else:
            assert event["pu"] == self.u, f"pu {event['pu']} does not follow {self.u}"
        for side, rows in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, qty in rows:
                if Decimal(qty) == 0:
                    side.pop(Decimal(price), None)
                else:
                    side[Decimal(price)] = Decimal(qty)
        self.u = event["u"]
        self.applied += 1

    def best(self) -> tuple[Decimal, Decimal]:
        """Best bid and best ask."""
        return max(self.bids), min(self.asks)

    def top(self, count: int) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """The best `count` levels a side."""
        return (
            sorted(self.bids.items(), reverse=True)[:count],
            sorted(self.asks.items())[:count],
        )
