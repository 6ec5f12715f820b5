"""What came before the simulation began: minute bars of the last weeks, hour bars of the years before, funding.

Built once per symbol when first asked for, from the seed alone; ends exactly at the price where live trading starts.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simex.market.intervals import DAY_MS, HOUR_MS, MINUTE_MS
from simex.market.profile import MarketSpec

MINUTE_DAYS = 66
"""Days of one-minute bars: 1500 hours and some."""
HOUR_DAYS = 5 * 365
FUNDING_MS = 8 * HOUR_MS

PRINTS_PER_TRADE_S = 1.55
"""Live prints a second per unit of `Profile.trades_per_s`: touch, bursts and sweeps together, as measured live.
A jump here at the start of live trading would look like a volume alarm to strategies."""

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
    offsets = np.empty(count)
    offset = 0.0
    for index in range(count - 1, -1, -1):
        offsets[index] = offset
        offset = offset * pull - moves[index]
    closes = np.maximum(20, np.rint(end_ticks * np.exp(offsets))).astype(np.int64)
    opens = np.concatenate((np.maximum(20, np.rint([end_ticks * np.exp(offset)])).astype(np.int64), closes[:-1]))
    reach = np.abs(rng.normal(0, sigma * 0.6, (2, count))) * end_ticks * wild.clip(0.4, 4.0)
    highs = np.maximum(opens, closes) + reach[0].astype(np.int64)
    lows = np.maximum(10, np.minimum(opens, closes) - reach[1].astype(np.int64))
    prints = PRINTS_PER_TRADE_S * spec.profile.trades_per_s * step_ms / 1000 * rng.lognormal(-0.03, 0.25, count)
    trades = np.maximum(1, prints).astype(np.int64)
    volume = np.maximum(trades, prints * spec.top_lots * 0.12).astype(np.int64)
    bias = np.clip(0.5 + 0.25 * np.tanh(moves / sigma) + rng.normal(0, 0.05, count), 0.02, 0.98)
    taker = (volume * bias).astype(np.int64)
    middle = (opens + highs + lows + closes) // 4
    times = end_ms - step_ms * np.arange(count, 0, -1, dtype=np.int64)
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


@dataclass(frozen=True, slots=True)
class FundingPoint:
    """One past settlement: time in ms, rate in units of 1e-8, mark price in ticks."""

    time_ms: int
    rate_e8: int
    mark_ticks: int


def funding_history(seed: int, spec: MarketSpec, minutes: Rows, days: int = MINUTE_DAYS) -> list[FundingPoint]:
    """The settlements before the start, a few milliseconds after each eighth hour, oldest first."""
    rng = _rng(seed, spec.symbol, "funding")
    end_ms = int(minutes[-1, 0]) + MINUTE_MS
    last = end_ms - end_ms % FUNDING_MS
    times = [last - FUNDING_MS * back for back in range(days * 3 - 1, -1, -1)]
    points = []
    for at in times:
        index = max(0, min(len(minutes) - 1, (at - int(minutes[0, 0])) // MINUTE_MS))
        rate = int(np.clip(rng.normal(7_000, 4_000), -30_000, 10_000))
        points.append(FundingPoint(at + int(rng.integers(0, 14)), rate, int(minutes[index, 1])))
    return points
