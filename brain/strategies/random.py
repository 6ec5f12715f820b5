"""Random orders, seeded: drives the plumbing in tests. No strategy to trade with.

Every decision is drawn from `seed`, the symbol and a counter kept in `ctx.state`, so a brain that is killed and
continued draws what it would have drawn.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from brain.api import Context, Fill, Params, Strategy

Kind = Literal["enter", "market", "rest", "cancel", "close"]


class RandomParams(Params):
    seed: Annotated[int, Field(ge=0, le=2**32, description="of every draw")] = 1
    rate_per_s: Annotated[float, Field(gt=0, le=50, description="decisions a second and symbol, on average")] = 1.0
    notional: Annotated[Decimal, Field(gt=0, le=1_000_000, description="size of an order, in the quote asset")] = (
        Decimal(200)
    )
    max_orders: Annotated[int, Field(ge=1, le=50, description="resting orders a symbol at most")] = 5
    away_bps: Annotated[Decimal, Field(ge=1, le=2000, description="how far from the market orders rest")] = Decimal(50)
    kinds: Annotated[
        str, Field(description="what to do, comma separated: enter, market, rest, cancel, close; repeat to weigh")
    ] = "enter,enter,market,rest,rest,cancel,close"
    counter: Annotated[
        bool, Field(description="answer each fill of an entry by one market exit of its size, tagged counter:<event>")
    ] = False


class RandomStrategy(Strategy):
    name = "random"
    help = "seeded random orders, for tests of the plumbing"
    parameters: ClassVar[type[RandomParams]] = RandomParams
    params: RandomParams

    def __init__(self, params: RandomParams) -> None:
        super().__init__(params)
        known = ("enter", "market", "rest", "cancel", "close")
        self._kinds = [kind.strip() for kind in params.kinds.split(",") if kind.strip()]
        wrong = [kind for kind in self._kinds if kind not in known]
        if wrong or not self._kinds:
            raise ValueError(f"kinds: {', '.join(wrong) or 'nothing'} given; valid are {', '.join(known)}")

    def on_slice(self, ctx: Context, symbol: str) -> None:
        self._pay(ctx)
        count = ctx.state.get(f"count:{symbol}", 0)
        if ctx.now_ms < ctx.state.get(f"next:{symbol}", 0) or ctx.position(symbol) is None:
            return
        dice = random.Random(f"{self.params.seed}:{symbol}:{count}")
        ctx.state[f"count:{symbol}"] = count + 1
        ctx.state[f"next:{symbol}"] = ctx.now_ms + int(dice.expovariate(self.params.rate_per_s) * 1000)
        kind = dice.choice(self._kinds)
        ctx.show(decision=f"{symbol} {kind}")
        self._do(ctx, symbol, kind, dice, f"{kind}:{count}")

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        if self.params.counter and not fill.handle.is_exit:
            side = "SELL" if fill.side == "BUY" else "BUY"
            owed = {"symbol": fill.symbol, "side": side, "qty": str(fill.qty), "tag": f"counter:{fill.seq}"}
            ctx.state.setdefault("owed", []).append(owed)
            self._pay(ctx)

    def _pay(self, ctx: Context) -> None:
        """Counter orders; one that may not leave yet (an exit is unknown) stays owed."""
        left = []
        for owed in ctx.state.get("owed", []):
            handle = ctx.place(
                owed["side"], Decimal(owed["qty"]), reduce_only=True, symbol=owed["symbol"], tag=owed["tag"]
            )
            if handle.done:
                left.append(owed)
        if left or "owed" in ctx.state:
            ctx.state["owed"] = left

    def _do(self, ctx: Context, symbol: str, kind: str, dice: random.Random, tag: str) -> None:
        side = dice.choice(("BUY", "SELL"))
        qty = ctx.qty_for(self.params.notional, symbol)
        orders = ctx.orders(symbol)
        if kind == "close":
            ctx.close(symbol, tag=tag)
        elif kind == "cancel":
            if orders:
                ctx.cancel(dice.choice(orders))
        elif qty is None:
            return
        elif kind == "market":
            ctx.place(side, qty, symbol=symbol, tag=tag)
        elif kind == "enter":
            ctx.place(side, qty, slippage_bps=Decimal(dice.randint(1, 30)), symbol=symbol, tag=tag)
        elif len(orders) < self.params.max_orders:
            self._rest(ctx, symbol, side, qty, tag)

    def _rest(self, ctx: Context, symbol: str, side: str, qty: Decimal, tag: str) -> None:
        best = ctx.best(symbol)
        if best is None:
            return
        away = self.params.away_bps / Decimal(10_000)
        price = best[0] * (1 - away) if side == "BUY" else best[1] * (1 + away)
        ctx.place(side, qty, price, post_only=True, symbol=symbol, tag=tag)
