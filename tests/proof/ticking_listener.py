"""Orders by the clock alone, and every fill that the hook was given written down: a strategy file of its own.

It wants to trade whatever it reads or does not read: it falls silent only where the brain refuses to decide.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from brain.api import Context, Fill, Params, Strategy


class TickingParams(Params):
    heard: Annotated[str, Field(description="file that gets a line for each fill")]
    every_ms: Annotated[int, Field(ge=10, le=10_000, description="between two orders")] = 300


class TickingListener(Strategy):
    """Buys and sells in turn; one JSON line a fill, in the order in which the hook was called."""

    name = "ticking-listener"
    help = "an order every so often; fills are written down"
    parameters: ClassVar[type[TickingParams]] = TickingParams
    params: TickingParams

    def on_start(self, ctx: Context) -> None:
        ctx.timer("tick", self.params.every_ms)

    def on_timer(self, ctx: Context, timer: str) -> None:
        count = ctx.state["count"] = ctx.state.get("count", 0) + 1
        ctx.place("BUY" if count % 2 else "SELL", Decimal("0.01"), tag=f"tick:{count}")
        ctx.timer("tick", self.params.every_ms)

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        row = {"seq": fill.seq, "symbol": fill.symbol, "trade": fill.trade_id, "qty": str(fill.qty)}
        with Path(self.params.heard).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
