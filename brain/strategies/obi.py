"""Order-book imbalance: go with the thick side of the top of the book for a few seconds.

Enters when the imbalance of the best levels stays beyond a threshold for some slices in a row; leaves after the hold
time, when the imbalance turns against it, or by the interceptor's limits; then waits out a cool-down.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from brain.api import Context, Handle, Params, Position, Strategy
from brain.indicators import imbalance
from brain.params import EntrySlippageBps, ExitSlippageBps, Notional, StopLossPct, TakeProfitPct


class ObiParams(Params):
    levels: Annotated[int, Field(ge=1, le=20, description="levels a side that count")] = 5
    threshold: Annotated[
        float, Field(gt=0, lt=1, description="enter when the imbalance is beyond this, either way")
    ] = 0.5
    confirm: Annotated[int, Field(ge=1, le=50, description="slices in a row that must agree")] = 2
    exit_threshold: Annotated[
        float, Field(ge=0, le=1, description="leave when the imbalance is so far against the position")
    ] = 0.3
    hold_ms: Annotated[int, Field(ge=100, le=600_000, description="leave after so long")] = 3000
    cooldown_ms: Annotated[int, Field(ge=0, le=600_000, description="stay out so long after leaving")] = 3000
    notional: Notional = Decimal(500)
    entry_slippage_bps: EntrySlippageBps = Decimal(3)
    exit_slippage_bps: ExitSlippageBps = Decimal(5)
    take_profit_pct: TakeProfitPct = Decimal("0.5")
    stop_loss_pct: StopLossPct = Decimal("0.3")


class ObiStrategy(Strategy):
    name = "obi"
    help = "order-book imbalance: a few seconds with the thick side of the book"
    parameters = ObiParams
    params: ObiParams

    def __init__(self, params: ObiParams) -> None:
        super().__init__(params)
        self._streak: dict[str, int] = {}  # slices in a row beyond the threshold; its sign is the side
        self._last_u: dict[str, int] = {}

    def on_start(self, ctx: Context) -> None:
        ctx.show(decision=f"watching for an imbalance beyond {self.params.threshold}")

    def on_slice(self, ctx: Context, symbol: str) -> None:
        book, position = ctx.book(symbol), ctx.position(symbol)
        if book is None or position is None:
            self._streak[symbol] = 0
            return
        value = imbalance(book.bids, book.asks, self.params.levels)
        if position.qty != 0:
            self._hold(ctx, symbol, position, value)
            return
        if ctx.state.pop(f"since:{symbol}", None) is not None:
            ctx.state[f"rest:{symbol}"] = ctx.now_ms + self.params.cooldown_ms
        if value is not None and book.u != self._last_u.get(symbol):
            self._last_u[symbol] = book.u
            self._count(symbol, value)
            self._maybe_enter(ctx, symbol, value)

    def on_order(self, ctx: Context, handle: Handle) -> None:
        if handle.done and not handle.is_exit and handle.filled_qty == 0:
            ctx.state[f"rest:{handle.symbol}"] = ctx.now_ms + self.params.cooldown_ms
            ctx.show(decision=f"{handle.symbol} entry ended {handle.state}: {handle.reason}")

    def _count(self, symbol: str, value: float) -> None:
        side = 1 if value >= self.params.threshold else -1 if value <= -self.params.threshold else 0
        streak = self._streak.get(symbol, 0)
        self._streak[symbol] = streak + side if side and streak * side >= 0 else side

    def _maybe_enter(self, ctx: Context, symbol: str, value: float) -> None:
        streak = self._streak.get(symbol, 0)
        if abs(streak) < self.params.confirm or ctx.now_ms < ctx.state.get(f"rest:{symbol}", 0):
            return
        if ctx.closing(symbol) or ctx.orders(symbol):
            return
        qty = ctx.qty_for(self.params.notional, symbol)
        if qty is None:
            return
        side = "BUY" if streak > 0 else "SELL"
        handle = ctx.place(
            side, qty, slippage_bps=self.params.entry_slippage_bps, symbol=symbol, tag=f"obi {value:+.2f}"
        )
        text = f"{symbol} {side} {qty}: imbalance {value:+.2f}"
        if handle.done:
            ctx.state[f"rest:{symbol}"] = ctx.now_ms + self.params.cooldown_ms
            text += f", refused ({handle.reason})"
        ctx.show(decision=text)
        self._streak[symbol] = 0

    def _hold(self, ctx: Context, symbol: str, position: Position, value: float | None) -> None:
        since_ms = ctx.state.setdefault(f"since:{symbol}", ctx.now_ms)
        sign = 1 if position.qty > 0 else -1
        against = value is not None and value * sign <= -self.params.exit_threshold
        old = ctx.now_ms - since_ms >= self.params.hold_ms
        if (against or old) and not ctx.closing(symbol):
            why = "imbalance turned" if against else "held long enough"
            ctx.show(decision=f"{symbol} close: {why} ({value if value is not None else 0:+.2f})")
            ctx.close(symbol, tag="obi-exit", slippage_bps=self.params.exit_slippage_bps)
