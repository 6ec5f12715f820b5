"""What came before the simulation began: minute bars of the last weeks, hour bars of the years before, funding.

Built once per symbol when first asked for, from the seed alone; ends exactly at the price where live trading starts.
"""

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simex.market.hours import activities
from simex.market.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from simex.market.profile import MarketSpec

MINUTE_DAYS = 17
"""Days of one-minute bars: 1500 quarters of an hour and some. Bars of an hour and more go on with the hour bars."""
HOUR_DAYS = 5 * 365

PRINTS_PER_TRADE_S = 2.05
LOTS_PER_PRINT = 0.092
"""Live prints a second per unit of `Profile.trades_per_s` (touch, bursts and sweeps together), and the mean print as a
share of the usual quantity at a price, both as measured live. A jump here at the start of live trading would look like
a volume alarm to strategies."""

COLUMNS = 12
"""A row: open time, open, high, low, close (ticks), volume (lots), quote (ticks x lots), trades, taker-buy volume,
taker-buy quote, first and last trade id (-1 where none is known, as in all of the history)."""
Rows = NDArray[np.int64]


def empty_rows() -> Rows:
    """A table without bars."""
    return np.zeros((0, COLUMNS), dtype=np.int64)


def _rng(seed: int, symbol: str, what: str) -> np.random.Generator:
    return np.random.default_rng([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, zlib.crc32(f"{symbol}/{what}".encode())])


def _bars(spec: MarketSpec, rng: np.random.Generator, end_ms: int, end_ticks: int, count: int, step_ms: int) -> Rows:
    """`count` bars of `step_ms` that end before `end_ms`, the last one closing at `end_ticks`."""
    sigma = spec.profile.volatility_bps / 10_000 * (step_ms / 1000) ** 0.5
    wild = np.exp(np.convolve(rng.normal(0, 0.25, count + 29), np.ones(30), "valid") / 3)
    moves = rng.normal(0, sigma, count) * np.clip(wild, 0.4, 4.0)
    # Walking backwards from the end, pulled gently to it so that years stay within reach of the start price.
    pull = 0.5 ** (step_ms / (180 * DAY_MS))
    decay = pull ** np.arange(count)
    walked = np.concatenate(([0.0], -np.cumsum(moves[::-1] / decay))) * np.concatenate((decay, [pull**count])) / pull
    path = np.maximum(20, np.rint(end_ticks * np.exp(walked[::-1]))).astype(np.int64)
    opens, closes = path[:-1], path[1:]
    reach = np.abs(rng.normal(0, sigma * 0.6, (2, count))) * end_ticks * wild.clip(0.4, 4.0)
    highs = np.maximum(opens, closes) + reach[0].astype(np.int64)
    lows = np.maximum(10, np.minimum(opens, closes) - reach[1].astype(np.int64))
    times = end_ms - step_ms * np.arange(count, 0, -1, dtype=np.int64)
    busy = activities(times + step_ms // 2)
    prints = PRINTS_PER_TRADE_S * spec.profile.trades_per_s * step_ms / 1000 * rng.lognormal(-0.03, 0.25, count) * busy
    trades = np.maximum(1, prints).astype(np.int64)
    volume = np.maximum(trades, prints * spec.top_lots * LOTS_PER_PRINT).astype(np.int64)
    bias = np.clip(0.5 + 0.25 * np.tanh(moves / sigma) + rng.normal(0, 0.05, count), 0.02, 0.98)
    taker = (volume * bias).astype(np.int64)
    middle = (opens + highs + lows + closes) // 4
    none = np.full(count, -1, dtype=np.int64)
    return np.column_stack(
        (times, opens, highs, lows, closes, volume, volume * middle, trades, taker, taker * middle, none, none)
    )


def minute_history(seed: int, spec: MarketSpec, start_ms: int) -> Rows:
    """One-minute bars from a midnight about `MINUTE_DAYS` ago to the minute before `start_ms`."""
    end = start_ms - start_ms % MINUTE_MS
    first = end - end % DAY_MS - MINUTE_DAYS * DAY_MS
    count = (end - first) // MINUTE_MS
    return _bars(spec, _rng(seed, spec.symbol, "minutes"), end, spec.base_ticks, count, MINUTE_MS)


def hour_history(seed: int, spec: MarketSpec, minutes: Rows) -> Rows:
    """Hour bars of the years before the minute bars, joined to their first open."""
    first_ms, first_open = int(minutes[0, 0]), int(minutes[0, 1])
    return _bars(spec, _rng(seed, spec.symbol, "hours"), first_ms, first_open, HOUR_DAYS * 24, HOUR_MS)


@dataclass(frozen=True)
class Past:
    """One symbol's history, made when first asked for and kept."""

    seed: int
    spec: MarketSpec
    start_ms: int

    @cached_property
    def minutes(self) -> Rows:
        """One-minute bars up to the start."""
        return minute_history(self.seed, self.spec, self.start_ms)

    @cached_property
    def hours(self) -> Rows:
        """Hour bars up to the first minute."""
        return hour_history(self.seed, self.spec, self.minutes)

    @property
    def usual_interest_lots(self) -> float:
        """The usual open interest: about a day's volume and a half."""
        profile = self.spec.profile
        return 1.5 * 86_400 * PRINTS_PER_TRADE_S * profile.trades_per_s * self.spec.top_lots * LOTS_PER_PRINT

    def funding(self) -> "list[FundingPoint]":
        """The settlements before the start."""
        return funding_history(self.seed, self.spec, self.minutes, self.start_ms)


class History(Protocol):
    """Bars from before the start: a table of minutes, and one of hours for the years before these."""

    @property
    def minutes(self) -> Rows:
        """One-minute bars."""

    @property
    def hours(self) -> Rows:
        """Hour bars up to the first minute."""


class Before(History, Protocol):
    """All that is known of a symbol from before the start."""

    @property
    def usual_interest_lots(self) -> float:
        """The usual open interest; 0 if nothing is known."""

    def funding(self) -> "list[FundingPoint]":
        """The settlements, oldest first."""


class NoPast:
    """The history of a recording: there is none."""

    minutes = empty_rows()
    hours = empty_rows()
    usual_interest_lots = 0.0

    def funding(self) -> "list[FundingPoint]":
        """None."""
        return []


@dataclass(frozen=True, slots=True)
class FundingPoint:
    """One past settlement: time in ms, rate in units of 1e-8, mark price in ticks."""

    time_ms: int
    rate_e8: int
    mark_ticks: int


def funding_history(seed: int, spec: MarketSpec, minutes: Rows, start_ms: int) -> list[FundingPoint]:
    """The settlements of the minute bars' days, a few milliseconds after each of their hours, oldest first."""
    rng = _rng(seed, spec.symbol, "funding")
    every_ms = spec.funding_hours * HOUR_MS
    last = start_ms - start_ms % every_ms
    times = [last - every_ms * back for back in range(MINUTE_DAYS * DAY_MS // every_ms - 1, -1, -1)]
    points = []
    for at in times:
        index = max(0, min(len(minutes) - 1, (at - int(minutes[0, 0])) // MINUTE_MS))
        rate = int(np.clip(rng.normal(7_000, 4_000), -30_000, 10_000))
        points.append(FundingPoint(at + int(rng.integers(0, 14)), rate, int(minutes[index, 1])))
    return points
