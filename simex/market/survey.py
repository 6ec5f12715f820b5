"""What a recording holds: symbols, number grids, time span. Read once before it is replayed."""

from dataclasses import dataclass, field
from decimal import Decimal
from math import gcd
from typing import Any

import orjson

from simex.market.recording import AGG_TRADE, DEPTH, MARK, SNAPSHOT, TRADE, BadRecording, Recording
from simex.market.scale import decimals_of


@dataclass(slots=True)
class Grid:
    """The grid that a set of decimal texts lies on."""

    decimals: int = 0
    units: int = 0

    def add(self, text: str) -> None:
        """Take one more number into account."""
        decimals = decimals_of(text)
        if decimals > self.decimals:
            self.units *= 10 ** (decimals - self.decimals)
            self.decimals = decimals
        digits = int(text.replace(".", "")) * 10 ** (self.decimals - decimals)
        self.units = gcd(self.units, digits)

    @property
    def step(self) -> Decimal:
        """The largest step of which all numbers are multiples."""
        return Decimal(self.units or 1).scaleb(-self.decimals)


@dataclass(slots=True)
class SymbolFacts:
    """What is known of one symbol."""

    price: Grid = field(default_factory=Grid)
    qty: Grid = field(default_factory=Grid)
    first_price: Decimal | None = None
    kinds: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Survey:
    """Facts of a whole recording. Times in ns (local) and ms (the exchange's)."""

    symbols: dict[str, SymbolFacts]
    lines: int
    first_ns: int
    last_ns: int
    lead_ms: float
    """By how much the exchange's event times ran ahead of the local clock, at most (negative: behind)."""
    first_event_ms: int


def survey(recording: Recording) -> Survey:
    """Read a recording once. Raises BadRecording if there is nothing to replay or a number is no number."""
    symbols: dict[str, SymbolFacts] = {}
    count, first_ns, last_ns, first_event_ms, lead = 0, 0, 0, 0, float("-inf")
    seen: dict[str, tuple[set[str], set[str]]] = {}
    for line in recording.lines():
        count += 1
        first_ns = first_ns or line.at_ns
        last_ns = line.at_ns
        event = orjson.loads(line.text)
        facts = symbols.setdefault(line.symbol, SymbolFacts())
        facts.kinds.add(line.kind)
        if line.kind != SNAPSHOT:
            first_event_ms = first_event_ms or event["E"]
            lead = max(lead, event["E"] - line.at_ns / 1e6)
        prices, amounts = seen.setdefault(line.symbol, (set(), set()))
        _collect(line.kind, event, prices, amounts)
        if facts.first_price is None and prices:
            facts.first_price = _middle(line.kind, event, prices)
    if not count or not first_event_ms:
        raise BadRecording(f"{recording.path.name}: holds nothing that can be replayed")
    for symbol, (prices, amounts) in seen.items():
        for grid, texts in ((symbols[symbol].price, prices), (symbols[symbol].qty, amounts)):
            for text in texts:
                try:
                    grid.add(text)
                except ValueError as error:
                    raise BadRecording(f"{recording.path.name}: {symbol}: {text!r} is not a number") from error
    return Survey(symbols, count, first_ns, last_ns, lead, first_event_ms)


def _collect(kind: str, event: dict[str, Any], prices: set[str], amounts: set[str]) -> None:
    if kind in (DEPTH, SNAPSHOT):
        for side in ("b", "a") if kind == DEPTH else ("bids", "asks"):
            for price, qty in event[side]:
                prices.add(price)
                amounts.add(qty)
    elif kind in (TRADE, AGG_TRADE):
        prices.add(event["p"])
        amounts.add(event["q"])


def _middle(kind: str, event: dict[str, Any], prices: set[str]) -> Decimal | None:
    """A price near the market, or None if this message shows none (a diff may touch far prices only)."""
    if kind in (TRADE, AGG_TRADE):
        return Decimal(event["p"])
    if kind == SNAPSHOT and event["bids"]:
        return Decimal(event["bids"][0][0])
    return Decimal(event["p"]) if kind == MARK and prices else None
