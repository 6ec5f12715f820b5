"""MACD crossings on closed bars: long when the histogram turns positive, short when it turns negative.

Entries are marketable limits (IOC) with bounded slippage; the opposite crossing closes first and enters once flat; the
interceptor enforces take profit and stop loss.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from brain.api import Bar, Context, Handle, Params, Strategy
from brain.indicators import Macd
from brain.market import INTERVAL_MS
from brain.params import EntrySlippageBps, ExitSlippageBps, Notional, StopLossPct, TakeProfitPct
from ipc.wire import Interval

_CHASE_MS = 60_000  # how long after its bar a crossing may still be entered


class MacdParams(Params):
    interval: Annotated[Interval, Field(description="bars to decide on")] = "5m"
    fast: Annotated[int, Field(ge=2, le=59, description="span of the fast average, in bars")] = 12
    slow: Annotated[int, Field(ge=3, le=60, description="span of the slow average, in bars")] = 26
    signal: Annotated[int, Field(ge=1, le=60, description="span of the signal line, in bars")] = 9
    notional: Notional = Decimal(1000)
    take_profit_pct: TakeProfitPct = Decimal(5)
    stop_loss_pct: StopLossPct = Decimal(2)
    entry_slippage_bps: EntrySlippageBps = Decimal(10)
    exit_slippage_bps: ExitSlippageBps = Decimal(20)
    closed_bars: Annotated[bool, Field(description="decide on closed bars only; false also looks at the open bar")] = (
        True
    )
    short: Annotated[bool, Field(description="also sell short")] = True

    @model_validator(mode="after")
    def _ordered(self) -> MacdParams:
        if self.fast >= self.slow:
            raise ValueError(f"fast ({self.fast}) must be below slow ({self.slow})")
        return self


class MacdStrategy(Strategy):
    name = "macd"
    help = "MACD crossings on closed bars, with take profit and stop loss"
    parameters = MacdParams
    params: MacdParams

    def __init__(self, params: MacdParams) -> None:
        super().__init__(params)
        self._macds: dict[str, Macd] = {}
        self._fed: dict[str, tuple[int, float]] = {}  # the newest bar each one holds: (opening time, close)

    def on_start(self, ctx: Context) -> None:
        ctx.show(decision=f"waiting for a {self.params.interval} bar to close")
        for symbol in ctx.symbols:
            self._rebuild(ctx, symbol)

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        before = self._macd_before(ctx, bar)
        if before is None:
            return
        macd = self._macds[bar.symbol]
        old = macd.value
        value = macd.update(bar.close)
        self._fed[bar.symbol] = (bar.open_ms, bar.close)
        self._show_warm_up(ctx, bar.symbol)
        if old is None or not macd.warm:
            return
        want = _crossing(old.histogram, value.histogram)
        text = f"histogram {value.histogram:+.4f} after {old.histogram:+.4f}"
        if not want or not bar.latest or ctx.now_ms - bar.close_ms > _CHASE_MS:
            ctx.show(decision=f"{bar.symbol} hold: {text}")
            return
        self._decide(ctx, bar.symbol, want, text, bar.close_ms + _CHASE_MS)

    def on_slice(self, ctx: Context, symbol: str) -> None:
        if symbol not in self._fed and ctx.bars(self.params.interval, symbol) is not None:
            self._rebuild(ctx, symbol)  # the bars came later than the first slices
        if not self.params.closed_bars:
            self._look_at_open_bar(ctx, symbol)
        want = ctx.state.get(f"want:{symbol}")
        if want is not None:
            self._enter(ctx, symbol, want)

    def on_order(self, ctx: Context, handle: Handle) -> None:
        if handle.done and not handle.is_exit and handle.filled_qty == 0:
            ctx.show(decision=f"{handle.symbol} {handle.tag} ended {handle.state}: {handle.reason}")

    # -- deciding ---------------------------------------------------------------------------------------------

    def _decide(self, ctx: Context, symbol: str, want: str, text: str, until_ms: int) -> None:
        ctx.note({"signal": want, "why": text}, subject="brain.signal", symbol=symbol)
        ctx.show(decision=f"{symbol} {want}: {text}")
        position = ctx.position(symbol)
        against = position is not None and (position.qty < 0 if want == "long" else position.qty > 0)
        if against:
            ctx.close(symbol, tag=f"cross-{want}", slippage_bps=self.params.exit_slippage_bps)
        if want == "long" or self.params.short:
            ctx.state[f"want:{symbol}"] = {"side": want, "until_ms": until_ms}
            self._enter(ctx, symbol, ctx.state[f"want:{symbol}"])

    def _enter(self, ctx: Context, symbol: str, want: dict[str, object]) -> None:
        position = ctx.position(symbol)
        if ctx.now_ms > int(str(want["until_ms"])):
            del ctx.state[f"want:{symbol}"]
            return
        if position is None or position.qty != 0 or ctx.closing(symbol) or ctx.orders(symbol):
            return
        qty = ctx.qty_for(self.params.notional, symbol)
        if qty is None or ctx.best(symbol) is None:
            return
        del ctx.state[f"want:{symbol}"]
        side = "BUY" if want["side"] == "long" else "SELL"
        handle = ctx.place(
            side, qty, slippage_bps=self.params.entry_slippage_bps, symbol=symbol, tag=f"cross-{want['side']}"
        )
        if handle.done:
            ctx.show(decision=f"{symbol} {want['side']} refused: {handle.reason}")

    def _look_at_open_bar(self, ctx: Context, symbol: str) -> None:
        macd, bar = self._macds.get(symbol), ctx.open_bar(self.params.interval, symbol)
        fed = self._fed.get(symbol)
        if macd is None or bar is None or fed is None or macd.value is None or not macd.warm:
            return
        if (
            bar.open_ms != fed[0] + INTERVAL_MS[self.params.interval]
            or ctx.state.get(f"peeked:{symbol}") == bar.open_ms
        ):
            return
        value = macd.peek(bar.close)
        want = _crossing(macd.value.histogram, value.histogram)
        if want:
            ctx.state[f"peeked:{symbol}"] = bar.open_ms  # at most one decision for each open bar
            self._decide(ctx, symbol, want, f"open bar, histogram {value.histogram:+.4f}", ctx.now_ms + _CHASE_MS)

    # -- the indicator ----------------------------------------------------------------------------------------

    def _macd_before(self, ctx: Context, bar: Bar) -> Macd | None:
        """The indicator as it stood before `bar`; built anew where it does not end just before it, or where history
        was mended."""
        fed = self._fed.get(bar.symbol)
        frame = ctx.bars(bar.interval, bar.symbol)
        if frame is None:
            return None
        times = frame["open_ms"].tolist()
        at = times.index(bar.open_ms) if bar.open_ms in times else -1
        previous = (times[at - 1], float(frame["close"].iloc[at - 1])) if at > 0 else None
        if fed is None or fed != previous:
            self._rebuild(ctx, bar.symbol, before_ms=bar.open_ms)
        return self._macds.get(bar.symbol)

    def _rebuild(self, ctx: Context, symbol: str, before_ms: int | None = None) -> None:
        frame = ctx.bars(self.params.interval, symbol)
        macd = Macd(self.params.fast, self.params.slow, self.params.signal)
        self._macds[symbol] = macd
        self._fed.pop(symbol, None)
        if frame is not None:
            times = frame["open_ms"].tolist()
            for open_ms, close in zip(times, frame["close"].tolist(), strict=True):
                if before_ms is None or open_ms < before_ms:
                    macd.update(close)
                    self._fed[symbol] = (open_ms, close)
        self._show_warm_up(ctx, symbol)

    def _show_warm_up(self, ctx: Context, symbol: str) -> None:
        macd = self._macds[symbol]
        ctx.show(warm_up="" if macd.warm else f"warming up: {macd.count} of {macd.needed} bars")


def _crossing(before: float, now: float) -> str:
    if before <= 0 < now:
        return "long"
    return "short" if before >= 0 > now else ""
