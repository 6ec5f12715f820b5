"""What the server knows of one symbol: book, bars, tape and mark."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from simex.core.instrument import Instrument
from simex.market.bars import BarSeries
from simex.market.history import Before, FundingPoint, NoPast
from simex.market.interest import OpenInterest
from simex.market.ladder import Level
from simex.market.scale import Scale
from simex.market.series import INDEX, KINDS, MARK, PREMIUM, UNITS, price_series
from simex.server.frames import AggTrade, Mark

TAPE_OF_ALL, TAPE = 60_000, 1_000
"""Trades kept for /trades and /aggTrades: of all symbols together, and the least of each."""
SETTLEMENTS = 10_000
"""Fundings kept per symbol."""


class Book(Protocol):
    """The visible book as the streams and REST need it."""

    last_id: int
    time_ms: int

    def best(self) -> tuple[Level, Level]:
        """Best bid and ask, (0, 0) for an empty side."""

    def top(self, count: int) -> tuple[list[Level], list[Level]]:
        """The best `count` levels a side."""


@dataclass
class SymbolState:
    """Everything public about one symbol."""

    instrument: Instrument
    scale: Scale
    book: Book
    bars: BarSeries
    mark: Mark
    past: Before = field(default_factory=NoPast)
    settled: deque[FundingPoint] = field(default_factory=lambda: deque(maxlen=SETTLEMENTS))
    """Settlements since the start."""
    trades: deque[AggTrade] = field(default_factory=lambda: deque(maxlen=TAPE))
    agg_trades: deque[AggTrade] = field(default_factory=lambda: deque(maxlen=TAPE))
    next_agg_id: int = 0
    shown: dict[str, int] = field(default_factory=dict)
    """Update id last shown per partial-depth stream."""
    moved: set[str] = field(default_factory=set)
    """Intervals whose open bar has changed since its last event."""
    told: dict[str, int] = field(default_factory=dict)
    """Last trade that the tickers of all symbols have shown, by stream."""
    interest: OpenInterest = field(init=False)
    prices: dict[str, BarSeries] = field(init=False)
    """Bars of mark price, index price and premium, in units of 1e-8 (`simex.market.series`)."""

    def __post_init__(self) -> None:
        self.interest = OpenInterest(self.symbol, self.past.usual_interest_lots, self.bars.open_minute.open_ms)
        start, factor = self.bars.open_minute.open_ms, int(self.instrument.tick_size * UNITS)
        self.prices = {kind: price_series(kind, self.symbol, self.past, start, factor) for kind in KINDS}

    @property
    def symbol(self) -> str:
        """The symbol's name."""
        return self.instrument.symbol

    def funding(self) -> list[FundingPoint]:
        """All settlements, oldest first."""
        return [*self.past.funding(), *self.settled]

    def share_tape(self, symbols: int) -> None:
        """Keep this symbol's share of the trades."""
        most = max(TAPE, TAPE_OF_ALL // symbols)
        self.trades, self.agg_trades = deque(self.trades, most), deque(self.agg_trades, most)

    def sample(self, now_ms: int) -> None:
        """Take the current mark into its bars, the index and the premium into theirs."""
        mark, index = int(self.mark.mark * UNITS), int(self.mark.index * UNITS)
        if mark <= 0 or index <= 0:
            return
        for kind, value in ((MARK, mark), (INDEX, index), (PREMIUM, UNITS * mark // index)):
            series = self.prices[kind]
            series.roll(now_ms)
            series.add_trade(value, 1, False, (0, 0))

    def price(self, ticks: float) -> Decimal:
        """A price in (fractional) ticks as a Decimal of 8 places."""
        exact = Decimal(round(ticks * 10_000)) * self.instrument.tick_size / 10_000
        return exact.quantize(Decimal("1e-8"))


def scale_of(instrument: Instrument) -> Scale:
    """The number texts of an instrument."""
    return Scale.of(
        instrument.tick_size, instrument.step_size, instrument.price_precision, instrument.quantity_precision
    )
