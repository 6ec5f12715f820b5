"""Random orders, and every fill that the strategy's hook was given written down: a strategy file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from brain.api import Context, Fill
from brain.strategies.random import RandomParams, RandomStrategy


class ListeningParams(RandomParams):
    heard: Annotated[str, Field(description="file that gets a line for each fill")]


class Listening(RandomStrategy):
    """As `random`; one JSON line a fill, in the order in which the hook was called."""

    name = "listening"
    help = "random orders; fills are written down"
    parameters: ClassVar[type[RandomParams]] = ListeningParams
    params: ListeningParams

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        row = {"seq": fill.seq, "symbol": fill.symbol, "trade": fill.trade_id, "qty": str(fill.qty)}
        with Path(self.params.heard).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        super().on_fill(ctx, fill)
