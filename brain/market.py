"""What a brain sees of one cut: fresh values as Decimals, bars as pandas frames. Pure.

Everything here is None where the slice behind it may not be decided on.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from brain.interceptor import Prices
from ipc.cut import Cut, SymbolCut
from ipc.slices import BarRow, BarsSlice, InstrumentSlice
from rules.instrument import Instrument

if TYPE_CHECKING:
    import pandas as pd

ZERO = Decimal(0)
MINUTE_MS = 60_000
INTERVAL_MS = {
    "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS, "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS, "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": 1440 * MINUTE_MS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Book:
    """Best first: `(price, qty)`."""

    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]
    u: int
    event_ms: int | None


@dataclass(frozen=True, slots=True)
class Position:
    """The brain's own. `qty` is signed, `entry` 0 when flat. `fees` are costs in the margin asset, `funding` is what
    was received; `profit` is realised + unrealised - fees + funding."""

    qty: Decimal
    entry: Decimal
    realised: Decimal
    unrealised: Decimal
    fees: Decimal
    funding: Decimal

    @property
    def profit(self) -> Decimal:
        return self.realised + self.unrealised - self.fees + self.funding


class Market:
    """Views of the current cut; conversions are made at most once a cut (bars: once per written slice)."""

    def __init__(self) -> None:
        self.cut: Cut | None = None
        self._best: dict[str, tuple[Decimal, Decimal] | None] = {}
        self._positions: dict[str, Position | None] = {}
        self._instruments: dict[str, tuple[tuple[str, int], Instrument]] = {}
        self._looked_up: dict[str, Instrument | None] = {}
        self._frames: dict[tuple[str, str], tuple[tuple[str, int], pd.DataFrame]] = {}

    def install(self, cut: Cut) -> None:
        self.cut = cut
        self._best.clear()
        self._positions.clear()
        self._looked_up.clear()

    def symbol(self, symbol: str) -> SymbolCut:
        if self.cut is None:
            raise KeyError(f"nothing was read of {symbol} yet")
        return self.cut.symbols[symbol]

    def best(self, symbol: str) -> tuple[Decimal, Decimal] | None:
        if symbol not in self._best:
            book = self.symbol(symbol).book.fresh
            live = book is not None and book.bids and book.asks
            self._best[symbol] = (Decimal(book.bids[0][0]), Decimal(book.asks[0][0])) if book and live else None
        return self._best[symbol]

    def book(self, symbol: str) -> Book | None:
        book = self.symbol(symbol).book.fresh
        if book is None:
            return None
        bids = [(Decimal(price), Decimal(qty)) for price, qty in book.bids]
        asks = [(Decimal(price), Decimal(qty)) for price, qty in book.asks]
        return Book(bids, asks, book.u, book.event_ms)

    def mark(self, symbol: str) -> Decimal | None:
        mark = self.symbol(symbol).mark.fresh
        return Decimal(mark.mark) if mark is not None else None

    def prices(self, symbol: str) -> Prices:
        return Prices(self.best(symbol), self.mark(symbol))

    def instrument(self, symbol: str) -> Instrument | None:
        """Also the last one known, where the slice is not live: filters do not age, and closes need rounding."""
        if symbol not in self._looked_up:
            self._looked_up[symbol] = self._look_up(symbol)
        return self._looked_up[symbol]

    def _look_up(self, symbol: str) -> Instrument | None:
        held = self.symbol(symbol).instrument
        if held.slice is None:
            known = self._instruments.get(symbol)
            return known[1] if known is not None else None
        stamp = (held.slice.epoch, held.slice.seq)
        known = self._instruments.get(symbol)
        if known is None or known[0] != stamp:
            known = (stamp, _instrument(symbol, held.slice))
            self._instruments[symbol] = known
        return known[1]

    def hedged(self, symbol: str) -> bool:
        held = self.symbol(symbol).instrument.slice
        return held is not None and (held.position_mode or "").startswith("hedge")

    def position(self, symbol: str) -> Position | None:
        if symbol not in self._positions:
            self._positions[symbol] = self._position(symbol)
        return self._positions[symbol]

    def open_qty(self, symbol: str) -> Decimal | None:
        """What a closing has before it: the signed position or, in hedge mode, the larger of its legs. 0: flat, both of
        them. None where it is not known."""
        position = self.position(symbol)
        held = self.symbol(symbol).position.fresh
        if position is None or held is None or not self.hedged(symbol):
            return position.qty if position is not None else None
        return max((Decimal(leg.qty) for leg in held.legs), key=abs, default=ZERO)

    def _position(self, symbol: str) -> Position | None:
        ledger = self.symbol(symbol).ledger.fresh
        if ledger is None:
            return None
        held = self.symbol(symbol).instrument.slice
        asset = held.margin_asset if held is not None else "USDT"
        qty, entry = Decimal(ledger.qty), Decimal(ledger.entry)
        mark = self.mark(symbol)
        if mark is not None and qty:
            unrealised = (mark - entry) * qty
        else:
            unrealised = Decimal(ledger.unrealised) if ledger.unrealised is not None else ZERO
        fees = Decimal(ledger.fees.get(asset, "0"))
        return Position(qty, entry, Decimal(ledger.realised), unrealised, fees, Decimal(ledger.funding))

    def bars(self, symbol: str, interval: str) -> BarsSlice | None:
        cut = self.symbol(symbol).bars.get(interval)
        return cut.closed.fresh if cut is not None else None

    def open_bar(self, symbol: str, interval: str) -> BarRow | None:
        cut = self.symbol(symbol).bars.get(interval)
        fresh = cut.open.fresh if cut is not None else None
        return fresh.bar if fresh is not None else None

    def frame(self, symbol: str, interval: str) -> pd.DataFrame | None:
        """Closed bars, oldest first: floats under `open, high, low, close, volume, quote_volume`, ints under `open_ms`
        and `trades`, indexed by opening time (UTC). None where they may not be decided on."""
        bars = self.bars(symbol, interval)
        if bars is None:
            return None
        stamp = (bars.epoch, bars.seq)
        known = self._frames.get((symbol, interval))
        if known is None or known[0] != stamp:
            known = (stamp, to_frame(bars.rows))
            self._frames[symbol, interval] = known
        return known[1]


def to_frame(rows: list[BarRow]) -> pd.DataFrame:
    import pandas as pd

    index = pd.to_datetime([row.open_ms for row in rows], unit="ms", utc=True)
    columns = {
        "open_ms": [row.open_ms for row in rows],
        "open": [float(row.o) for row in rows],
        "high": [float(row.h) for row in rows],
        "low": [float(row.l) for row in rows],
        "close": [float(row.c) for row in rows],
        "volume": [float(row.v) for row in rows],
        "quote_volume": [float(row.q) for row in rows],
        "trades": [row.n for row in rows],
    }
    return pd.DataFrame(columns, index=pd.DatetimeIndex(index, name="open_time"))


def _instrument(symbol: str, held: InstrumentSlice) -> Instrument:
    return Instrument(
        symbol=symbol, status=held.status, base=held.base, quote=held.quote, margin_asset=held.margin_asset,
        tick=Decimal(held.tick), step=Decimal(held.step), market_step=Decimal(held.market_step),
        min_price=Decimal(held.min_price), max_price=Decimal(held.max_price),
        min_qty=Decimal(held.min_qty), max_qty=Decimal(held.max_qty),
        market_min_qty=Decimal(held.market_min_qty), market_max_qty=Decimal(held.market_max_qty),
        min_notional=Decimal(held.min_notional), multiplier_up=Decimal(held.multiplier_up),
        multiplier_down=Decimal(held.multiplier_down), max_orders=held.max_orders,
    )  # fmt: skip
