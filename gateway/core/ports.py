"""What one part of the core may see of another."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from gateway.core.inputs import Now
from rules.instrument import Instrument


class MarketView(Protocol):
    """Market data as the order path sees it. A value that may not be relied on is None."""

    def symbols(self) -> tuple[str, ...]: ...

    def instrument(self, symbol: str) -> Instrument | None: ...

    def best(self, symbol: str, now: Now) -> tuple[Decimal, Decimal] | None:
        """(bid, ask) of a live book, else None."""

    def mark(self, symbol: str, now: Now) -> Decimal | None:
        """The mark price while its stream is within its deadline, else None."""

    def server_ms(self, now: Now) -> int:
        """The exchange's clock, biased slightly to the past: what `timestamp` is made of."""

    def clock_known(self) -> bool: ...


class BrainInfo(Protocol):
    """One registered brain."""

    name: str
    number: int
    run: str | None
    symbols: tuple[str, ...]
    alive: bool
    """A connection said hello and its lease has not run out."""
