"""Incremental indicators equal their batch form; the batch form equals an independent reading of the definition."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain.indicators import Ema, Macd, imbalance, macd_frame
from brain.indicators.macd import MacdValue

PRICES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=400)
SPANS = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1], s[2]))


def by_weights(values: list[float], span: int) -> list[float]:
    """An EMA written out as the weighted sum that it is: (1-a)^t x0 + a * sum (1-a)^(t-i) x_i."""
    alpha = 2 / (span + 1)
    keep = 1 - alpha
    out = []
    for t in range(len(values)):
        weights = np.array([keep**t] + [alpha * keep ** (t - i) for i in range(1, t + 1)])
        out.append(float(weights @ np.array(values[: t + 1])))
    return out


@given(PRICES, SPANS)
def test_macd_fed_one_by_one_equals_the_batch_on_pandas(prices: list[float], spans: tuple[int, int, int]) -> None:
    batch = macd_frame(pd.Series(prices), *spans)
    macd = Macd(*spans)
    for price, row in zip(prices, batch.itertuples(index=False), strict=True):
        value = macd.update(price)
        tolerance = 1e-12 * max(prices)
        assert value == pytest.approx(tuple(row), abs=tolerance, rel=0)


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=60), st.integers(1, 40))
def test_an_ema_is_the_weighted_sum_of_its_definition(prices: list[float], span: int) -> None:
    ema = Ema(span)
    got = [ema.update(price) for price in prices]
    assert got == pytest.approx(by_weights(prices, span), abs=1e-12 * max(prices), rel=0)


@given(PRICES, st.floats(0.01, 1e6))
def test_peeking_foretells_the_next_value_and_changes_nothing(prices: list[float], last: float) -> None:
    macd = Macd(3, 7, 4)
    for price in prices:
        macd.update(price)
    before = macd.value
    foretold = macd.peek(last)
    assert macd.value == before and macd.count == len(prices)
    assert macd.update(last) == foretold


@pytest.mark.recordings
@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_a_quarter_of_recorded_bars_against_an_independent_batch(data_dir: Path, symbol: str) -> None:
    with gzip.open(data_dir / "klines" / f"usdm_{symbol}_5m_2025Q1.csv.gz", "rt") as file:
        closes = [float(row["close"]) for row in csv.DictReader(file)]
    assert len(closes) == 25_920
    expected = _independent(closes, 12, 26, 9)
    macd = Macd()
    worst = 0.0
    for close, row in zip(closes, expected, strict=True):
        value = macd.update(close)
        worst = max(worst, *(abs(a - b) / close for a, b in zip(value, row, strict=True)))
    assert worst <= 1e-12
    batch = macd_frame(pd.Series(closes)).to_numpy()
    assert np.max(np.abs(batch - np.array(expected)) / np.array(closes)[:, None]) <= 1e-12


def _independent(closes: list[float], fast: int, slow: int, signal: int) -> list[tuple[float, float, float]]:
    """MACD in the other algebraic form, e = a*x + (1-a)*e, over whole columns in extended precision."""

    def ema(column: np.ndarray, span: int) -> np.ndarray:
        alpha = np.longdouble(2) / (span + 1)
        out = np.empty_like(column)
        out[0] = column[0]
        for t in range(1, len(column)):
            out[t] = alpha * column[t] + (1 - alpha) * out[t - 1]
        return out

    column = np.array(closes, dtype=np.longdouble)
    line = ema(column, fast) - ema(column, slow)
    smooth = ema(line, signal)
    return [(float(a), float(b), float(a - b)) for a, b in zip(line, smooth, strict=True)]


def test_warm_up_is_ten_times_the_slow_span() -> None:
    macd = Macd(3, 6, 2)
    for _ in range(59):
        macd.update(1.0)
    assert (macd.warm, macd.needed) == (False, 60)
    macd.update(1.0)
    assert macd.warm


def test_after_the_warm_up_the_seed_no_longer_matters() -> None:
    """What a brain that has run for days and one started now see of the same bars."""
    rng = np.random.default_rng(7)
    prices = (50_000 + np.cumsum(rng.normal(0, 20, 3000))).tolist()
    old, new = Macd(), Macd()
    for price in prices[:-600]:
        old.update(price)
    for price in prices[-600:]:
        old.update(price)
        new.update(price)
    assert isinstance(old.value, MacdValue) and new.value is not None
    assert old.value == pytest.approx(new.value, abs=1e-12 * 50_000)


@pytest.mark.parametrize(("fast", "slow"), [(0, 5), (5, 5), (6, 5)])
def test_fast_must_be_below_slow(fast: int, slow: int) -> None:
    with pytest.raises(ValueError, match="fast"):
        Macd(fast, slow)


LEVELS = st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6)), max_size=30)


@given(LEVELS, LEVELS, st.integers(1, 20))
def test_imbalance_is_odd_bounded_and_counts_only_the_top(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], n: int
) -> None:
    value = imbalance(bids, asks, n)
    turned = imbalance(asks, bids, n)
    if value is None:
        assert turned is None and sum(q for _, q in bids[:n]) + sum(q for _, q in asks[:n]) == 0
    else:
        assert turned == -value and -1 <= value <= 1
        assert value == imbalance(bids[:n], asks[:n], 20)


def test_imbalance_by_hand() -> None:
    assert imbalance([("10", "3"), ("9", "1")], [("11", "1"), ("12", "3")], 1) == 0.5
    assert imbalance([("10", "3"), ("9", "1")], [("11", "1"), ("12", "3")], 2) == 0.0
