"""All that a strategy may see: the `Strategy` base class and its `Context`. Version 1.

A strategy is one file and one class. Its hooks run one at a time, in the order of their inputs, live, on paper and in
a backtest alike. What must survive a restart belongs into `ctx.state` (JSON values); attributes of the object do not
survive. A hook that raises has decided nothing: its orders, cancels, timers and changes of `ctx.state` are undone,
then `on_error` is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from brain.desk import Desk, Handle
from brain.interceptor import ExitRules
from brain.market import INTERVAL_MS, Book, Market, Position
from brain.params import Params
from ipc.wire import Interval, Leg, Tif
from rules.instrument import Instrument

if TYPE_CHECKING:
    import pandas as pd

VERSION = 1
_PERCENT = Decimal(100)

__all__ = ["VERSION", "Bar", "Book", "Context", "ExitRules", "Fill", "Handle", "Params", "Position", "Strategy"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A closed bar. Prices and volumes are floats: indicators, not money. `latest` is False for bars that closed
    while the brain was away and are delivered to catch up."""

    symbol: str
    interval: str
    open_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    latest: bool

    @property
    def close_ms(self) -> int:
        """When the next bar opened."""
        return self.open_ms + INTERVAL_MS[self.interval]


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of an own order. `seq` is its event's sequence: unique for ever. `fee` is a cost."""

    handle: Handle
    seq: int
    trade_id: int | None
    qty: Decimal
    price: Decimal
    fee: Decimal
    fee_asset: str
    realised: Decimal
    maker: bool

    @property
    def symbol(self) -> str:
        return self.handle.symbol

    @property
    def side(self) -> str:
        return self.handle.side


class Strategy:
    """Base class. `parameters` declares the parameters; `name` is what `--strategy` takes."""

    name: ClassVar[str] = ""
    help: ClassVar[str] = ""
    parameters: ClassVar[type[Params]] = Params

    def __init__(self, params: Params) -> None:
        self.params = params

    def intervals(self) -> tuple[Interval, ...]:
        """Bars it needs; by default the parameter `interval` if there is one."""
        interval: Interval | None = getattr(self.params, "interval", None)
        return (interval,) if interval is not None else ()

    def exit_rules(self) -> ExitRules | None:
        """What the interceptor enforces; by default the parameters `take_profit_pct`, `stop_loss_pct` and
        `exit_slippage_bps` if there are any. A limit of 0 or None is none."""
        profit, loss = getattr(self.params, "take_profit_pct", None), getattr(self.params, "stop_loss_pct", None)
        if not profit and not loss:
            return None
        slippage = getattr(self.params, "exit_slippage_bps", Decimal(20))
        return ExitRules(profit / _PERCENT if profit else None, loss / _PERCENT if loss else None, slippage)

    def on_start(self, ctx: Context) -> None:
        """Once a process, at the first moment when decisions may be made."""

    def on_slice(self, ctx: Context, symbol: str) -> None:
        """A newer cut of a symbol's slices is there."""

    def on_bar(self, ctx: Context, bar: Bar) -> None:
        """A bar closed; each once, in order."""

    def on_fill(self, ctx: Context, fill: Fill) -> None:
        """A trade of an own order; each once."""

    def on_order(self, ctx: Context, handle: Handle) -> None:
        """What is known of an own order changed."""

    def on_timer(self, ctx: Context, timer: str) -> None:
        """A timer set with `ctx.timer` is due. Timers do not survive a restart; `on_start` sets them anew."""

    def on_stop(self, ctx: Context) -> None:
        """The process is asked to end."""

    def on_error(self, ctx: Context, hook: str, error: Exception) -> None:
        """A hook raised; what it had decided was undone."""


class Context:
    """Small on purpose. A value that may not be decided on now is None; `why_not` says why."""

    def __init__(self, desk: Desk, market: Market, symbols: tuple[str, ...], name: str) -> None:
        self._desk = desk
        self._market = market
        self.symbols = symbols
        self.name = name
        self.state: dict[str, Any] = {}
        """JSON values; kept over restarts, in the same transaction as the orders decided on."""
        self.now_ms = 0
        """Wall time of this input, in ms."""
        self.restarted = False
        """True where the checkpoint of an earlier process was continued."""
        self.shown: dict[str, Any] = {}
        self.timers: dict[str, int] = {}
        self.notes: list[tuple[str, str | None, dict[str, Any]]] = []
        self.boot_ns = 0

    @property
    def symbol(self) -> str:
        """The only symbol, or the first."""
        return self.symbols[0]

    # -- what is ----------------------------------------------------------------------------------------------

    def best(self, symbol: str | None = None) -> tuple[Decimal, Decimal] | None:
        """(bid, ask) of a live book."""
        return self._market.best(symbol or self.symbol)

    def book(self, symbol: str | None = None) -> Book | None:
        return self._market.book(symbol or self.symbol)

    def mark(self, symbol: str | None = None) -> Decimal | None:
        return self._market.mark(symbol or self.symbol)

    def instrument(self, symbol: str | None = None) -> Instrument | None:
        return self._market.instrument(symbol or self.symbol)

    def position(self, symbol: str | None = None) -> Position | None:
        """The brain's own."""
        return self._market.position(symbol or self.symbol)

    def profit(self) -> Decimal:
        """Of all symbols: realised + unrealised - fees + funding, since the ledger began."""
        held = [self._market.position(symbol) for symbol in self.symbols]
        return sum((position.profit for position in held if position is not None), Decimal(0))

    def bars(self, interval: str, symbol: str | None = None) -> pd.DataFrame | None:
        """Up to 600 closed bars, oldest first, as a frame (columns: see `brain.market.Market.frame`). Treat it as
        read-only: it is shared between calls."""
        return self._market.frame(symbol or self.symbol, interval)

    def open_bar(self, interval: str, symbol: str | None = None) -> Bar | None:
        """The bar that is still open."""
        row = self._market.open_bar(symbol or self.symbol, interval)
        if row is None:
            return None
        values = (float(row.o), float(row.h), float(row.l), float(row.c), float(row.v))
        return Bar(symbol or self.symbol, interval, row.open_ms, *values, True)

    def why_not(self, what: str, symbol: str | None = None) -> str:
        """Why `book`, `mark`, `instrument`, `position`, `orders` or `ledger` is refused; empty where it is not."""
        verdict = getattr(self._market.symbol(symbol or self.symbol), what).verdict
        return "" if verdict.ok else f"{verdict.reason}: {verdict.detail}"

    def orders(self, symbol: str | None = None) -> list[Handle]:
        """Own orders that are not closed, oldest first (of one symbol, or all)."""
        return [Handle(record) for record in self._desk.alive() if symbol is None or record.symbol == symbol]

    def closing(self, symbol: str | None = None) -> bool:
        """Is the position being closed (by the interceptor or by `close`)? Entries are refused meanwhile."""
        return (symbol or self.symbol) in self._desk.closings

    def qty_for(self, notional: Decimal, symbol: str | None = None) -> Decimal | None:
        """The quantity worth `notional` at the mark price (or the mid price), rounded down to the step."""
        return self._desk.qty_for(symbol or self.symbol, notional)

    # -- what to do -------------------------------------------------------------------------------------------

    def buy(self, qty: Decimal, price: Decimal | None = None, *, slippage_bps: Decimal | None = None,
            tif: Tif | None = None, post_only: bool = False, reduce_only: bool = False, tag: str = "",
            symbol: str | None = None) -> Handle:  # fmt: skip
        """See `place`."""
        return self.place("BUY", qty, price, slippage_bps=slippage_bps, tif=tif, post_only=post_only,
                          reduce_only=reduce_only, tag=tag, symbol=symbol)  # fmt: skip

    def sell(self, qty: Decimal, price: Decimal | None = None, *, slippage_bps: Decimal | None = None,
             tif: Tif | None = None, post_only: bool = False, reduce_only: bool = False, tag: str = "",
             symbol: str | None = None) -> Handle:  # fmt: skip
        """See `place`."""
        return self.place("SELL", qty, price, slippage_bps=slippage_bps, tif=tif, post_only=post_only,
                          reduce_only=reduce_only, tag=tag, symbol=symbol)  # fmt: skip

    def place(
        self,
        side: str,
        qty: Decimal,
        price: Decimal | None = None,
        *,
        slippage_bps: Decimal | None = None,
        tif: Tif | None = None,
        post_only: bool = False,
        reduce_only: bool = False,
        tag: str = "",
        symbol: str | None = None,
        leg: Leg | None = None,
        deadline_ms: int | None = None,
    ) -> Handle:
        """An order; its handle comes back at once and outcomes come by `on_order`.

        With `price` a LIMIT (GTC unless `tif` says otherwise); with `slippage_bps` a LIMIT IOC that reaches at most so
        far beyond the best price; with neither a MARKET. Prices and quantities are Decimals and are rounded to the
        exchange's grid the safe way. What cannot be sent comes back as a handle in state `rejected` with a reason; a
        wrong argument raises ValueError or TypeError.
        """
        return self._desk.place(
            symbol or self.symbol, side, qty, price, slippage_bps=slippage_bps, tif=tif, post_only=post_only,
            reduce_only=reduce_only, tag=tag, leg=leg, deadline_ms=deadline_ms,
        )  # fmt: skip

    def close(self, symbol: str | None = None, *, tag: str = "close", slippage_bps: Decimal = Decimal(20)) -> Handle:
        """Close the whole position and keep at it until it is flat: limited IOC first, the rest as MARKET. Resting
        orders of the symbol are cancelled. The handle is that of the first order."""
        return self._desk.close(symbol or self.symbol, tag, slippage_bps)

    def cancel(self, handle: Handle) -> None:
        """Asked again until the order is known closed. Harmless for a closed one."""
        self._desk.cancel(handle.record)

    def cancel_all(self, symbol: str | None = None) -> None:
        for handle in self.orders(symbol):
            self.cancel(handle)

    def timer(self, timer: str, after_ms: int) -> None:
        """One call of `on_timer(timer)` in `after_ms`; setting it again moves it."""
        self.timers[timer] = self.boot_ns + after_ms * 1_000_000

    def note(self, data: Mapping[str, Any], *, subject: str = "brain.decision", symbol: str | None = None) -> None:
        """An event of the strategy's own words (`brain.signal`, `brain.decision`), at most 4 KiB of JSON."""
        self.notes.append((subject, symbol or self.symbol, dict(data)))

    def show(self, **what: Any) -> None:
        """For people: `decision="..."`, `warm_up="120 of 260 bars"` and the like; it goes out with the next ping."""
        self.shown.update(what)
        if "decision" in what:
            self.shown["decision_ms"] = self.now_ms
