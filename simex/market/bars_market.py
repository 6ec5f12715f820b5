"""A market that follows historical bars: the same books as the seeded one, trades from the bars' tape.

File times and the exchange's differ by one constant, a whole number of weeks (or days, or hours) where the file is long
enough, so that bars of every interval and funding hours stay where they were.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np

from simex.market.barfile import BadBars, BarFile, FundingFile
from simex.market.generator import Print, Step, SymbolMarket
from simex.market.history import FundingPoint, Rows, empty_rows
from simex.market.intervals import DAY_MS, HOUR_MS
from simex.market.profile import MarketSpec
from simex.market.tape import TapeTrade, expand, minutes_of, with_estimates

_UNITS_MS = (7 * DAY_MS, DAY_MS, 8 * HOUR_MS, HOUR_MS)
_LEAST_LEFT = 20
"""Bars that must be left to play after a start that was moved to fit the clock."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where to begin: `start_ms` in the file's times, and what to add to these to get the exchange's."""

    start_ms: int
    shift_ms: int


def span_of(files: Sequence[BarFile], now_ms: int, wanted_ms: int | None) -> Span:
    """Begin at `wanted_ms` or soon after, such that the shift is as round as the files allow.

    Without a wish a third of the way in. Raises BadBars if the files do not overlap, or not there.
    """
    first = max(int(item.rows[0, 0]) for item in files)
    last = min(item.end_ms for item in files)
    step = max(item.step_ms for item in files)
    if wanted_ms is None:
        wanted_ms = first + (last - first) // 3
    wanted_ms += -wanted_ms % step
    if not first <= wanted_ms < last:
        raise BadBars(f"nothing can begin at {wanted_ms}: the files share {first} to {last}")
    for unit in (*_UNITS_MS, step):
        shift = (now_ms - wanted_ms) // unit * unit
        start = now_ms - shift
        if start + _LEAST_LEFT * step <= last or unit == step:
            return Span(start, shift)
    raise AssertionError("the last unit always fits")


@dataclass(frozen=True)
class BarsPast:
    """The history of a file: its bars before the start, as minutes, on the exchange's clock."""

    minutes: Rows
    settlements: tuple[FundingPoint, ...] = ()
    usual_interest_lots: float = 0.0

    @property
    def hours(self) -> Rows:
        """None: the file is all there is."""
        return empty_rows()

    def funding(self) -> list[FundingPoint]:
        """The settlements before the start."""
        return list(self.settlements)


def past_of(file: BarFile, funding: FundingFile | None, span: Span, seed: int) -> BarsPast:
    """Minutes and settlements of one symbol up to the opening of the bar under way."""
    over = file.rows[file.rows[:, 0] + file.step_ms <= span.start_ms].copy()
    minutes = with_estimates(minutes_of(over, file.step_ms, seed))
    minutes[:, 0] += span.shift_ms
    settlements = []
    for at_ms, rate in () if funding is None else funding.points:
        if at_ms <= span.start_ms:
            index = max(0, int(np.searchsorted(file.rows[:, 0], at_ms, side="right")) - 1)
            settlements.append(FundingPoint(at_ms + span.shift_ms, int(rate.scaleb(8)), int(file.rows[index, 1])))
    interest = 1.5 * float(file.rows[:, 5].mean()) * DAY_MS / file.step_ms
    return BarsPast(minutes, tuple(settlements), interest)


class BarsSymbol(SymbolMarket):
    """One symbol's market outside, led by its bars. After the last bar it stands still and is `over`."""

    def __init__(
        self, spec: MarketSpec, file: BarFile, funding: FundingFile | None, span: Span, seed: int, now_ms: int
    ) -> None:  # fmt: skip
        super().__init__(spec, Random(f"{seed}/{spec.symbol}/bars"), now_ms)
        self.over = False
        self._file = file
        self._seed = seed
        self._shift_ms = span.shift_ms
        self._rates = () if funding is None else funding.points
        self._next = int(np.searchsorted(file.rows[:, 0], span.start_ms, side="right")) - 1
        self._due: deque[tuple[int, TapeTrade]] = deque()

    @property
    def funding_rate(self) -> float:
        """The rate of the next recorded settlement; without a record the model's."""
        at_ms = self._last_ms - self._shift_ms
        return next((float(rate) for time_ms, rate in self._rates if time_ms > at_ms), super().funding_rate)

    def begun(self, now_ms: int) -> list[Print]:
        """The trades of the bar under way up to now: they are past, and nobody has to be told."""
        return self._take_due(now_ms)

    def step(self, now_ms: int, common_bps: float, common_heat: float = 0.0) -> Step:
        """The trades since the last step, each at the touch of its moment, and the book as it stands after them."""
        dt_s = max(now_ms - self._last_ms, 1) / 1000
        self._last_ms = max(now_ms, self._last_ms)
        prints = self._take_due(now_ms)
        if prints:
            self._fair = float(prints[-1].price)
        if not self.over:
            self._slow += (self._fair - self._slow) * min(1.0, dt_s / 5)
            self._refresh_top()
            self._churn()
            self._trim(self.bids)
            self._trim(self.asks)
        return Step(prints, self.bids.take_changes(), self.asks.take_changes())

    def _take_due(self, now_ms: int) -> list[Print]:
        """Trades up to a time of the exchange, with the touch moved to each."""
        rows, at_ms = self._file.rows, now_ms - self._shift_ms
        while self._next < len(rows) and int(rows[self._next, 0]) <= at_ms:
            opened = int(rows[self._next, 0])
            self._due.extend((opened, item) for item in expand(rows[self._next], self._file.step_ms, self._seed))
            self._next += 1
        prints = []
        while self._due and self._due[0][0] + self._due[0][1].after_ms <= at_ms:
            opened, item = self._due.popleft()
            self._meet(item)
            prints.append(Print(item.price, item.lots, item.buyer_is_maker, opened + item.after_ms + self._shift_ms))
        self.over = self._next == len(rows) and not self._due and at_ms >= self._file.end_ms
        return prints

    def _meet(self, item: TapeTrade) -> None:
        """Bring the touch to a trade's price and take its quantity there."""
        spread = self._spread()
        bid = item.price if item.buyer_is_maker else max(1, item.price - spread)
        ask = item.price + spread if item.buyer_is_maker else item.price
        if self.bids.best() != bid or self.asks.best() != ask:
            for side, limit, away in ((self.asks, ask, +1), (self.bids, bid, -1)):
                for price, _ in side.better_than(limit):
                    side.set(price, 0)
                self._approach(side, limit, away)
        taken = self.bids if item.buyer_is_maker else self.asks
        resting = taken.get(item.price)
        taken.set(item.price, (resting if resting > item.lots else item.lots + self._size(0)) - item.lots)


class BarsMarket:
    """All symbols of a set of files, begun together."""

    def __init__(self, symbols: dict[str, BarsSymbol]) -> None:
        self.symbols = symbols

    @property
    def over(self) -> bool:
        """Whether some file has come to its end."""
        return any(single.over for single in self.symbols.values())

    def step(self, symbol: str, now_ms: int) -> Step:
        """One symbol's step."""
        return self.symbols[symbol].step(now_ms, 0.0)
