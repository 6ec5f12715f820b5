"""Spread breakout: when the gap between best bid and best ask suddenly opens, go with the side that stepped away.

While a market is in balance its spread hardly changes. It opens where one side of the top of the book was taken or
withdrawn faster than it is refilled, and the price tends to go on to that side. For every cut with a live book:

1. The spread is best ask less best bid. The *usual* spread is the median of one sample each 100 ms over the last
   `window_s` seconds. A book that is refused (stale, resyncing) starts the window anew, and nothing is entered before
   it is full. Samples of a breakout count too: a spread that stays wide becomes the usual one.
2. A *breakout* lasts while the spread is at least `factor` times the usual one and at least `min_spread_bps` of the mid
   price. Its *origin* is the mid price of the last cut before it.
3. Mid above the origin: asks stepped away, long. Below: bids did, short. At the origin: both did, no direction.
4. Enter once a breakout, when `confirm` newer books in a row agree on the direction, the spread is at most
   `max_spread_bps`, and nothing is held, ordered, closing or cooling down.
5. Leave when the mid price is back at the origin or beyond (the breakout has failed), after `hold_ms`, or by the
   interceptor's take profit and stop loss; then stay out for `cooldown_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from brain.api import Book, Context, Handle, Params, Position, Strategy
from brain.indicators import RollingMedian
from brain.params import EntrySlippageBps, ExitSlippageBps, Notional, StopLossPct, TakeProfitPct

SAMPLE_MS = 100
_BPS = Decimal(10_000)


class SpreadParams(Params):
    window_s: Annotated[int, Field(ge=1, le=300, description="seconds of the past that say what is usual")] = 30
    factor: Annotated[
        Decimal, Field(gt=1, le=1000, description="a breakout is a spread of so many times the usual one")
    ] = Decimal(3)
    min_spread_bps: Annotated[
        Decimal, Field(ge=0, le=500, description="and at least so wide, in basis points of the mid price")
    ] = Decimal("0.3")
    max_spread_bps: Annotated[
        Decimal, Field(gt=0, le=500, description="never enter through a spread wider than this")
    ] = Decimal(15)
    confirm: Annotated[int, Field(ge=1, le=50, description="newer books in a row that must agree")] = 2
    hold_ms: Annotated[int, Field(ge=100, le=600_000, description="leave after so long")] = 5000
    cooldown_ms: Annotated[int, Field(ge=0, le=600_000, description="stay out so long after leaving")] = 10_000
    notional: Notional = Decimal(500)
    short: Annotated[bool, Field(description="also sell short")] = True
    entry_slippage_bps: EntrySlippageBps = Decimal(3)
    exit_slippage_bps: ExitSlippageBps = Decimal(10)
    take_profit_pct: TakeProfitPct = Decimal("0.5")
    stop_loss_pct: StopLossPct = Decimal("0.3")

    @model_validator(mode="after")
    def _consistent(self) -> SpreadParams:
        if self.min_spread_bps > self.max_spread_bps:
            raise ValueError(f"min_spread_bps ({self.min_spread_bps}) must not be above max_spread_bps")
        at_once_bps = self.max_spread_bps + self.entry_slippage_bps
        if 0 < self.stop_loss_pct * 100 <= at_once_bps:
            raise ValueError(
                f"stop_loss_pct ({self.stop_loss_pct}) must be above max_spread_bps + entry_slippage_bps "
                f"({at_once_bps} bps): an entry is that far under water the moment it is filled"
            )
        return self


@dataclass(slots=True)
class _Watch:
    """What is known of one symbol's spread since its book was last refused."""

    usual: RollingMedian[Decimal]
    sampled: int = -1  # the last 100 ms of the clock a sample was taken in
    quiet_mid: Decimal | None = None  # of the last cut outside a breakout
    u: int = -1
    streak: int = 0  # newer books in a row that agree; its sign is the side
    spent: bool = False  # this breakout has been entered


class SpreadStrategy(Strategy):
    name = "spread"
    help = "spread breakout: with the side of the book that suddenly stepped away"
    parameters = SpreadParams
    params: SpreadParams

    def __init__(self, params: SpreadParams) -> None:
        super().__init__(params)
        self._watched: dict[str, _Watch] = {}

    def on_start(self, ctx: Context) -> None:
        ctx.show(decision=f"watching for a spread of {self.params.factor} times the usual one")

    def on_slice(self, ctx: Context, symbol: str) -> None:
        book, position = ctx.book(symbol), ctx.position(symbol)
        if book is None or position is None or not book.bids or not book.asks:
            self._watched.pop(symbol, None)
            return
        mid = (book.bids[0][0] + book.asks[0][0]) / 2
        side = self._observe(ctx, symbol, book, mid)
        if position.qty != 0:
            self._hold(ctx, symbol, position, mid)
            return
        if ctx.state.pop(f"since:{symbol}", None) is not None:
            self._rest(ctx, symbol)
        if side:
            self._maybe_enter(ctx, symbol, side, book, mid)

    def on_order(self, ctx: Context, handle: Handle) -> None:
        if handle.done and not handle.is_exit and handle.filled_qty == 0:
            self._rest(ctx, handle.symbol)
            ctx.show(decision=f"{handle.symbol} entry ended {handle.state}: {handle.reason}")

    # -- watching ---------------------------------------------------------------------------------------------

    def _observe(self, ctx: Context, symbol: str, book: Book, mid: Decimal) -> int:
        """1 or -1 where a breakout that may be entered points up or down, else 0."""
        watch = self._watched.get(symbol)
        if watch is None:
            size = self.params.window_s * 1000 // SAMPLE_MS
            watch = self._watched[symbol] = _Watch(RollingMedian(size), u=book.u)
        spread = book.asks[0][0] - book.bids[0][0]
        usual = watch.usual.value if watch.usual.warm else None
        self._sample(ctx, watch, spread)
        if usual is None or spread < self.params.factor * usual or _bps(spread, mid) < self.params.min_spread_bps:
            watch.quiet_mid, watch.u, watch.streak, watch.spent = mid, book.u, 0, False
            return 0
        if watch.quiet_mid is None or watch.spent:
            return 0
        if book.u != watch.u:
            watch.u = book.u
            side = 1 if mid > watch.quiet_mid else -1 if mid < watch.quiet_mid else 0
            watch.streak = watch.streak + side if side and watch.streak * side >= 0 else side
        return 0 if abs(watch.streak) < self.params.confirm else 1 if watch.streak > 0 else -1

    def _sample(self, ctx: Context, watch: _Watch, spread: Decimal) -> None:
        if (slot := ctx.now_ms // SAMPLE_MS) == watch.sampled:
            return
        was_warm = watch.usual.warm
        watch.sampled = slot
        watch.usual.update(spread)
        if not was_warm:
            left_s = (watch.usual.size - watch.usual.count) * SAMPLE_MS // 1000
            ctx.show(warm_up="" if watch.usual.warm else f"warming up: {left_s + 1} s to go")

    # -- deciding ---------------------------------------------------------------------------------------------

    def _maybe_enter(self, ctx: Context, symbol: str, side: int, book: Book, mid: Decimal) -> None:
        watch, origin = self._watched[symbol], self._watched[symbol].quiet_mid
        spread = book.asks[0][0] - book.bids[0][0]
        if _bps(spread, mid) > self.params.max_spread_bps or (side < 0 and not self.params.short):
            return
        if ctx.closing(symbol) or ctx.orders(symbol) or ctx.now_ms < ctx.state.get(f"rest:{symbol}", 0):
            return
        qty = ctx.qty_for(self.params.notional, symbol)
        if qty is None:
            return
        watch.spent = True
        ctx.state[f"origin:{symbol}"] = str(origin)
        word = "BUY" if side > 0 else "SELL"
        text = f"{symbol} {word} {qty}: spread {spread} against {watch.usual.value}, mid {mid} from {origin}"
        tag = "spread-up" if side > 0 else "spread-down"
        handle = ctx.place(word, qty, slippage_bps=self.params.entry_slippage_bps, symbol=symbol, tag=tag)
        if handle.done:
            self._rest(ctx, symbol)
            text += f", refused ({handle.reason})"
        ctx.show(decision=text)

    def _hold(self, ctx: Context, symbol: str, position: Position, mid: Decimal) -> None:
        since_ms = ctx.state.setdefault(f"since:{symbol}", ctx.now_ms)
        origin = ctx.state.get(f"origin:{symbol}")
        failed = origin is not None and (mid - Decimal(origin)) * position.qty <= 0
        old = ctx.now_ms - since_ms >= self.params.hold_ms
        if (failed or old) and not ctx.closing(symbol):
            ctx.show(decision=f"{symbol} close: {'the breakout has failed' if failed else 'held long enough'} at {mid}")
            ctx.close(symbol, tag="spread-exit", slippage_bps=self.params.exit_slippage_bps)

    def _rest(self, ctx: Context, symbol: str) -> None:
        ctx.state[f"rest:{symbol}"] = ctx.now_ms + self.params.cooldown_ms


def _bps(spread: Decimal, mid: Decimal) -> Decimal:
    return spread / mid * _BPS
