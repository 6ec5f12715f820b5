"""The seeded market: repeatable, never crossed, tradable, and leaning the way its book says."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simex.market.generator import SeededMarket, Step
from simex.market.profile import MarketSpec, profile_of
from simex.market.scale import Scale

START_MS = 1_795_132_800_000
BTC = MarketSpec("BTCUSDT", Scale.of(Decimal("0.1"), Decimal("0.001"), 2, 3), Decimal(91_250), profile_of("BTCUSDT"))
ETH = MarketSpec("ETHUSDT", Scale.of(Decimal("0.01"), Decimal("0.001"), 2, 3), Decimal(3_050), profile_of("ETHUSDT"))
ODD = MarketSpec("ODDUSDT", Scale.of(Decimal("0.0001"), Decimal(1), 4, 0), Decimal("0.8"), profile_of("ODDUSDT"))
SPECS = (BTC, ETH, ODD)
GAPS = st.lists(st.integers(-50, 3000), min_size=5, max_size=60)


def played(seed: int, symbols: list[str], gaps_ms: list[int]) -> list[Step]:
    """Steps of some symbols in turn, at the given distances in time."""
    market = SeededMarket(seed, SPECS, START_MS)
    now, steps = START_MS, []
    for gap in gaps_ms:
        now += gap
        steps += [market.step(symbol, now) for symbol in symbols]
    return steps


def test_the_same_seed_and_times_give_the_same_market(seed: int) -> None:
    gaps = [Random(seed).randint(1, 400) for _ in range(200)]
    first = played(seed, ["BTCUSDT", "ETHUSDT"], gaps)
    assert first == played(seed, ["BTCUSDT", "ETHUSDT"], gaps)
    assert first != played(seed + 1, ["BTCUSDT", "ETHUSDT"], gaps)


def test_the_order_in_which_symbols_step_does_not_matter(seed: int) -> None:
    gaps = [100] * 100
    forth = played(seed, ["BTCUSDT", "ETHUSDT"], gaps)
    back = played(seed, ["ETHUSDT", "BTCUSDT"], gaps)
    assert forth[0::2] == back[1::2]
    assert forth[1::2] == back[0::2]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), spec=st.sampled_from(SPECS), gaps=GAPS)
def test_a_book_rebuilt_from_the_steps_is_two_sided_uncrossed_deep_and_traded_at_its_touch(
    seed: int, spec: MarketSpec, gaps: list[int]
) -> None:
    market = SeededMarket(seed, SPECS, START_MS)
    single = market.symbols[spec.symbol]
    bids, asks = dict(single.bids.top(5000)), dict(single.asks.top(5000))
    now = START_MS
    for gap in gaps:
        now += gap
        step = market.step(spec.symbol, now)
        for item in step.prints:
            side, best = (bids, max(bids)) if item.buyer_is_maker else (asks, min(asks))
            assert item.price == best, "a trade away from the touch"
            assert 0 < item.lots <= side[item.price]
            side[item.price] -= item.lots
            if side[item.price] == 0:
                del side[item.price]
        for book, changes in ((bids, step.bids), (asks, step.asks)):
            for price, lots in changes:
                assert lots >= 0
                assert price > 0
                if lots:
                    book[price] = lots
                else:
                    book.pop(price, None)
        assert max(bids) < min(asks)
        assert 950 <= len(asks) <= 1100
        assert len(bids) <= 1100
    assert bids == dict(single.bids.top(5000))
    assert asks == dict(single.asks.top(5000))


def test_the_spread_is_mostly_one_tick(fixed_seed: int) -> None:
    market = SeededMarket(fixed_seed, SPECS, START_MS)
    spreads = []
    for beat in range(1, 1500):
        market.step("BTCUSDT", START_MS + 100 * beat)
        single = market.symbols["BTCUSDT"]
        if not single.heat:
            spreads.append(single.asks.at(0)[0] - single.bids.at(0)[0])
    spreads = spreads or [1]  # news from the first moment on
    assert sum(spread == 1 for spread in spreads) / len(spreads) > 0.85
    assert max(spreads) <= 3


def imbalance(market: SeededMarket, symbol: str) -> float:
    """(bids - asks) / (bids + asks) over the best five levels."""
    single = market.symbols[symbol]
    bids = sum(lots for _, lots in single.bids.top(5))
    asks = sum(lots for _, lots in single.asks.top(5))
    return (bids - asks) / (bids + asks)


def middle(market: SeededMarket, symbol: str) -> float:
    """Middle of the touch, in ticks."""
    single = market.symbols[symbol]
    return (single.bids.at(0)[0] + single.asks.at(0)[0]) / 2


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_imbalance_gives_signals_every_minute_and_leans_the_right_way(symbol: str, fixed_seed: int) -> None:
    later_moves: list[float] = []
    for offset in range(12):  # fewer markets: one trend against the signals outweighs the rest too often
        market = SeededMarket(fixed_seed + offset, SPECS, START_MS)
        signals: list[tuple[int, int]] = []
        middles: list[float] = []
        before = 0
        for beat in range(1, 3001):
            market.step(symbol, START_MS + 100 * beat)
            middles.append(middle(market, symbol))
            shown = imbalance(market, symbol)
            now = 1 if shown > 0.5 else -1 if shown < -0.5 else 0
            if now and now != before:
                signals.append((beat - 1, now))
            before = now
        minutes = [sum(1 for at, _ in signals if at // 600 == minute) for minute in range(5)]
        assert min(minutes) >= 3, f"seed {fixed_seed + offset}: signals a minute {minutes}"
        later_moves += [way * (middles[min(at + 10, 2999)] - middles[at]) / middles[at] for at, way in signals]
    assert sum(later_moves) > 0


def test_symbols_move_together_somewhat(fixed_seed: int) -> None:
    market = SeededMarket(fixed_seed, SPECS, START_MS)
    moves: dict[str, list[float]] = {"BTCUSDT": [], "ETHUSDT": []}
    before = {symbol: middle(market, symbol) for symbol in moves}
    for second in range(1, 1201):
        for symbol, returns in moves.items():
            market.step(symbol, START_MS + 1000 * second)
            now = middle(market, symbol)
            returns.append(now / before[symbol] - 1)
            before[symbol] = now
    one, other = moves["BTCUSDT"], moves["ETHUSDT"]
    shared = sum(a * b for a, b in zip(one, other, strict=True))
    size = (sum(a * a for a in one) * sum(b * b for b in other)) ** 0.5
    assert 0.1 < shared / size < 0.95


def test_liquidity_that_traders_took_is_gone_and_a_nudge_moves_the_book(seed: int) -> None:
    market = SeededMarket(seed, SPECS, START_MS)
    single = market.symbols["BTCUSDT"]
    price, lots = single.asks.at(0)
    single.consume("SELL", price, lots)
    assert single.asks.get(price) == 0
    before = middle(market, "BTCUSDT")
    single.nudge(100)
    market.step("BTCUSDT", START_MS + 100)
    assert 0.009 < middle(market, "BTCUSDT") / before - 1 < 0.011
