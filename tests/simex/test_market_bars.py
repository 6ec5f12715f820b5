"""History and bars: continuous, exact, and the same however they are asked for."""

from __future__ import annotations

import csv
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.market.bars import Bar, BarSeries, aggregate
from simex.market.history import COLUMNS, NoPast, Past, Rows, hour_history, minute_history
from simex.market.intervals import INTERVALS, MINUTE_MS, bucket_end, bucket_start, bucket_starts
from simex.market.profile import MarketSpec, profile_of
from simex.market.scale import Scale, units_of

START_MS = 1_795_132_830_000
SPEC = MarketSpec("BTCUSDT", Scale.of(Decimal("0.1"), Decimal("0.001"), 2, 3), Decimal(91_250), profile_of("BTCUSDT"))
Trade = tuple[int, int, int, bool]


def series(seed: int) -> BarSeries:
    """A series with its generated past."""
    return BarSeries(START_MS, SPEC.base_ticks, Past(seed, SPEC, START_MS))


def test_history_is_repeatable_continuous_and_ends_at_the_start_price(seed: int) -> None:
    rows = minute_history(seed, SPEC, START_MS)
    assert np.array_equal(rows, minute_history(seed, SPEC, START_MS))
    assert not np.array_equal(rows, minute_history(seed + 1, SPEC, START_MS))
    assert rows[-1, 4] == SPEC.base_ticks
    assert rows[-1, 0] == START_MS - START_MS % MINUTE_MS - MINUTE_MS
    assert (np.diff(rows[:, 0]) == MINUTE_MS).all()
    assert (rows[1:, 1] == rows[:-1, 4]).all(), "each bar opens where the one before closed"
    assert (rows[:, 2] >= rows[:, [1, 4]].max(axis=1)).all()
    assert (rows[:, 3] <= rows[:, [1, 4]].min(axis=1)).all()
    assert (rows[:, 3] > 0).all()
    assert (rows[:, 5] >= rows[:, 8]).all(), "takers cannot buy more than was traded"
    assert (rows[:, 5] > 0).all()
    hours = hour_history(seed, SPEC, rows)
    assert hours[-1, 4] == rows[0, 1]


@pytest.mark.parametrize("interval", ["1m", "5m", "15m", "1h"])
def test_a_client_gets_1500_bars_of_the_usual_intervals(interval: str, seed: int) -> None:
    bars = series(seed).query(interval, 1500)
    assert len(bars) == 1500
    assert bars[-1, 0] == bucket_start(interval, START_MS)


def test_every_interval_begins_where_the_calendar_says() -> None:
    at = int(datetime(2026, 11, 20, 8, 7, 41, tzinfo=UTC).timestamp() * 1000)
    opens = {
        "1m": "2026-11-20T08:07", "3m": "2026-11-20T08:06", "5m": "2026-11-20T08:05", "15m": "2026-11-20T08:00",
        "30m": "2026-11-20T08:00", "1h": "2026-11-20T08:00", "2h": "2026-11-20T08:00", "4h": "2026-11-20T08:00",
        "6h": "2026-11-20T06:00", "8h": "2026-11-20T08:00", "12h": "2026-11-20T00:00", "1d": "2026-11-20T00:00",
        "1w": "2026-11-16T00:00", "1M": "2026-11-01T00:00",
    }  # fmt: skip
    for interval, text in opens.items():
        start = int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)
        assert bucket_start(interval, at) == start, interval
        assert bucket_end(interval, start) > at, interval
        assert bucket_starts(interval, np.array([at]))[0] == start, interval
    assert set(INTERVALS) == {*opens, "3d"}
    december = bucket_end("1M", int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000))
    assert december == int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    february = bucket_end("1M", int(datetime(2027, 2, 1, tzinfo=UTC).timestamp() * 1000))
    assert february == int(datetime(2027, 3, 1, tzinfo=UTC).timestamp() * 1000)


def brute(trades: list[Trade], interval: str) -> list[tuple[int, ...]]:
    """Bars of the traded buckets from single trades, the slow way."""
    buckets: dict[int, list[Trade]] = {}
    for trade in trades:
        buckets.setdefault(bucket_start(interval, trade[0]), []).append(trade)
    return [
        (
            start, rows[0][1], max(row[1] for row in rows), min(row[1] for row in rows), rows[-1][1],
            sum(row[2] for row in rows), sum(row[1] * row[2] for row in rows), len(rows),
            sum(row[2] for row in rows if not row[3]),
        )
        for start, rows in buckets.items()
    ]  # fmt: skip


TRADE = st.tuples(st.integers(0, 150_000), st.integers(900, 1100), st.integers(1, 50), st.booleans())
TRADES = st.lists(TRADE, min_size=1, max_size=60)


@settings(max_examples=250, deadline=None)
@given(steps=TRADES, interval=st.sampled_from(["1m", "3m", "5m", "1h"]))
def test_bars_from_live_trades_equal_bars_counted_by_hand_by_query_and_by_stream(
    steps: list[Trade], interval: str
) -> None:
    bars = BarSeries(START_MS, 0, NoPast())
    bars.watch(interval)
    now, trades = START_MS, []
    closed: dict[int, Bar] = {}
    for number, (gap, price, lots, maker) in enumerate(steps):
        now += gap
        for name, bar in bars.roll(now):
            assert name == interval
            assert bar.open_ms not in closed, "a bar closed twice"
            closed[bar.open_ms] = bar
        bars.add_trade(price, lots, maker, (number, number))
        trades.append((now, price, lots, maker))
    expected = brute(trades, interval)
    traded = [row for row in bars.query(interval, 1500) if row[7] > 0]
    assert [tuple(int(value) for value in row[:9]) for row in traded] == expected
    last = bars.open_bar(interval)
    heard = [bar.row()[:9] for bar in closed.values() if bar.trades] + ([last.row()[:9]] if last.trades else [])
    assert heard == expected


def test_the_open_bar_goes_on_from_history(seed: int) -> None:
    bars = series(seed)
    bars.watch("1h")
    before = bars.open_bar("1h")
    bars.add_trade(SPEC.base_ticks + 7, 5, False, (10, 12))
    after = bars.open_bar("1h")
    assert after.volume == before.volume + 5
    assert after.trades == before.trades + 3
    assert after.close == SPEC.base_ticks + 7
    assert (after.first_id, after.last_id) == (10, 12)
    assert tuple(bars.query("1h", 1)[0][:9]) == after.row()[:9]


def test_ranges_take_the_first_bars_from_the_start_and_the_last_ones_up_to_the_end(seed: int) -> None:
    bars = series(seed)
    every = bars.query("5m", 1500)
    start, end = int(every[100, 0]), int(every[200, 0])
    assert np.array_equal(bars.query("5m", 10, start), every[100:110])
    assert np.array_equal(bars.query("5m", 10, start + 1), every[101:111])
    assert np.array_equal(bars.query("5m", 1500, start, end), every[100:201])
    assert np.array_equal(bars.query("5m", 10, None, end), every[191:201])
    assert np.array_equal(bars.query("5m", 10, None, end - 1), every[190:200])
    assert len(bars.query("5m", 10, START_MS + 10**9)) == 0


def test_the_day_is_the_last_1440_minutes(seed: int) -> None:
    bars = series(seed)
    bars.add_trade(SPEC.base_ticks + 1, 3, True, (5, 5))
    rows = bars.query("1m", 1440)
    day = bars.last_day()
    assert (day.open, day.high, day.low, day.close) == (rows[0, 1], rows[:, 2].max(), rows[:, 3].min(), rows[-1, 4])
    assert (day.volume, day.trades, day.last_id) == (rows[:, 5].sum(), rows[:, 7].sum(), 5)


def test_funding_history_lies_on_the_eighth_hours(seed: int) -> None:
    points = Past(seed, SPEC, START_MS).funding()
    assert len(points) > 50
    assert all(0 <= point.time_ms % (8 * 3_600_000) < 20 for point in points)
    assert [point.time_ms for point in points] == sorted(point.time_ms for point in points)
    assert points[-1].time_ms <= START_MS


@pytest.mark.recordings
def test_recorded_minutes_aggregate_to_the_recorded_five_minutes(data_dir: Path) -> None:
    minutes = recorded_rows(data_dir / "klines/usdm_BTCUSDT_1m_20250706_20250713.csv.gz")
    fives = recorded_rows(data_dir / "klines/usdm_BTCUSDT_5m_202506_202507.csv.gz")
    made = {int(row[0]): tuple(row[:6]) for row in aggregate(minutes, "5m")}
    shared = [row for row in fives if int(row[0]) in made]
    assert len(shared) == 2143
    assert all(tuple(row[:6]) == made[int(row[0])] for row in shared)


def recorded_rows(path: Path) -> Rows:
    """A recorded kline file as rows; the columns it lacks are 0."""
    with gzip.open(path, "rt", newline="") as file:
        lines = list(csv.DictReader(file))
    rows = np.zeros((len(lines), COLUMNS), dtype=np.int64)
    for index, line in enumerate(lines):
        prices = [units_of(line[name], 2) for name in ("open", "high", "low", "close")]
        rows[index, :6] = [int(line["open_time_ms"]), *prices, units_of(line["volume"], 3)]
    return rows
