"""What the server knows of one symbol: book, bars, tape and mark."""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from simex.core.instrument import Instrument
from simex.market.bars import BarSeries
from simex.market.history import FundingPoint, NoPast, Past
from simex.market.ladder import Level
from simex.market.scale import Scale
from simex.server.frames import AggTrade, Mark

TAPE = 1_000
"""Trades kept for /trades and /aggTrades."""


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
    past: Past | NoPast = field(default_factory=NoPast)
    settled: list[FundingPoint] = field(default_factory=list)
    """Settlements since the start."""
    trades: deque[AggTrade] = field(default_factory=lambda: deque(maxlen=TAPE))
    agg_trades: deque[AggTrade] = field(default_factory=lambda: deque(maxlen=TAPE))
    next_agg_id: int = 0
    shown: dict[str, int] = field(default_factory=dict)
    """Update id last shown per partial-depth stream."""
    moved: set[str] = field(default_factory=set)
    """Intervals whose open bar has changed since its last event."""

    @property
    def symbol(self) -> str:
        """The symbol's name."""
        return self.instrument.symbol

    def funding(self) -> list[FundingPoint]:
        """All settlements, oldest first."""
        return self.past.funding() + self.settled

    def price(self, ticks: float) -> Decimal:
        """A price in (fractional) ticks as a Decimal of 8 places."""
        exact = Decimal(round(ticks * 10_000)) * self.instrument.tick_size / 10_000
        return exact.quantize(Decimal("1e-8"))


def scale_of(instrument: Instrument) -> Scale:
    """The number texts of an instrument."""
    return Scale.of(
        instrument.tick_size, instrument.step_size, instrument.price_precision, instrument.quantity_precision
    )
