"""The seeded market has what real ones have: waves, heavy tails, bursts of trades, news, thin hours, liquidations."""

from __future__ import annotations

import statistics
from decimal import Decimal
from itertools import pairwise
from math import log
from random import Random

import numpy as np
import pytest

from simex.market.generator import Forced, SeededMarket
from simex.market.history import LOTS_PER_PRINT, PRINTS_PER_TRADE_S, minute_history
from simex.market.hours import activities, activity
from simex.market.intervals import DAY_MS, HOUR_MS
from simex.market.profile import MarketSpec, profile_of
from simex.market.scale import Scale
from simex.market.tempo import Activity, Arrivals, News, poisson

MONDAY_MS = 1_795_392_000_000  # 2026-11-23T00:00:00Z
BUSY_MS, THIN_MS = MONDAY_MS + 14 * HOUR_MS, MONDAY_MS + 22 * HOUR_MS
BTC = MarketSpec("BTCUSDT", Scale.of(Decimal("0.1"), Decimal("0.001"), 2, 3), Decimal(91_250), profile_of("BTCUSDT"))
ETH = MarketSpec("ETHUSDT", Scale.of(Decimal("0.01"), Decimal("0.001"), 2, 3), Decimal(3_050), profile_of("ETHUSDT"))


def kurtosis(values: list[float]) -> float:
    mean, variance = statistics.fmean(values), statistics.pvariance(values)
    return statistics.fmean((value - mean) ** 4 for value in values) / variance**2


def test_a_long_run_has_heavy_tails_waves_bursts_of_trades_and_volume_that_goes_with_movement(fixed_seed: int) -> None:
    market = SeededMarket(fixed_seed, (BTC, ETH), MONDAY_MS)
    middles: list[float] = []
    trades: list[int] = []
    lots: list[int] = []
    for second in range(1, 2001):
        for half in (0, 500):
            step = market.step("BTCUSDT", MONDAY_MS + 1000 * second + half)
            if half == 0:
                trades.append(0)
                lots.append(0)
            trades[-1] += len(step.prints)
            lots[-1] += sum(item.lots for item in step.prints)
        single = market.symbols["BTCUSDT"]
        middles.append((single.bids.at(0)[0] + single.asks.at(0)[0]) / 2)
    moves = [log(later / earlier) for earlier, later in pairwise(middles)]
    sizes = [abs(move) for move in moves]
    assert kurtosis(moves) > 4
    assert statistics.correlation(sizes[:-1], sizes[1:]) > 0.08
    assert abs(statistics.correlation(moves[:-5], moves[5:])) < 0.15, "the past does not tell the direction"
    assert statistics.pvariance(trades) / statistics.fmean(trades) > 1.4
    assert statistics.correlation([float(value) for value in lots[1:]], sizes) > 0.04
    assert 2 < statistics.fmean(trades) < 25


def test_arrivals_come_in_bursts_and_at_the_mean_rate_that_was_asked_for(fixed_seed: int) -> None:
    for dt_s, at_least in ((0.1, 1.4), (1.0, 0.9)):  # in one long step the trades drawn come with the next
        arrivals = Arrivals(Random(fixed_seed))
        counts = [arrivals.count(5.0, dt_s) for _ in range(round(3000 / dt_s))]
        seconds = [sum(counts[at : at + round(1 / dt_s)]) for at in range(0, len(counts), round(1 / dt_s))]
        assert 4.3 < statistics.fmean(seconds) < 5.7
        assert statistics.pvariance(seconds) > at_least * statistics.fmean(seconds)


@pytest.mark.parametrize("mean", [0.2, 3.0, 80.0])
def test_a_poisson_count_has_its_mean_and_variance(mean: float, fixed_seed: int) -> None:
    rng = Random(fixed_seed)
    counts = [poisson(rng, mean) for _ in range(8000)]
    assert abs(statistics.fmean(counts) - mean) < 0.08 * mean
    assert 0.85 < statistics.pvariance(counts) / mean < 1.15


def test_activity_wanders_around_one_in_mean_square_and_slowly(fixed_seed: int) -> None:
    wander = Activity(Random(fixed_seed))
    values = [wander.advance(1.0) for _ in range(30_000)]
    assert 0.6 < statistics.fmean(value * value for value in values) < 1.6
    assert statistics.correlation(values[:-10], values[10:]) > 0.5
    assert min(values) > 0


def test_news_run_one_way_for_seconds_and_leave_heat_that_fades(fixed_seed: int) -> None:
    news = News(Random(fixed_seed), every_s=1e-9, smallest_bps=50, largest_bps=50)
    first = news.advance(0.1)
    assert news.heat >= 0.69
    news._every_s = 1e12  # no more of them
    rest = [news.advance(0.1) for _ in range(1500)]
    assert all(part * first >= 0 for part in rest)
    assert abs(first) < 25, "not all at once"
    assert abs(first + sum(rest)) == pytest.approx(50, abs=0.2)
    assert 0.1 < news.heat < 0.7
    for _ in range(10_000):
        news.advance(0.1)
    assert news.heat == 0.0


def test_after_news_the_market_is_wide_thin_and_busy(fixed_seed: int) -> None:
    found: dict[float, tuple[float, float, float]] = {}
    for heat in (0.0, 1.0):
        spreads, depth, trades = [], [], 0
        single = SeededMarket(fixed_seed, (BTC,), MONDAY_MS).symbols["BTCUSDT"]
        for beat in range(1, 601):
            trades += len(single.step(MONDAY_MS + 250 * beat, 0.0, heat).prints)
            spreads.append(single.asks.at(0)[0] - single.bids.at(0)[0])
            depth.append(sum(lots for _, lots in single.bids.top(5)))
        found[heat] = statistics.fmean(spreads), statistics.fmean(depth), trades
    assert found[1.0][0] > 1.5 * found[0.0][0]
    assert found[1.0][1] < 0.75 * found[0.0][1]
    assert found[1.0][2] > 1.3 * found[0.0][2]


def test_hours_have_a_mean_of_one_on_a_working_day_and_change_without_steps() -> None:
    minutes = np.arange(MONDAY_MS, MONDAY_MS + DAY_MS, 60_000)
    assert abs(activities(minutes).mean() - 1) < 0.01
    assert activities(minutes).tolist() == pytest.approx([activity(int(at)) for at in minutes])
    assert max(abs(np.diff(activities(minutes)))) < 0.01
    assert activity(THIN_MS) < 0.5 * activity(BUSY_MS)
    assert activity(BUSY_MS + 5 * DAY_MS) == pytest.approx(0.65 * activity(BUSY_MS)), "Saturday"


def test_thin_hours_are_thin_live_and_in_the_bars_of_before(fixed_seed: int) -> None:
    trades = {BUSY_MS: 0, THIN_MS: 0}
    for start in trades:
        for offset in range(5):
            market = SeededMarket(fixed_seed + offset, (BTC,), start)
            trades[start] += sum(len(market.step("BTCUSDT", start + 500 * beat).prints) for beat in range(1, 301))
    assert trades[THIN_MS] < 0.8 * trades[BUSY_MS]
    bars = minute_history(fixed_seed, BTC, MONDAY_MS)
    hours = bars[:, 0] % DAY_MS // HOUR_MS
    assert bars[hours == 22, 5].mean() < 0.7 * bars[hours == 14, 5].mean()


def test_volume_goes_on_where_history_ends(fixed_seed: int) -> None:
    """Live trades and volume a minute are of the size that the history's constants say."""
    prints = lots = 0
    for offset in range(6):
        market = SeededMarket(fixed_seed + offset, (BTC,), BUSY_MS)
        for beat in range(1, 601):
            step = market.step("BTCUSDT", BUSY_MS + 100 * beat)
            prints += len(step.prints)
            lots += sum(item.lots for item in step.prints)
    expected = 6 * 60 * PRINTS_PER_TRADE_S * BTC.profile.trades_per_s * activity(BUSY_MS)
    assert 0.35 < prints / expected < 3
    assert 0.35 < lots / (expected * LOTS_PER_PRINT * BTC.top_lots) < 3


@pytest.mark.parametrize(("way", "side"), [(60, "BUY"), (-60, "SELL")])
def test_a_price_that_runs_closes_positions_by_force_at_the_touch(way: int, side: str, fixed_seed: int) -> None:
    market = SeededMarket(fixed_seed, (BTC,), MONDAY_MS)
    single = market.symbols["BTCUSDT"]
    forced: list[Forced] = []
    for beat in range(1, 2001):
        if beat % 25 == 1:
            single.nudge(way)
        step = market.step("BTCUSDT", MONDAY_MS + 100 * beat)
        forced += step.forced
        for item in step.forced:
            assert (item.price, item.lots, side == "SELL") in [(p.price, p.lots, p.buyer_is_maker) for p in step.prints]
            assert (item.limit > item.price) == (side == "BUY")
    assert {item.side for item in forced} == {side}
