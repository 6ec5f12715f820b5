"""From one bar to the trades that could have made it. Pure; the same bar and seed give the same trades.

The first trade is the open, the last one the close, one touches the high, one the low, none goes beyond, and the
quantities add up to the volume exactly.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simex.market.history import COLUMNS, Rows
from simex.market.intervals import MINUTE_MS

MOST_TRADES = 3_000
"""Of one bar, whatever its length."""
_TRADES_PER_S = 1.5
_BURST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class TapeTrade:
    """One trade: time in ms from the opening of its bar, price in ticks, quantity in lots."""

    after_ms: int
    price: int
    lots: int
    buyer_is_maker: bool


def expand(row: NDArray[np.int64], length_ms: int, seed: int) -> list[TapeTrade]:
    """The trades of one bar (a row of bars), in order; none where nothing traded."""
    opened, high, low, closed, volume = (int(value) for value in row[1:6])
    if volume == 0:
        return []
    rng = np.random.default_rng([seed, int(row[0]) & 0xFFFFFFFF, int(row[0]) >> 32])
    stops = _stops(opened, high, low, closed, rng)
    count = max(len(stops), min(volume, MOST_TRADES, round(_TRADES_PER_S * length_ms / 1000 * rng.uniform(0.6, 1.4))))
    prices = _path(stops, count, low, high, rng)
    lots = _split(volume, count, rng)
    times = _times(count, length_ms, rng)
    rises = np.sign(np.diff(prices, prepend=prices[0]))
    sides = np.where(rises == 0, rng.choice((-1, 1), count), rises)
    return [
        TapeTrade(int(at), int(price), int(part), bool(side < 0))
        for at, price, part, side in zip(times, prices, lots, sides, strict=True)
    ]


def minutes_of(rows: Rows, length_ms: int, seed: int) -> Rows:
    """Bars of a minute that fold into exactly these bars: the history below the interval of a file."""
    parts = length_ms // MINUTE_MS
    if parts <= 1 or not len(rows):
        return rows
    rng = np.random.default_rng([seed, len(rows)])
    count = len(rows)
    closes = _minute_closes(rows, parts, rng)
    opens = np.column_stack((rows[:, 1], closes[:, :-1]))
    highs, lows = np.maximum(opens, closes), np.minimum(opens, closes)
    bars = np.arange(count)
    top, bottom = rng.integers(0, parts, count), rng.integers(0, parts, count)
    volumes = _minute_volumes(rows[:, 5], parts, rng)
    few = rows[:, 5] < 4 * parts  # too little to share out: all of it in the first minute
    volumes[few] = 0
    volumes[few, 0] = rows[few, 5]
    top[few] = bottom[few] = 0
    closes[few] = rows[few, 4:5]
    opens[few] = np.column_stack((rows[few, 1], closes[few, :-1]))
    highs[few], lows[few] = np.maximum(opens[few], closes[few]), np.minimum(opens[few], closes[few])
    highs[bars, top], lows[bars, bottom] = rows[:, 2], rows[:, 3]
    out = np.zeros((count, parts, COLUMNS), dtype=np.int64)
    out[:, :, 0] = rows[:, 0:1] + MINUTE_MS * np.arange(parts)
    for column, values in enumerate((opens, highs, lows, closes, volumes), 1):
        out[:, :, column] = values
    return with_estimates(out.reshape(-1, COLUMNS))


def with_estimates(rows: Rows) -> Rows:
    """Fill in what a file of open, high, low, close and volume does not say: quote volume, trades, takers."""
    rows[:, 6] = rows[:, 5] * (rows[:, 1:5].sum(axis=1) // 4)
    rows[:, 7] = np.minimum(rows[:, 5], np.maximum(1, rows[:, 5] // 20)) * (rows[:, 5] > 0)
    moved = np.sign(rows[:, 4] - rows[:, 1])
    rows[:, 8] = rows[:, 5] * (50 + 10 * moved) // 100
    rows[:, 9] = rows[:, 6] * (50 + 10 * moved) // 100
    rows[:, 10:] = -1
    return rows


def _stops(opened: int, high: int, low: int, closed: int, rng: np.random.Generator) -> list[int]:
    """Open, the extremes beyond the body in the likelier order, close: the fewest trades that make this bar."""
    down_first = rng.random() < (0.75 if closed > opened else 0.25)
    body = (opened, closed)
    beyond = [price for price in ((low, high) if down_first else (high, low)) if not min(body) <= price <= max(body)]
    return [opened, *beyond, closed] if beyond or opened != closed else [opened]


def _path(stops: list[int], count: int, low: int, high: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random walk through the stops, never beyond the extremes."""
    if len(stops) == 1:
        return np.full(count, stops[0], dtype=np.int64)
    inner = rng.choice(np.arange(1, count - 1), len(stops) - 2, replace=False) if len(stops) > 2 else np.array([], int)
    places = np.concatenate(([0], np.sort(inner), [count - 1]))
    prices = np.empty(count)
    size = max(1.0, (high - low) / 6)
    for begin, end, start, stop in zip(places, places[1:], stops, stops[1:], strict=False):
        steps = end - begin
        walk = np.concatenate(([0.0], np.cumsum(rng.normal(0, size / max(1, count) ** 0.5, steps))))
        share = np.arange(steps + 1) / steps
        prices[begin : end + 1] = start + (stop - start) * share + walk - walk[-1] * share
    whole: NDArray[np.int64] = np.clip(np.rint(prices), low, high).astype(np.int64)
    whole[places] = stops
    return whole


def _split(volume: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`volume` lots in `count` trades of at least one, few of them large."""
    weights = rng.lognormal(0.0, 1.2, count)
    lots: NDArray[np.int64] = 1 + np.floor((volume - count) * weights / weights.sum()).astype(np.int64)
    lots[int(np.argmax(weights))] += volume - int(lots.sum())
    return lots


def _times(count: int, length_ms: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Some spread out, some in bursts; all within the bar, the first early."""
    alone = rng.uniform(0, length_ms, count)
    crowds = rng.uniform(0, length_ms, max(1, count // 12))
    crowded = rng.choice(crowds, count) + rng.exponential(800.0, count)
    times = np.where(rng.random(count) < _BURST_SHARE, crowded, alone)
    whole: NDArray[np.int64] = np.sort(np.clip(times, 0, length_ms - 1).astype(np.int64))
    return whole


def _minute_closes(rows: Rows, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Closes of the minutes of every bar: a bridge from its open to its close within its extremes."""
    share = np.arange(1, parts + 1) / parts
    walk = np.cumsum(rng.normal(0, 1, (len(rows), parts)), axis=1)
    walk -= walk[:, -1:] * share
    size = (rows[:, 2] - rows[:, 3])[:, None] / (3 * parts**0.5)
    closes = rows[:, 1:2] + (rows[:, 4] - rows[:, 1])[:, None] * share + walk * size
    whole: NDArray[np.int64] = np.clip(np.rint(closes), rows[:, 3:4], rows[:, 2:3]).astype(np.int64)
    whole[:, -1] = rows[:, 4]
    return whole


def _minute_volumes(volume: NDArray[np.int64], parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shares of every bar's volume, each at least one lot where there is enough, together exactly all of it."""
    weights = rng.lognormal(0.0, 0.5, (len(volume), parts))
    spare = np.maximum(0, volume - parts)[:, None]
    shares: NDArray[np.int64] = 1 + np.floor(spare * weights / weights.sum(axis=1, keepdims=True)).astype(np.int64)
    shares[:, -1] += volume - shares.sum(axis=1)
    return shares
